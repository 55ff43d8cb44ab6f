"""A training that keeps snapshots, with small arithmetic in the place of its epochs."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from components.trainer import budget, resumption
from tests.faults import stubs
from tests.faults.scenarios import Ended, Scenario

# Of each epoch; the second brings no progress.
_LOSSES = (1.0, 2.0, 0.5)


def _network() -> keras.Model:
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    network.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    network.optimizer.build(network.trainable_variables)
    network.set_weights([np.ones((2, 1))])
    return network


def _train(folder: Path) -> int:
    """Trains as `training.run_fn` does, from the last snapshot on; keeps the result in a file."""
    snapshots = str(folder / "snapshots")
    epochs = budget.kept_epochs(snapshots)
    if epochs is None:
        epochs = len(_LOSSES)
        budget.keep_epochs(epochs, snapshots)
    network, history = _network(), keras.callbacks.History()
    history.epochs = []
    best = resumption.BestWeights(snapshots)
    kept = resumption.Snapshots(snapshots, [best, history])
    best.set_model(network)
    kept.set_model(network)
    progress = resumption.read_progress(snapshots)
    if not progress.finished:
        kept.on_train_begin()
        for epoch in range(progress.epochs, epochs):
            kept.on_epoch_begin(epoch)
            _epoch(network, epoch)
            history.epochs.append(epoch)
            best.on_epoch_end(epoch, {"val_loss": _LOSSES[epoch]})
        kept.on_train_end()
    resumption.load_best_weights(network, snapshots)
    with stubs.somebody_else():
        np.save(folder / "result.npy", np.concatenate([np.ravel(w) for w in network.get_weights()]))
    return 0


def _epoch(network: keras.Model, epoch: int) -> None:
    """Changes network and optimizer by the epoch and by what they were before."""
    for position, variable in enumerate(network.variables + network.optimizer.variables):
        value = np.asarray(variable)
        variable.assign((value * 0.5 + epoch + position).astype(value.dtype))


def _trained(folder: Path) -> int:
    return stubs.function(lambda: _train(folder))


def _cut_short(folder: Path) -> None:
    """A training that was killed in its first epoch, before its first snapshot."""
    left = folder / "snapshots" / "unfinished"
    left.mkdir(parents=True)
    (left / "state.json").write_text("{")
    (folder / "snapshots" / ".budget.json.0123456789abcdef").write_text('{"epo')


def _check(before: Path, folder: Path, ended: Ended) -> list[str]:
    """The result is that of the unbroken training, if there is one."""
    result = folder / "result.npy"
    if not result.exists():
        return ["exit code 0 without a result"] if ended.code == 0 else []
    network = _network()
    for epoch in range(len(_LOSSES)):
        _epoch(network, epoch)
    unbroken = np.concatenate([np.ravel(w) for w in network.get_weights()])
    return [] if np.array_equal(np.load(result), unbroken) else ["the result is another one"]


SCENARIOS = {"a training": Scenario(_cut_short, _trained, check=_check, check_again=_check)}
