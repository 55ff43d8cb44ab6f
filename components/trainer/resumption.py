"""What lets a training that was killed go on as if it had not been.

Keras's BackupAndRestore keeps weights and optimizer. It leaves out the counters of the other
callbacks and the state of random layers, so that a resumed training differs from an unbroken one.
Here all of it is kept. Besides, whatever is random in an epoch follows from the seed and the
epoch's number alone, so that no epoch depends on how often those before it drew.
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
_BEST_WEIGHTS_FILE = "best.weights.h5"
_SEED_STATE = "seed_generator_state"

# What a callback carries from epoch to epoch, by the name of its class.
_COUNTERS = {
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "EarlyStopping": ("best", "wait", "best_epoch", "stopped_epoch"),
    "ModelCheckpoint": ("best",),
    "WarmUpAndDecay": ("cut",),
    "History": ("epochs",),
}


class EpochSeeds(keras.callbacks.Callback):
    """Makes what random layers draw in an epoch follow from the seed and the epoch alone."""

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
    """How far an earlier, broken training came.

    Attributes:
      epochs: completed ones; 0 where there is nothing to go on from.
      finished: whether no epoch is left to do.
      snapshot: the folder that holds the state at their end; None at 0.
    """

    epochs: int
    finished: bool
    snapshot: str | None


def read_progress(folder: str) -> Progress:
    """Finds the last snapshot in the local folder of a training."""
    snapshots = _snapshots(folder)
    if not snapshots:
        return Progress(0, False, None)
    state = _read_state(snapshots[-1])
    return Progress(state["epochs"], state["finished"], snapshots[-1])


def best_weights(folder: str) -> str:
    """The file of the best weights up to the last snapshot, which is there."""
    return os.path.join(_snapshots(folder)[-1], _BEST_WEIGHTS_FILE)


def new_best_weights(folder: str) -> str:
    """Where weights are written that are better than all before, for the next snapshot to hold."""
    return os.path.join(folder, _UNFINISHED, _BEST_WEIGHTS_FILE)


class Snapshots(keras.callbacks.Callback):
    """Keeps the state of the training at the end of each epoch, and restores it.

    The best weights are part of it: those of an epoch that is lost are lost with it.

    It stands last among the callbacks, since the others reset themselves when a training begins.
    """

    def __init__(self, folder: str, callbacks: list[keras.callbacks.Callback]):
        """Takes the local folder of this training alone, and all other callbacks."""
        super().__init__()
        self._folder = folder
        self._callbacks = {type(callback).__name__: callback for callback in callbacks}
        self._begun_at = read_progress(folder)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Restores the last snapshot, where there is one, and removes what came after it."""
        left = os.path.join(self._folder, _UNFINISHED)
        if os.path.isdir(left):
            shutil.rmtree(left)
        snapshot = self._begun_at.snapshot
        if snapshot is None:
            return
        self.model.optimizer.build(self.model.trainable_variables)
        with np.load(os.path.join(snapshot, _VARIABLES_FILE)) as saved:
            for name, variable in _variables(self.model).items():
                variable.assign(saved[name])
        for name, counters in _read_state(snapshot)["callbacks"].items():
            for counter, value in counters.items():
                setattr(self._callbacks[name], counter, value)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Writes a snapshot: by now every callback is done with the epoch before."""
        if epoch > self._begun_at.epochs:
            self._write(epoch, finished=False)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Marks the training as finished: what is left to do needs the best weights alone."""
        self._write(len(self._callbacks["History"].epochs), finished=True)

    def _write(self, epochs: int, finished: bool) -> None:
        new = os.path.join(self._folder, _UNFINISHED)
        os.makedirs(new, exist_ok=True)
        # ModelCheckpoint wrote them there, unless the epoch was no better than those before.
        if not os.path.exists(new_best_weights(self._folder)):
            shutil.copy(best_weights(self._folder), new)
        values: dict[str, Any] = {
            name: np.asarray(variable) for name, variable in _variables(self.model).items()
        }
        np.savez(os.path.join(new, _VARIABLES_FILE), **values)
        state = {"epochs": epochs, "finished": finished, "callbacks": self._counters()}
        with open(os.path.join(new, _STATE_FILE), "w", encoding="utf-8") as file:
            json.dump(state, file)
        before = read_progress(self._folder).snapshot
        # Renamed when it is whole, and only then is the one before it removed: whenever the
        # process is killed or the power lost, there is a whole one.
        disk.sync_tree(new)
        os.rename(new, os.path.join(self._folder, f"{_SNAPSHOT}{epochs:05d}"))
        disk.sync(self._folder)
        if before is not None:
            shutil.rmtree(before)

    def _counters(self) -> dict[str, dict[str, Any]]:
        present = {name: self._callbacks[name] for name in _COUNTERS if name in self._callbacks}
        return {
            name: {counter: getattr(callback, counter) for counter in _COUNTERS[name]}
            for name, callback in present.items()
        }


def _snapshots(folder: str) -> list[str]:
    """The folders of all whole snapshots, the last one last."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in sorted(names) if name.startswith(_SNAPSHOT)]


def _read_state(snapshot: str) -> dict[str, Any]:
    with open(os.path.join(snapshot, _STATE_FILE), encoding="utf-8") as file:
        return json.load(file)


def _variables(model: keras.Model) -> dict[str, Any]:
    """All variables of model and optimizer, named by their place."""
    found = [*model.variables, *model.optimizer.variables]
    return {f"{number:04d}": variable for number, variable in enumerate(found)}
