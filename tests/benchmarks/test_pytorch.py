"""The PyTorch peer: its environment, what it is asked for, and that it trains our network."""

import hashlib
import os
import shutil
import sys

import pytest

from benchmarks import (
    processes,
    pytorch_environment,
    pytorch_process,
    pytorch_task,
    time_to_accuracy,
    training_speed,
)
from pipeline import config as configurations
from tests.skipping import skip_loudly

FEW = ["training.batch_size=20", "split.validation=3"]
# As it is before the tests close off the world.
ENVIRONMENT = dict(os.environ)
LOCK = "torch==0.0.0 --hash=sha256:" + "0" * 64 + "\n"


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Moves the environment to a folder that does not exist; returns the folder."""
    folder = tmp_path / "build" / "pytorch"
    monkeypatch.setattr(pytorch_environment, "FOLDER", folder)
    yield folder
    # More than a gigabyte, which pytest would keep.
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def environment():
    """Skips where the environment is missing."""
    if pytorch_environment.python() is None:
        skip_loudly(f"THE PYTORCH PEER IS NOT TESTED. {pytorch_environment.LEFT_OUT}")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Two threads of OpenMP wait for each other, and so for all tests that run beside them."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})


@pytest.fixture
def config(inputs):
    return configurations.load_config("smoke", [*FEW, "training.epochs=10"])


def test_a_task_arrives_as_it_was_sent(config, inputs, monkeypatch):
    sent = []
    monkeypatch.setattr(pytorch_process, "_answer", lambda task: sent.append(task) or SPEED)
    pytorch_process.measure_speed(inputs, config, "usual", True, 200)
    monkeypatch.setattr(pytorch_process, "_answer", lambda task: sent.append(task) or TRAINED)
    pytorch_process.train(inputs, config, [1, 5])
    speed, training = sent
    assert pytorch_task.read(pytorch_task.written(speed)) == speed
    assert pytorch_task.read(pytorch_task.written(training)) == training
    assert (speed.order, speed.compiled, speed.images) == ("usual", True, 200)
    assert speed.recipe.widths == config.training.widths
    assert training.validation == [1, 5]


SPEED = {"images": 200, "seconds": 1.0, "parameters": 7}
TRAINED = {"seconds": 1.0, "validation_accuracy": 0.5, "test_accuracy": 0.5}


def test_an_environment_counts_only_if_it_is_whole_and_of_this_lock(elsewhere):
    assert pytorch_environment.python() is None
    elsewhere.mkdir(parents=True)
    assert pytorch_environment.python() is None
    (elsewhere / "lock.sha256").write_text("of another lock")
    assert pytorch_environment.python() is None
    of_this_lock = hashlib.sha256(pytorch_environment.LOCK.read_bytes()).hexdigest()
    (elsewhere / "lock.sha256").write_text(of_this_lock)
    assert pytorch_environment.python() == str(elsewhere / "bin" / "python")


@pytest.mark.parametrize("command", [["none-of-this-name"], ["false"]])
def test_a_tool_that_fails_or_is_missing_is_told_in_words(command):
    with pytest.raises(pytorch_environment.EnvironmentFailed, match="could not be made"):
        pytorch_environment._run(command)


@pytest.mark.slow
def test_an_environment_that_cannot_be_made_is_told_in_words(elsewhere, monkeypatch, tmp_path):
    lock = tmp_path / "pytorch.txt"
    lock.write_text(LOCK)
    monkeypatch.setattr(pytorch_environment, "LOCK", lock)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    with pytest.raises(pytorch_environment.EnvironmentFailed, match="could not be made"):
        pytorch_environment.make()
    assert pytorch_environment.python() is None


def test_a_peer_that_ends_without_an_answer_is_told_with_its_last_words(
    inputs, config, monkeypatch
):
    # This Python has no PyTorch.
    monkeypatch.setattr(pytorch_environment, "python", lambda: sys.executable)
    with pytest.raises(processes.MeasurementError, match="No module named 'torch'"):
        pytorch_process.measure_speed(inputs, config, "pool_first", False, 100)


@pytest.mark.parametrize("profile", ["smoke", pytest.param("classic", marks=pytest.mark.slow)])
def test_the_peer_learns_as_many_weights_as_we_do(profile, inputs, environment):
    config = configurations.load_config(profile, FEW)
    speed = pytorch_process.measure_speed(inputs, config, "pool_first", False, 100)
    assert speed.parameters == training_speed.count_parameters(inputs, profile)
    assert speed.images >= 100
    assert speed.seconds > 0


@pytest.mark.slow
def test_the_peer_learns_by_our_recipe(inputs, config, environment):
    rows = time_to_accuracy.validation_rows(inputs, config)
    assert len(rows) == 3 * 10
    trained = pytorch_process.train(inputs, config, rows)
    # Chance is 0.1.
    assert trained.validation_accuracy > 0.3
    assert trained.test_accuracy > 0.3


@pytest.mark.slow
def test_the_environment_is_made_from_its_lock(elsewhere, monkeypatch):
    for name in ("no_proxy", "http_proxy", "https_proxy", "all_proxy"):
        for spelling in (name, name.upper()):
            monkeypatch.setenv(spelling, ENVIRONMENT.get(spelling, ""))
    pytorch_environment.make()
    assert pytorch_environment.python() == str(elsewhere / "bin" / "python")
