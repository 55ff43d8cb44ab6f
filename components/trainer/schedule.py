"""The learning rate schedule: warm-up, decay, and the cuts by ReduceLROnPlateau."""

from __future__ import annotations

import keras


class WarmUpAndDecay(keras.callbacks.Callback):
    """Increases the rate linearly to its peak, then decreases it linearly towards zero.

    The schedule is a callback, since Keras's ReduceLROnPlateau refuses an optimizer with a
    schedule. It comes after ReduceLROnPlateau, detects its cuts, and multiplies all later rates by
    the same factor.

    Attributes:
      cut: Product of all cuts so far.
    """

    def __init__(self, peak: float, warm_up: float, steps_per_epoch: int, epochs: int):
        """Plans the rate.

        Args:
          peak: Peak learning rate.
          warm_up: Share of all steps before the peak.
          steps_per_epoch: Number of steps in an epoch.
          epochs: Number of epochs of the whole training.
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
        """Stores the number of the epoch."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Sets the rate for the next steps."""
        self.model.optimizer.learning_rate = self.cut * self.rate(self._epoch * self._steps + batch)
        self._planned = self._current()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Records a cut by ReduceLROnPlateau."""
        # After many cuts the rate is zero, and stays zero.
        if self._planned > 0:
            self.cut *= self._current() / self._planned

    def rate(self, step: int) -> float:
        """Returns the rate without cuts at a step, counted from 0 over all epochs."""
        if step < self._warm_up:
            return self._peak * (step + 1) / (self._warm_up + 1)
        return self._peak * (self._total - step) / (self._total - self._warm_up)

    def _current(self) -> float:
        return float(self.model.optimizer.learning_rate)
