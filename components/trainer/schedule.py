"""The learning rate over a training: warm-up, decay, and the cuts of ReduceLROnPlateau."""

from __future__ import annotations

import keras


class WarmUpAndDecay(keras.callbacks.Callback):
    """Raises the rate in equal steps to its peak, then lowers it in equal steps towards zero.

    Keras's ReduceLROnPlateau refuses an optimizer with a schedule of its own, so the schedule is a
    callback too. It stands after ReduceLROnPlateau, notices that the rate was cut, and multiplies
    all that follows by the same factor: the two neither fight nor undo each other.

    Attributes:
      cut: product of all cuts so far.
    """

    def __init__(self, peak: float, warm_up: float, steps_per_epoch: int, epochs: int):
        """Plans the rate.

        Args:
          peak: the highest rate.
          warm_up: share of all steps until the peak.
          steps_per_epoch: steps in an epoch.
          epochs: epochs of the whole training.
        """
        super().__init__()
        self.cut = 1.0
        self._peak = peak
        self._steps = steps_per_epoch
        self._total = steps_per_epoch * epochs
        self._warm_up = warm_up * self._total
        self._epoch = 0
        self._planned = peak

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remembers where in the training its steps are."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Sets the rate of the steps that begin here."""
        self.model.optimizer.learning_rate = self.cut * self.rate(self._epoch * self._steps + batch)
        self._planned = self._current()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Takes over a cut that ReduceLROnPlateau made."""
        # Cut often enough, the rate is zero, and stays it.
        if self._planned > 0:
            self.cut *= self._current() / self._planned

    def rate(self, step: int) -> float:
        """The rate at a step, counted from 0 through all epochs, without cuts."""
        if step < self._warm_up:
            return self._peak * (step + 1) / (self._warm_up + 1)
        return self._peak * (self._total - step) / (self._total - self._warm_up)

    def _current(self) -> float:
        return float(self.model.optimizer.learning_rate)
