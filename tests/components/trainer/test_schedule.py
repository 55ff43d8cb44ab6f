"""The learning rate: warm-up, decay, and permanent cuts at a plateau."""

import dataclasses

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies

from components.trainer.schedule import WarmUpAndDecay


@dataclasses.dataclass(frozen=True)
class Plan:
    """Arguments of a schedule."""

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
    rates = Plan(peak=0.4, warm_up=0.0, steps=1, epochs=4).rates()
    assert rates == pytest.approx([0.4, 0.3, 0.2, 0.1])


def scheduled(plan, factor, patience, steps_at_once=1):
    """Trains by a plan, whose rate a plateau cuts; returns the rates by step, and what is left."""
    schedule = WarmUpAndDecay(plan.peak, plan.warm_up, plan.steps, plan.epochs)
    plateau = keras.callbacks.ReduceLROnPlateau(factor=factor, patience=patience)
    rates = Rates(plan.steps)
    fit([plateau, schedule, rates], plan.epochs, plan.steps, steps_at_once)
    return rates.taken, schedule.cut


class Rates(keras.callbacks.Callback):
    """Records the rate of each step by the number of the step."""

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
    """Trains away from the validation data: there is no progress from the second epoch on."""
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(1.0)
    # Single steps are faster in Python than the tracing of a graph for them.
    how = {"run_eagerly": True} if steps_at_once == 1 else {"jit_compile": False}
    network.compile(optimizer, "mse", steps_per_execution=steps_at_once, **how)
    inputs = np.ones((steps, 2), np.float32)
    targets, validation = (np.full((steps, 1), each, np.float32) for each in (100.0, 0.0))
    options = {"batch_size": 1, "epochs": epochs, "verbose": 0, "callbacks": callbacks}
    network.fit(inputs, targets, validation_data=(inputs, validation), **options)


@pytest.mark.parametrize("steps_at_once", [1, 3])
def test_a_cut_by_the_plateau_stays_for_all_later_steps(steps_at_once):
    plan, factor = Plan(peak=0.01, warm_up=0.3, steps=6, epochs=5), 0.5
    taken, cut = scheduled(plan, factor, 2, steps_at_once)
    # The first epoch is the best; two without progress end with the third, the next two with the
    # fifth, the last.
    cuts = np.repeat([1, 1, 1, factor, factor], plan.steps)
    expected = plan.rates() * cuts
    # Steps that are taken at once have the rate of the first of them.
    starts = np.arange(len(expected)) // steps_at_once * steps_at_once
    assert sorted(taken) == list(range(steps_at_once - 1, len(expected), steps_at_once))
    for step, rate in taken.items():
        assert rate == pytest.approx(expected[starts[step]], rel=1e-6)
    assert cut == pytest.approx(factor**2, rel=1e-6)


def test_a_rate_without_cuts_follows_the_schedule():
    plan = Plan(peak=0.01, warm_up=0.3, steps=6, epochs=5)
    taken, cut = scheduled(plan, 0.5, patience=plan.epochs)
    assert list(taken.values()) == pytest.approx(plan.rates(), rel=1e-6)
    assert cut == 1.0


def test_cuts_of_the_rate_to_zero_do_not_end_the_training():
    """In float32 the second cut by 1e-30 gives zero."""
    plan = Plan(peak=0.01, warm_up=0.0, steps=1, epochs=6)
    taken, _ = scheduled(plan, 1e-30, patience=1)
    assert list(taken) == list(range(plan.epochs))
    assert [rate == 0 for rate in taken.values()] == [False] * 3 + [True] * 3
