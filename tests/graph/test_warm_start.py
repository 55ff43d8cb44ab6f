"""Training that begins at the weights of the served model, in the graph."""

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first(run_few, set_values, tmp_path_factory):
    """The first run of a pipeline: there is no model yet to begin at."""
    arguments = set_values(training__warm_start="true")
    return run_few(tmp_path_factory.mktemp("warm_start") / "outputs", *arguments)


@pytest.fixture(scope="module")
def second(first, run_few, set_values):
    """The run after it, in which only the seed differs, so that Trainer is not cached."""
    return run_few(first.output_dir, *set_values(training__warm_start="true", seed=2))


def test_the_receipt_says_at_which_version_it_began(first, second):
    assert first.receipt["warm_start_from"] is None
    assert second.receipt["warm_start_from"] == {
        "digest": first.receipt["model_digest"],
        "version": first.receipt["pushed_version"],
    }


def test_it_begins_where_the_first_ended(first, second):
    assert second.evaluation["cross_entropy"] < first.evaluation["cross_entropy"]


def test_another_network_is_told_from_the_served_one(first, run_few, set_values):
    changed = set_values(training__warm_start="true", training__widths="[4,4,4]")
    run = run_few(first.output_dir, *changed, code=1)
    assert run.receipt["failure"]["node"] == "Trainer"
    assert "block1_conv1" in run.receipt["failure"]["message"]
    assert "training.widths" in run.receipt["failure"]["message"]
    command = f"{run.receipt['command']} --set training.warm_start=false"
    assert f"Go on     {command} (what is complete is not run again)" in run.outcome.output
