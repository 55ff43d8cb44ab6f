"""Trains in forked processes, some of which kill themselves at given moments.

The argument is a pickled file. It has the arguments of `training.train`, the backup folder of an
uninterrupted training, the backup folder of an interrupted one, and the deaths of the processes of
the latter. The script prints a JSON list with the outcome of each process. A surviving process
leaves the weights that `train` returned in its backup folder.

This module imports TensorFlow, but does not use it: its threads would not survive the fork.
"""

import json
import os
import pickle
import shutil
import signal
import sys
import traceback
from pathlib import Path

import keras
import numpy as np
import tensorflow_transform as tft

from components.trainer import callbacks, training

# Added to the validation losses, which are about 1. So the course is the same on every machine: the
# second epoch brings no progress and the rate is cut, the sixth epoch is the best, and the training
# ends with the eighth, after two epochs without progress.
RISES = (50, 60, 40, 30, 20, 10, 20, 30, 40, 50)


class SteeredLoss(keras.callbacks.Callback):
    """Adds the rises to the validation losses, before all callbacks that read them."""

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] += RISES[epoch]


class Death(keras.callbacks.Callback):
    """Kills the process in an epoch, counted from 1.

    It dies `amid` the epoch, while its snapshot is `kept`, or, in the last epoch, while the
    training is marked as `finished`.
    """

    def __init__(self, moment, epoch):
        super().__init__()
        self._moment = moment
        self._epoch = epoch
        self._now = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._now = epoch + 1
        if self._moment == "kept" and epoch == self._epoch:
            self._die_with_the_snapshot()

    def on_train_batch_end(self, batch, logs=None):
        if self._moment == "amid" and self._now == self._epoch:
            die()

    def on_train_end(self, logs=None):
        if self._moment == "finished" and self._now == self._epoch:
            self._die_with_the_snapshot()

    def _die_with_the_snapshot(self):
        # The snapshot is written next, and gets its name when it is complete.
        os.rename = die


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def train(arguments, folder, death):
    """Trains with the changed losses, until death or the end."""
    real = callbacks.training_callbacks

    def training_callbacks(*values):
        *others, snapshots = real(*values)
        dying = [Death(*death)] if death else []
        return [SteeredLoss(), *others, *dying, snapshots]

    callbacks.training_callbacks = training_callbacks
    transform = tft.TFTransformOutput(arguments.pop("transform_folder"))
    network = training.train(**arguments, transform=transform, backup_dir=folder)
    np.savez(Path(folder) / "returned.npz", *network.get_weights())


def begun(arguments, folder, death):
    """Forks a training and returns the child's process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train(arguments, folder, death)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def ended(child):
    """Waits for a child; returns its exit code, or the negative number of the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main():
    """Trains once without and once with interruptions; keeps what each death left."""
    arguments, unbroken, broken, deaths = pickle.loads(Path(sys.argv[1]).read_bytes())
    beside = begun(arguments, unbroken, None)
    codes = []
    for number, death in enumerate(deaths):
        codes.append(ended(begun(arguments, broken, death)))
        shutil.copytree(broken, f"{broken}-{number}")
    print(json.dumps([ended(beside), *codes]))


if __name__ == "__main__":
    main()
