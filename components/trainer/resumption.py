"""Snapshots, so that a killed training resumes with the same result as without the interruption.

Keras's BackupAndRestore saves the weights and the optimizer. It omits the counters of the other
callbacks and the state of random layers, so that a resumed training differs from an uninterrupted
one. The snapshots here include all of this. Moreover, the random numbers of an epoch depend only on
the seed and the number of the epoch, not on the epochs before.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from typing import Any

import keras
import numpy as np

from components import disk

_SNAPSHOT, _UNFINISHED = "snapshot-", "unfinished"
_STATE_FILE, _VARIABLES_FILE = "state.json", "variables.npz"
_BEST_WEIGHTS_FILE = "best.npz"
_SEED_STATE = "seed_generator_state"

Counters = dict[str, dict[str, float | list[int]]]

# State that a callback keeps between epochs, by the name of its class.
_COUNTERS = {
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "EarlyStopping": ("best", "wait", "best_epoch", "stopped_epoch"),
    "BestWeights": ("best",),
    "WarmUpAndDecay": ("cut",),
    "History": ("epochs",),
}


class EpochSeeds(keras.callbacks.Callback):
    """Makes the random numbers of an epoch depend only on the seed and the epoch."""

    def __init__(self, seed: int):
        super().__init__()
        self._seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Sets the state of each random layer's generator."""
        states = [v for v in self.model.non_trainable_variables if v.name == _SEED_STATE]
        for number, state in enumerate(states):
            drawn = np.random.SeedSequence([self._seed, epoch, number]).generate_state(2)
            state.assign(drawn.astype(state.dtype))


@dataclasses.dataclass(frozen=True)
class Progress:
    """Progress of an earlier, interrupted training.

    Attributes:
      epochs: Number of completed epochs; 0 if there is no snapshot.
      finished: Whether all epochs are done.
      snapshot: Folder with the state after these epochs; None if there is no snapshot.
    """

    epochs: int
    finished: bool
    snapshot: str | None


@dataclasses.dataclass(frozen=True)
class _State:
    """State of a training at the end of an epoch, saved in the file of a snapshot.

    Attributes:
      epochs: Number of completed epochs.
      finished: Whether all epochs are done.
      callbacks: Counter values by the class of the callback and the name of the counter.
    """

    epochs: int
    finished: bool
    callbacks: Counters = dataclasses.field(default_factory=dict)


def read_progress(folder: str) -> Progress:
    """Reads the progress from the last snapshot in the local folder of a training."""
    snapshots = _snapshots(folder)
    if not snapshots:
        return Progress(0, False, None)
    state = _read_state(snapshots[-1])
    return Progress(state.epochs, state.finished, snapshots[-1])


def load_best_weights(network: keras.Model, folder: str) -> None:
    """Gives a network the best weights of the last snapshot, which must exist."""
    _restore(_named(network.variables), os.path.join(_snapshots(folder)[-1], _BEST_WEIGHTS_FILE))


class BestWeights(keras.callbacks.ModelCheckpoint):
    """ModelCheckpoint for the lowest validation loss, which writes NumPy arrays.

    Keras writes HDF5, which may leave zeros where the disk fails, without an error, and then ends
    the process with a segmentation fault. The file becomes part of the next snapshot.
    """

    def __init__(self, folder: str):
        """Creates the callback from the local folder of this training."""
        # Keras takes no other ending.
        super().__init__("best.weights.h5", save_best_only=True, save_weights_only=True)
        self._folder = folder

    def _save_model(self, epoch: int, batch: int | None, logs: dict) -> None:
        new = os.path.join(self._folder, _UNFINISHED)
        path = os.path.join(new, _BEST_WEIGHTS_FILE)
        if self._should_save_model(epoch, batch, logs, path):
            os.makedirs(new, exist_ok=True)
            _save(_named(self.model.variables), path)


class Snapshots(keras.callbacks.Callback):
    """Saves the state of the training after each epoch, and restores it.

    The state includes the best weights, so that they never come from an epoch that was lost.

    This must be the last callback, since the others reset themselves when a training begins.
    """

    def __init__(self, folder: str, callbacks: list[keras.callbacks.Callback]):
        """Creates the callback from the local folder of this training, and all other callbacks."""
        super().__init__()
        self._folder = folder
        self._callbacks = {type(callback).__name__: callback for callback in callbacks}
        self._begun_at = read_progress(folder)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Restores the last snapshot, if any, and removes an unfinished one."""
        left = os.path.join(self._folder, _UNFINISHED)
        if os.path.isdir(left):
            shutil.rmtree(left)
        snapshot = self._begun_at.snapshot
        if snapshot is None:
            return
        self.model.optimizer.build(self.model.trainable_variables)
        _restore(_all_variables(self.model), os.path.join(snapshot, _VARIABLES_FILE))
        for name, counters in _read_state(snapshot).callbacks.items():
            for counter, value in counters.items():
                setattr(self._callbacks[name], counter, value)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Writes a snapshot of the previous epoch, since all callbacks are done with it now."""
        if epoch > self._begun_at.epochs:
            self._write(epoch, finished=False)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Writes a final snapshot that marks the training as finished."""
        self._write(len(self._callbacks["History"].epochs), finished=True)

    def _write(self, epochs: int, finished: bool) -> None:
        new = os.path.join(self._folder, _UNFINISHED)
        os.makedirs(new, exist_ok=True)
        # BestWeights has written the best weights, unless the epoch brought no progress.
        if not os.path.exists(os.path.join(new, _BEST_WEIGHTS_FILE)):
            shutil.copy(os.path.join(_snapshots(self._folder)[-1], _BEST_WEIGHTS_FILE), new)
        _save(_all_variables(self.model), os.path.join(new, _VARIABLES_FILE))
        state = _State(epochs, finished, self._counters())
        with open(os.path.join(new, _STATE_FILE), "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(state), file)
        before = read_progress(self._folder).snapshot
        # Rename the complete snapshot first, then remove the previous one: so a complete snapshot
        # exists at any time, even after a kill or a power failure.
        disk.sync_tree(new)
        os.rename(new, os.path.join(self._folder, f"{_SNAPSHOT}{epochs:05d}"))
        disk.sync(self._folder)
        if before is not None:
            shutil.rmtree(before)

    def _counters(self) -> Counters:
        present = {name: self._callbacks[name] for name in _COUNTERS if name in self._callbacks}
        return {
            name: {counter: getattr(callback, counter) for counter in _COUNTERS[name]}
            for name, callback in present.items()
        }


def _snapshots(folder: str) -> list[str]:
    """Returns the folders of all complete snapshots, oldest first."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in sorted(names) if name.startswith(_SNAPSHOT)]


def _read_state(snapshot: str) -> _State:
    with open(os.path.join(snapshot, _STATE_FILE), encoding="utf-8") as file:
        return _State(**json.load(file))


def _all_variables(model: keras.Model) -> dict[str, keras.Variable]:
    return _named([*model.variables, *model.optimizer.variables])


def _named(variables: list[keras.Variable]) -> dict[str, keras.Variable]:
    """Returns variables, named by their position."""
    return {f"{number:04d}": variable for number, variable in enumerate(variables)}


def _save(variables: dict[str, keras.Variable], file: str) -> None:
    values: dict[str, Any] = {name: np.asarray(value) for name, value in variables.items()}
    np.savez(file, **values)


def _restore(variables: dict[str, keras.Variable], file: str) -> None:
    with np.load(file) as saved:
        for name, variable in variables.items():
            variable.assign(saved[name])
