"""A training that is killed and resumed ends as if nothing had happened."""

import dataclasses
import json
import os
import pickle
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest

from components import features
from components.trainer import resumption, training

PROJECT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("killed_training.py")
# Where the processes that share a folder die, with the number of the epoch; the last one lives.
DEATHS = [("kept", 1), ("kept", 4), ("amid", 8), ("finished", 8), None]


@pytest.fixture(scope="module")
def arguments(settings, no_augmentation, schema, make_split, transform_folder):
    """Of a training with dropout, augmentation and averaging, for `killed_training.py`."""
    chosen = dataclasses.replace(
        settings,
        widths=(4,),
        epochs=10,
        # In halves; 18 steps in an epoch, of which TensorFlow takes 9 at once.
        batch_size=128,
        learning_rate=0.05,
        ema_momentum=0.9,
        plateau_patience=1,
        plateau_factor=0.5,
        early_stopping_patience=2,
        augmentation=dataclasses.replace(no_augmentation, shift=0.1, flip=True, erasing=0.5),
    )
    splits = {"train": make_split(2400, 1), "val": make_split(60, 2)}
    folder = {"transform_folder": transform_folder}
    return {"settings": chosen, "schema": schema, "splits": splits, **folder}


@pytest.fixture(scope="module")
def train(arguments, transform_output):
    """Trains in this process with the same arguments, some of them changed."""
    usual = {name: value for name, value in arguments.items() if name != "transform_folder"}
    return lambda folder, **changes: training.train(
        **{**usual, **changes}, transform=transform_output, backup_dir=str(folder)
    )


@dataclasses.dataclass(frozen=True)
class Left:
    """What a training left in its backup folder."""

    folder: Path

    @property
    def progress(self):
        return resumption.read_progress(str(self.folder))

    @property
    def state(self):
        return json.loads((Path(self.progress.snapshot) / "state.json").read_text())

    @property
    def counters(self):
        return self.state["callbacks"]

    @property
    def history(self):
        return json.loads((self.folder / "logs" / "history.json").read_text())

    @property
    def variables(self):
        with np.load(Path(self.progress.snapshot) / "variables.npz") as saved:
            return dict(saved)

    @property
    def returned(self):
        with np.load(self.folder / "returned.npz") as saved:
            return dict(saved)


@pytest.fixture(scope="module")
def trainings(arguments, python, tmp_path_factory):
    """What an unbroken training left, and what a broken one left after each of its processes."""
    folder = tmp_path_factory.mktemp("killed")
    unbroken, broken = folder / "unbroken", folder / "broken"
    file = folder / "arguments.pickle"
    file.write_bytes(pickle.dumps((arguments, str(unbroken), str(broken), DEATHS)))
    ended = python(SCRIPT, file)
    assert ended.returncode == 0, ended.stderr
    codes = [-signal.SIGKILL if death else 0 for death in DEATHS]
    assert json.loads(ended.stdout) == [0, *codes], ended.stderr
    return Left(unbroken), [Left(Path(f"{broken}-{number}")) for number in range(len(DEATHS))]


@pytest.mark.slow
def test_the_processes_died_where_it_matters(trainings, arguments):
    """Before the first snapshot; twice after a cut of the rate, with epochs left; at the end.

    The second of those with epochs left is without progress behind it.
    """
    _, (first, kept, amid, last, _) = trainings
    assert [left.progress.epochs for left in (first, kept, amid, last)] == [0, 3, 7, 7]
    assert not any(left.progress.finished for left in (first, kept, amid, last))
    assert amid.progress.epochs < arguments["settings"].epochs
    assert kept.counters["WarmUpAndDecay"]["cut"] == pytest.approx(0.5)
    assert amid.counters["WarmUpAndDecay"]["cut"] == pytest.approx(0.25)
    assert amid.counters["EarlyStopping"]["wait"] == 1


@pytest.mark.slow
def test_the_processes_that_died_writing_left_their_epoch_half_written(trainings):
    _, (first, kept, amid, last, _) = trainings
    for left, epochs in ((first, 1), (kept, 4), (last, 8)):
        assert (left.folder / "unfinished" / "variables.npz").is_file()
        assert (left.folder / "unfinished" / "best.npz").is_file()
        assert len(left.history) == epochs
    assert not (amid.folder / "unfinished").exists()


