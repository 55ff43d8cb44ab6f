"""What we are compared with does the work: the plain script and stock TFX train, judge and keep."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks import epoch_clock, idx_files, pipeline_cost, plain_script
from components.trainer import threads
from pipeline import config as configurations
from pipeline.records import metadata

PROJECT = Path(__file__).resolve().parents[2]
FEW = ["training.epochs=2", "training.batch_size=20", "split.validation_per_class=3"]
TINY = [*FEW, "training.widths=[4,8]", "training.precision=float32"]


@pytest.fixture(scope="module")
def plain(folder_of_images, tmp_path_factory):
    """The plain script on few images; returns its output folder and what it printed."""
    folder, printed = tmp_path_factory.mktemp("plain"), io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        # In this process, TensorFlow has its threads already.
        patch.setattr(threads, "share", lambda cores, batch_size: None)
        plain_script.main(folder_of_images, folder, "smoke", TINY)
    return folder, printed.getvalue()


@pytest.mark.slow
def test_the_plain_script_keeps_a_model_of_which_it_tells_the_accuracy(plain, folder_of_images):
    folder, printed = plain
    images, labels = plain_script.load(folder_of_images, idx_files.TEST)
    answers = keras.saving.load_model(folder / "model.keras").predict(images, verbose=0)
    accuracy = (answers.argmax(axis=1) == labels.argmax(axis=1)).mean()
    assert printed == f"test accuracy {accuracy:.4f}\n"


@pytest.mark.slow
def test_the_plain_script_tells_what_its_epochs_took(plain):
    assert 0 < epoch_clock.read(plain[0]) < 600


def test_the_plain_script_scales_images_and_keeps_their_labels(folder_of_images, sample_images):
    images, labels = plain_script.load(folder_of_images, idx_files.TEST)
    few = sample_images.first(12, 5)
    assert images.dtype == np.float32
    assert np.allclose(images[..., 0] * 255, few.test_images)
    assert np.array_equal(labels.argmax(axis=1), few.test_labels)


def test_the_plain_script_trains_the_network_of_a_run():
    from benchmarks import trainings
    from components.image_schema import ImageSchema
    from components.trainer import training

    config = configurations.load_config("default", ["training.precision=float32"])
    schema = ImageSchema(28, 28, 1, tuple("abcdefghij"))
    settings = plain_script.settings_of(config)
    batch_size = config.training.batch_size
    ours = training.compiled_network(trainings.settings_of(config), schema, batch_size, 1)
    plain = plain_script.compiled_network((28, 28, 1), 10, settings)
    # Keras numbers the names of optimizers.
    ours.optimizer.name = plain.optimizer.name
    assert json.loads(plain.to_json()) == json.loads(ours.to_json())


def test_the_training_of_a_run_is_what_its_log_says(tmp_path):
    log = tmp_path / "fashion-mnist" / "runs" / "20260102-030405" / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text(
        "2026-01-02 INFO components.trainer.callbacks: epoch 1 of 2: loss 0.5000, 2.5 s\n"
        "2026-01-02 INFO absl: something else took 9.0 s\n"
        "2026-01-02 INFO components.trainer.callbacks: epoch 2 of 2: loss 0.4000, 1.5 s\n"
    )
    assert pipeline_cost.training_seconds("ours", tmp_path) == 4.0


@pytest.mark.slow
def test_stock_tfx_trains_judges_and_pushes(folder_of_images, tmp_path):
    command = [sys.executable, "-m", "benchmarks.stock_tfx", "--data", folder_of_images]
    command += ["--output-dir", tmp_path, "--profile", "smoke", *(f"--set={each}" for each in TINY)]
    environment = {**os.environ, "PIP_NO_INDEX": "1"}
    ended = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    store = metadata.open_store(tmp_path / "metadata.db")
    states = {
        execution.type.rpartition(".")[2]: execution.last_known_state
        for execution in store.get_executions()
    }
    assert len(states) == 9
    assert set(states.values()) == {metadata.mlmd.Execution.COMPLETE}
    assert list(tmp_path.glob("serving/*/saved_model.pb"))
    assert epoch_clock.read(tmp_path) > 0
