"""The learning rate: up, down, and cut by a plateau for good."""

import dataclasses

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies

from components.trainer.schedule import WarmUpAndDecay


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a schedule is made from."""

    peak: float
    warm_up: float
    steps: int
    epochs: int

    def rates(self):
        schedule = WarmUpAndDecay(self.peak, self.warm_up, self.steps, self.epochs)
        return np.array([schedule.rate(step) for step in range(self.steps * self.epochs)])


PLANS = strategies.builds(
    Plan,
    peak=strategies.floats(1e-6, 10),
    warm_up=strategies.floats(0, 1, exclude_max=True),
    steps=strategies.integers(1, 40),
    epochs=strategies.integers(1, 30),
)


@hypothesis.given(PLANS)
def test_the_rate_is_above_zero_and_never_above_its_peak(plan):
    rates = plan.rates()
    assert (rates > 0).all()
    assert rates.max() <= plan.peak * (1 + 1e-12)


@hypothesis.given(PLANS)
def test_the_rate_rises_and_then_falls(plan):
    rising = np.diff(plan.rates()) > 0
    assert (np.diff(rising.astype(int)) <= 0).all(), "it rises again after it fell"
    assert abs(rising.sum() - plan.warm_up * len(rising)) <= 1


def test_the_rate_rises_in_equal_steps_and_falls_in_equal_steps_towards_zero():
    rates = Plan(peak=0.6, warm_up=0.25, steps=4, epochs=2).rates()
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_without_warm_up_the_rate_begins_at_its_peak():
    assert Plan(peak=0.4, warm_up=0.0, steps=1, epochs=4).rates() == pytest.approx(
        [0.4, 0.3, 0.2, 0.1]
    )


class Rates(keras.callbacks.Callback):
    """Notes with which rate each step was taken, by the number of the step."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.taken = {}
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        rate = float(self.model.optimizer.learning_rate)
        self.taken[self.epoch * self.steps + batch] = rate


def fit(callbacks, epochs, steps, steps_at_once=1):
    """Trains away from what is validated on: from the second epoch on there is no progress."""
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(1.0)
    # Single steps are faster in Python than the tracing of a graph for them.
    how = {"run_eagerly": True} if steps_at_once == 1 else {"jit_compile": False}
    network.compile(optimizer, "mse", steps_per_execution=steps_at_once, **how)
    inputs = np.ones((steps, 2), np.float32)
    network.fit(
        inputs,
        np.full((steps, 1), 100.0, np.float32),
        validation_data=(inputs, np.zeros((steps, 1), np.float32)),
        batch_size=1,
        epochs=epochs,
        verbose=0,
        callbacks=callbacks,
    )


@pytest.mark.parametrize("steps_at_once", [1, 3])
def test_a_cut_by_the_plateau_stays_for_all_later_steps(steps_at_once):
    plan, factor = Plan(peak=0.01, warm_up=0.3, steps=6, epochs=5), 0.5
    schedule = WarmUpAndDecay(plan.peak, plan.warm_up, plan.steps, plan.epochs)
    plateau = keras.callbacks.ReduceLROnPlateau(factor=factor, patience=2)
    rates = Rates(plan.steps)
    fit([plateau, schedule, rates], plan.epochs, plan.steps, steps_at_once)
    # The first epoch is the best; two without progress end with the third, the next two with the
    # fifth, the last.
    cuts = np.repeat([1, 1, 1, factor, factor], plan.steps)
    expected = plan.rates() * cuts
    # Steps that are taken at once have the rate of the first of them.
    starts = np.arange(len(expected)) // steps_at_once * steps_at_once
    assert sorted(rates.taken) == list(range(steps_at_once - 1, len(expected), steps_at_once))
    for step, rate in rates.taken.items():
        assert rate == pytest.approx(expected[starts[step]], rel=1e-6)
    assert schedule.cut == pytest.approx(factor**2, rel=1e-6)


def test_a_rate_that_nobody_cuts_is_the_planned_one_to_the_end():
    plan = Plan(peak=0.01, warm_up=0.3, steps=6, epochs=5)
    schedule = WarmUpAndDecay(plan.peak, plan.warm_up, plan.steps, plan.epochs)
    rates = Rates(plan.steps)
    patient = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=plan.epochs)
    fit([patient, schedule, rates], plan.epochs, plan.steps)
    assert list(rates.taken.values()) == pytest.approx(plan.rates(), rel=1e-6)
    assert schedule.cut == 1.0


def test_cuts_that_leave_nothing_of_the_rate_end_no_training():
    """In float32 the second cut by 1e-30 gives zero."""
    plan = Plan(peak=0.01, warm_up=0.0, steps=1, epochs=6)
    schedule = WarmUpAndDecay(plan.peak, plan.warm_up, plan.steps, plan.epochs)
    rates = Rates(plan.steps)
    plateau = keras.callbacks.ReduceLROnPlateau(factor=1e-30, patience=1)
    fit([plateau, schedule, rates], plan.epochs, plan.steps)
    assert list(rates.taken) == list(range(plan.epochs))
    assert [rate == 0 for rate in rates.taken.values()] == [False] * 3 + [True] * 3