@pytest.mark.slow
def test_the_best_weights_are_those_of_the_unbroken_training(trainings):
    unbroken, (*_, resumed) = trainings
    best = resumed.counters["EarlyStopping"]["best_epoch"] + 1
    assert best == 6, "the best epoch lies between the deaths"
    np.testing.assert_equal(resumed.returned, unbroken.returned)


@pytest.mark.slow
def test_all_that_was_measured_is_that_of_the_unbroken_training(trainings):
    unbroken, (*_, resumed) = trainings
    assert [entry["epoch"] for entry in resumed.history] == list(range(1, 9))
    assert resumed.history == unbroken.history
    tables = [(left.folder / "logs" / "history.csv").read_text() for left in (resumed, unbroken)]
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_the_counters_of_the_callbacks_are_those_of_the_unbroken_training(trainings):
    unbroken, (*_, resumed) = trainings
    kept = ("ReduceLROnPlateau", "EarlyStopping", "BestWeights", "WarmUpAndDecay", "History")
    assert set(resumed.counters) == set(kept)
    assert resumed.state == unbroken.state
    assert resumed.counters["EarlyStopping"]["stopped_epoch"] == 7


@pytest.mark.slow
def test_network_optimizer_and_random_layers_end_as_in_the_unbroken_training(trainings):
    unbroken, (*_, resumed) = trainings
    np.testing.assert_equal(resumed.variables, unbroken.variables)


@pytest.mark.slow
def test_each_death_after_the_first_left_one_snapshot_of_the_unbroken_training(trainings):
    unbroken, (first, *others) = trainings
    assert not list(first.folder.glob("snapshot-*"))
    for left in others:
        assert len(list(left.folder.glob("snapshot-*"))) == 1
        past = left.counters["History"]["epochs"]
        assert past == unbroken.history[: left.progress.epochs]


@pytest.mark.slow
def test_a_finished_training_is_not_trained_again(train, trainings, tmp_path, monkeypatch):
    unbroken, _ = trainings
    shutil.copytree(unbroken.folder, tmp_path / "backup")
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("it trained again"))
    network = train(tmp_path / "backup")
    np.testing.assert_equal(network.get_weights(), [*unbroken.returned.values()])


def test_a_snapshot_is_on_the_disk_before_it_takes_its_name(
    arguments, train, tmp_path, monkeypatch
):
    """Otherwise a loss of power could leave one whose files are empty."""
    synced, named, sync, rename = set(), [], os.fsync, os.rename

    def watched_sync(descriptor):
        sync(descriptor)
        synced.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    def watched_rename(source, target):
        written = {str(path) for path in Path(source).iterdir()} | {source}
        assert written <= synced
        named.append(Path(target).name)
        synced.clear()
        rename(source, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(os, "rename", watched_rename)
    train(tmp_path / "backup", settings=dataclasses.replace(arguments["settings"], epochs=2))
    assert named == ["snapshot-00001", "snapshot-00002"]
    assert str(tmp_path / "backup") in synced, "the last name is on the disk, too"


def write_snapshot(folder, epochs, finished=False):
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"epochs": epochs, "finished": finished}))


def test_without_a_snapshot_there_is_nothing_to_go_on_from(tmp_path):
    nothing = resumption.Progress(epochs=0, finished=False, snapshot=None)
    assert resumption.read_progress(str(tmp_path / "nowhere")) == nothing
    write_snapshot(tmp_path / "unfinished", epochs=3)
    (tmp_path / "unfinished" / "best.npz").touch()
    assert resumption.read_progress(str(tmp_path)) == nothing


def test_the_latest_snapshot_counts(tmp_path):
    """A process may die when the new one is there and the old one not yet removed."""
    for epochs in (9, 10):
        write_snapshot(tmp_path / f"snapshot-{epochs:05d}", epochs)
    write_snapshot(tmp_path / "unfinished", epochs=11)
    latest = str(tmp_path / "snapshot-00010")
    assert resumption.read_progress(str(tmp_path)) == resumption.Progress(10, False, latest)


def changed(value):
    """Another value of the same type, or a number where there is none."""
    if value is None:
        return 1.0
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(value, shift=value.shift + 0.5)
    changes = {bool: lambda: not value, str: lambda: f"{value}x", tuple: lambda: (*value, 1)}
    return changes.get(type(value), lambda: value + 1)()


