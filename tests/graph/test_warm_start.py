"""Training that begins at the weights of the served model, in the graph."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first(run_few, set_values, tmp_path_factory):
    """The first run of a pipeline: there is no model yet to begin at."""
    arguments = set_values(training__warm_start="true")
    return run_few(tmp_path_factory.mktemp("warm_start") / "outputs", *arguments)


@pytest.fixture(scope="module")
def second(first, run_few, set_values):
    """The run after it, in which only the epochs differ, so that Trainer is not cached."""
    return run_few(first.output_dir, *set_values(training__warm_start="true", training__epochs=2))


def test_the_receipt_says_at_which_version_it_began(first, second):
    assert first.receipt["warm_start_from"] is None
    assert second.receipt["warm_start_from"] == {
        "digest": first.receipt["model_digest"],
        "version": first.receipt["pushed_version"],
    }


def test_it_begins_where_the_first_ended(first, second):
    assert second.evaluation["cross_entropy"] < first.evaluation["cross_entropy"]


def test_images_that_the_served_model_was_trained_on_do_not_validate(first, run_few, set_values):
    """Another seed draws the validation split anew."""
    run = run_few(first.output_dir, *set_values(training__warm_start="true", seed=2), code=1)
    assert run.receipt["failure"]["node"] == "Trainer"
    assert "of the 300 validation images" in run.receipt["failure"]["message"]
    assert run.receipt["failure"]["changes"] == ["training.warm_start=false"]


def test_another_network_is_told_from_the_served_one(first, run_few, set_values):
    changed = set_values(training__warm_start="true", training__widths="[4,4,4]")
    run = run_few(first.output_dir, *changed, code=1)
    assert run.receipt["failure"]["node"] == "Trainer"
    assert "layer whitening" in run.receipt["failure"]["message"]
    assert "training.widths" in run.receipt["failure"]["message"]
    command = f"{run.receipt['command']} --set training.warm_start=false"
    assert f"Go on     {command} (what is complete is not run again)" in run.outcome.output


def test_a_model_that_was_trained_on_test_images_is_no_beginning(
    first, run_graph, few_images, undemanding, set_values, tmp_path
):
    """Three images change places, so that the run itself has no image in two splits."""
    moved = slice(0, 3)
    train, test = np.copy(few_images.train_images), np.copy(few_images.test_images)
    assert np.array_equal(few_images.train_labels[moved], few_images.test_labels[moved])
    train[moved], test[moved] = few_images.test_images[moved], few_images.train_images[moved]
    swapped = few_images.change(train_images=train, test_images=test).write(tmp_path / "swapped")
    arguments = [*undemanding(swapped), *set_values(training__warm_start="true")]
    run = run_graph(first.output_dir, *arguments, code=1)
    assert run.receipt["failure"]["node"] == "Trainer"
    assert "trained on 3 of the 500 test images" in run.receipt["failure"]["message"]
    assert "training.warm_start=false" in run.receipt["failure"]["message"]
