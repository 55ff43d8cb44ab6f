"""Two runs side by side."""

import numpy as np
import pytest

from review.versus import compare


@pytest.fixture
def pair(make_run):
    """Two runs on the same test images."""
    return make_run(), make_run(run_id="20260102-000000", seed=2, surplus=4.0)


def versus(first, second):
    return compare(first.finished, second.finished)


def test_the_second_run_is_the_candidate(pair):
    first, second = pair
    found = versus(first, second)
    assert found.missing is None
    assert found.comparison.candidate_name == second.receipt.run_id == found.second.id
    assert found.comparison.baseline_name == first.receipt.run_id == found.first.id
    now, before = (made.choices == made.labels for made in (second, first))
    assert found.comparison.change.value == pytest.approx(now.mean() - before.mean())
    assert found.comparison.only_candidate == (now & ~before).sum()
    assert [share.hits for share in found.accuracies] == [before.sum(), now.sum()]


def test_turned_around_it_is_the_opposite(pair):
    one, other = versus(*pair).comparison, versus(*reversed(pair)).comparison
    assert one.change.value == -other.change.value
    assert (one.only_candidate, one.only_baseline) == (other.only_baseline, other.only_candidate)
    assert one.p_value == other.p_value


def test_the_images_show_what_both_runs_answer(pair):
    first, second = pair
    found = versus(first, second)
    assert found.sheet.count == len(found.images) > 0
    for image in found.images:
        place = first.ids.index(image.example_id)
        assert image.baseline.name == pair[0].classes[first.choices[place]]
        assert image.choices[0].name == pair[0].classes[second.choices[place]]


def test_runs_are_compared_also_where_the_served_model_answered_no_numbers(pair):
    first, second = pair
    for made in pair:
        made.baseline[:] = np.nan
        made.write_predictions()
    found = versus(first, second)
    assert found.missing is None
    assert found.comparison.candidate.hits == (second.choices == second.labels).sum()


def test_a_run_does_not_differ_from_itself(made_run):
    found = versus(made_run, made_run)
    assert (found.parameters, found.facts, found.sheet) == ({}, {}, None)
    assert found.comparison.p_value == 1.0


def test_what_differs_is_named_with_both_values(pair):
    first, second = pair
    second.change(
        config={"seed": 7, "training": {"epochs": 30, "flip_averaging": True}},
        code={"revision": "abc", "dirty": True},
        data={"sha256": {"extra": "f" * 64}},
        environment={"lock": None, "lock_sha256": "9" * 64, "versions": {"glibc": "2.99"}},
    )
    first.change(code={"revision": None, "dirty": None})
    environment = first.receipt.environment
    found = versus(first, second)
    assert found.parameters == {
        "training.epochs": ("13", "30"),
        "training.flip_averaging": ("false", "true"),
    }
    assert found.facts == {
        "extra": ("not known", "f" * 64),
        "revision": ("not known", "abc"),
        "uncommitted changes": ("not known", "yes"),
        "lock": (environment.lock, "none: installed by hand"),
        "SHA-256 of the lock": (environment.lock_sha256, "9" * 64),
        "seed": ("1", "7"),
        "glibc": (environment.versions["glibc"], "2.99"),
    }


def test_what_a_run_depends_on_beside_data_and_revision_is_compared(pair):
    first, second = pair
    files = first.receipt.code.files
    edited, gone = list(files)[:2]
    others = {name: digest for name, digest in files.items() if name != gone}
    second.receipt = second.receipt.changed(
        code={
            **first.receipt.code.model_dump(),
            "sha256": "0" * 64,
            "files": {**others, edited: "0" * 12},
        },
        warm_start_from={"digest": "e" * 64, "version": 7},
    )
    second.change(data={"schema_sha256": "d" * 64}, environment={"onednn": False})
    first.change(model_digest="1" * 64, environment={"onednn": True})
    assert versus(first, second).facts == {
        "SHA-256 of the schema": ("c" * 64, "d" * 64),
        "weights at the start": ("random", f"those of the model {'e' * 64}"),
        "SHA-256 of the code": (first.receipt.code.sha256, "0" * 64),
        "oneDNN": ("used", "not used"),
        "source files that differ": (", ".join(sorted([edited, gone])), edited),
    }


def test_the_parameters_are_those_that_a_run_trained_with(pair):
    """Not those that the Tuner, or a time for the training, took the place of."""
    first, second = pair
    for made, rate, epochs in ((first, 0.12, 80), (second, 0.03, 77)):
        made.change(
            hyperparameters={"learning_rate": rate},
            config={"training": {"minutes": 5.0}},
            settled_epochs=epochs,
        )
    assert versus(first, second).parameters == {
        "training.learning_rate": ("0.12", "0.03"),
        "training.epochs": ("80", "77"),
    }
    second.change(settled_epochs=None)
    assert versus(first, second).parameters["training.epochs"] == ("80", "not known")


def test_of_many_source_files_that_differ_some_are_named(pair):
    first, second = pair
    digests = {f"components/file{number:03}.py": "0" * 12 for number in range(200)}
    code = {**first.receipt.code.model_dump(), "files": digests}
    second.receipt = second.receipt.changed(code=code)
    _, named = versus(first, second).facts["source files that differ"]
    assert named.startswith("components/file000.py, components/file001.py")
    assert named.endswith("components/file019.py, and 180 more")


def relabel(made):
    made.labels = np.roll(made.labels, 1)


def repaint(made):
    made.images = made.images.copy()
    made.images[0, 0, 0, 0] ^= 1


def shorten(made):
    made.labels, made.images = made.labels[:-1], made.images[:-1]
    made.candidate, made.baseline = made.candidate[:-1], made.baseline[:-1]


@pytest.mark.parametrize("change", [relabel, repaint, shorten])
def test_other_test_images_cannot_be_compared(pair, change):
    change(pair[1])
    pair[1].evaluate()
    pair[1].write_predictions()
    found = versus(*pair)
    assert (found.comparison, found.sheet, found.images) == (None, None, [])
    assert "not tested on the same images" in found.missing
    assert None not in found.accuracies


@pytest.mark.parametrize("gone", [0, 1])
def test_predictions_that_are_gone_are_named_by_their_run(pair, gone):
    pair[gone].file("Predictions.predictions", "predictions.parquet").unlink()
    found = versus(*pair)
    assert found.missing.startswith(f"Run {pair[gone].receipt.run_id}: ")
    assert "is not there" in found.missing


def test_a_run_that_failed_has_no_accuracy(pair):
    pair[1].end_in("Trainer", "disk full")
    found = versus(*pair)
    assert found.accuracies[0] is not None
    assert found.accuracies[1] is None
    assert "Predictions did not run: the run failed in Trainer" in found.missing
