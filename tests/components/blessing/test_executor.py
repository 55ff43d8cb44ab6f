"""The joint blessing: given where every evaluation with gates gives its own, and nowhere else."""

from pathlib import Path

import pytest
from tfx.components.pusher import executor as pusher_executor
from tfx.types import standard_artifacts

from components.blessing.executor import Executor

YES, NO, UNDECIDED = 1, 0, None


@pytest.fixture
def join(tmp_path):
    """Runs the node on blessings; returns its own."""
    numbers = iter(range(100))

    def blessing(value, baseline=False):
        found = standard_artifacts.ModelBlessing()
        found.uri = str(tmp_path / f"blessing{next(numbers)}")
        if value is not UNDECIDED:
            found.set_int_custom_property("blessed", value)
            found.set_string_custom_property("current_model", "/models/8")
            found.set_int_custom_property("current_model_id", 8)
        if baseline:
            found.set_string_custom_property("baseline_model", "/models/3")
            found.set_int_custom_property("baseline_model_id", 3)
        return found

    def run(evaluation, *robustness, baseline=False):
        inputs = {
            "evaluation_blessing": [blessing(evaluation, baseline)],
            "robustness_blessing": [blessing(value) for value in robustness],
        }
        output = blessing(UNDECIDED)
        Executor().Do(inputs, {"blessing": [output]}, {})
        return output

    return run


@pytest.mark.parametrize(
    ("evaluation", "robustness", "expected"),
    [
        (YES, [YES], True),
        (YES, [NO], False),
        (NO, [YES], False),
        (NO, [NO], False),
        (YES, [], True),
        (NO, [], False),
        (YES, [UNDECIDED], False),
        (UNDECIDED, [YES], False),
        (UNDECIDED, [], False),
    ],
)
def test_all_that_are_asked_must_agree(join, evaluation, robustness, expected):
    found = join(evaluation, *robustness)
    assert found.get_int_custom_property("blessed") == int(expected)
    (file,) = Path(found.uri).iterdir()
    assert file.name == ("BLESSED" if expected else "NOT_BLESSED")
    # As Pusher reads it.
    pusher = pusher_executor.Executor()
    assert pusher.CheckBlessing({"model_blessing": [found]}) == expected


def test_it_names_the_model_that_was_judged_and_the_one_it_was_compared_with(join):
    found = join(YES, YES, baseline=True)
    assert found.get_string_custom_property("current_model") == "/models/8"
    assert found.get_int_custom_property("current_model_id") == 8
    assert found.get_string_custom_property("baseline_model") == "/models/3"
    assert found.get_int_custom_property("baseline_model_id") == 3


def test_without_a_served_model_it_names_none(join):
    found = join(YES, YES)
    assert not found.has_custom_property("baseline_model")
    assert not found.has_custom_property("baseline_model_id")