@pytest.fixture
def backup_folder(schema, make_split):
    """The folder for these settings, all else being equal."""
    splits = {name: make_split(12, 1) for name in ("train", "val")}

    def folder(run_dir, settings, base_model):
        return training._backup_folder(run_dir, settings, schema, splits, base_model)

    return folder


def test_each_setting_has_its_part_in_the_folder_of_the_backup(settings, backup_folder):
    run_dir = "/runs/Trainer/model_run/7"
    folders = [backup_folder(run_dir, settings, None)]
    for field in dataclasses.fields(settings):
        other = dataclasses.replace(
            settings, **{field.name: changed(getattr(settings, field.name))}
        )
        folders.append(backup_folder(run_dir, other, None))
    folders.append(backup_folder(run_dir, settings, "/models/3"))
    assert len(set(folders)) == len(dataclasses.fields(settings)) + 2
    assert all(folder.startswith("/runs/Trainer/backups/") for folder in folders)


def test_on_a_cluster_the_backup_lies_in_the_container(settings, backup_folder, monkeypatch):
    run_dir = "/gcs/artifacts/run/Trainer_1/model_run"
    here = backup_folder(run_dir, settings, None)
    monkeypatch.setenv(features.SNAPSHOTS_VARIABLE, "/tmp/of-the-container")
    there = backup_folder(run_dir, settings, None)
    assert there == f"/tmp/of-the-container/{here.rpartition('/')[2]}"


def test_the_next_run_of_the_same_settings_finds_the_backup(settings, backup_folder):
    folders = {
        backup_folder(f"/runs/Trainer/model_run/{run}", settings, "/models/3")
        for run in ("7", "8/")
    }
    assert len(folders) == 1


class Draws(keras.callbacks.Callback):
    """What the random layers make of the same images at the beginning of each epoch."""

    def __init__(self, network):
        super().__init__()
        self._network = network
        self._images = np.random.default_rng(0).random((4, 8, 8, 1), dtype=np.float32)
        self.seen = {}

    def on_epoch_begin(self, epoch, logs=None):
        answers = [np.asarray(self._network(self._images, training=True)) for _ in range(2)]
        self.seen[epoch] = np.stack(answers)


def draws(seed, first_epoch, epochs, calls_before=0):
    """By epoch, what two random layers draw; both have one seed of their own."""
    images = keras.Input((8, 8, 1))
    moved = keras.layers.RandomTranslation(0.3, 0.3, seed=5)(images)
    network = keras.Model(images, keras.layers.Dropout(0.5, seed=5)(moved))
    for _ in range(calls_before):
        network(np.ones((2, 8, 8, 1), np.float32), training=True)
    seeds, drawn = resumption.EpochSeeds(seed), Draws(network)
    callbacks = keras.callbacks.CallbackList([seeds, drawn], model=network)
    for epoch in range(first_epoch, epochs):
        callbacks.on_epoch_begin(epoch)
    return drawn.seen


def test_what_random_layers_draw_in_an_epoch_follows_from_seed_and_epoch_alone():
    all_epochs = draws(seed=3, first_epoch=0, epochs=4)
    later = draws(seed=3, first_epoch=2, epochs=4, calls_before=7)
    assert sorted(later) == [2, 3]
    for epoch, drawn in later.items():
        np.testing.assert_array_equal(drawn, all_epochs[epoch])


def test_each_epoch_each_step_and_each_seed_draws_anew():
    ours, others = (draws(seed=seed, first_epoch=0, epochs=3) for seed in (3, 4))
    drawn = [step for seen in (ours, others) for epoch in seen.values() for step in epoch]
    assert len({step.tobytes() for step in drawn}) == 12


def test_layers_of_one_seed_do_not_draw_the_same_numbers():
    inputs = keras.Input((50,))
    halves = [keras.layers.Dropout(0.5, seed=5)(inputs) for _ in range(2)]
    network = keras.Model(inputs, halves)
    keras.callbacks.CallbackList([resumption.EpochSeeds(1)], model=network).on_epoch_begin(0)
    first, second = network(np.ones((1, 50), np.float32), training=True)
    assert not np.array_equal(first, second)
