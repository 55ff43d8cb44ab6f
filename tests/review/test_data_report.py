"""Counts, the run before, what DataGate found, and images that look wrong."""

import json

import numpy as np
import pytest

from components import features


def test_the_counts_are_those_of_the_statistics(made_run):
    found = made_run.collect().data
    assert [split.name for split in found.splits] == ["train", "val", "test"]
    assert [split.count for split in found.splits] == [5000, 500, 400]
    assert list(found.splits[0].classes) == list(made_run.classes)
    assert set(found.splits[2].classes.values()) == {40}
    assert found.findings[0].check == "duplicates"
    assert found.drifts[0].threshold == 0.02


def test_a_class_that_a_split_lacks_counts_nothing_and_an_unknown_label_is_named(made_run):
    counts = {"train": {0: 5, 12: 1}, "val": {1: 2}, "test": {2: 3}}
    made_run.write_statistics(counts)
    train, val, _ = made_run.collect().data.splits
    assert train.classes["T-shirt/top"] == 5
    assert train.classes["Trouser"] == 0
    assert train.classes["label 12"] == 1
    assert (train.count, val.count) == (6, 2)


def test_uneven_classes_are_told_by_the_largest_and_the_smallest_to_train_on(made_run):
    assert made_run.collect().data.imbalance is None
    others = {"val": {0: 1}, "test": {0: 1}}
    made_run.write_statistics({"train": {0: 30, 1: 16, 3: 20}, **others})
    assert made_run.collect().data.imbalance is None
    made_run.write_statistics({"train": {0: 30, 1: 12, 3: 20}, **others})
    found = made_run.collect().data.imbalance
    assert (found.largest, found.largest_count) == ("T-shirt/top", 30)
    assert (found.smallest, found.smallest_count) == ("Trouser", 12)
    assert found.ratio == 2.5
    made_run.write_statistics({"train": {}, **others})
    assert made_run.collect().data.imbalance is None


def test_the_first_run_has_none_before(made_run):
    found = made_run.collect().data
    assert (found.run_before, found.class_distance, found.same_files) == (None, None, None)
    assert all(split.before is None for split in found.splits)
    assert "data.run_before" not in made_run.collect().missing


def test_a_run_whose_earlier_runs_have_reviews_of_another_form_is_not_the_first(second_run):
    """As after an update of the project."""
    path = second_run.runs_folder / "20260101-000000" / "review.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 1}))
    summary = second_run.collect()
    assert summary.data.run_before is None
    reason = summary.missing["data.run_before"]
    assert reason.startswith("No run before this one has a review that describes its data")


@pytest.fixture
def second_run(make_run):
    """A run after one whose training split had more shirts."""
    first = make_run()
    counts = {
        "train": dict.fromkeys(range(10), 500) | {6: 1000},
        "val": {0: 1},
        "test": {0: 1},
    }
    first.write_statistics(counts)
    first.keep()
    second = make_run(run_id="20260102-000000", seed=2)
    second.others = [first.receipt]
    return second


def test_counts_are_compared_with_those_of_the_run_before(second_run):
    found = second_run.collect().data
    assert found.run_before == "20260101-000000"
    assert found.same_files is True
    train = found.splits[0]
    assert (train.classes["Shirt"], train.before["Shirt"]) == (500, 1000)
    shares_before = np.array([500] * 9 + [1000]) / 5500
    assert found.class_distance == pytest.approx(np.abs(shares_before - 0.1).sum() / 2)


def test_the_nearest_of_several_runs_before_is_the_one(second_run, make_run):
    second_run.keep()
    third = make_run(run_id="20260103-000000")
    third.others = [second_run.receipt, *second_run.others]
    found = third.collect().data
    assert found.run_before == "20260102-000000"
    assert found.splits[0].before["Shirt"] == 500


def test_other_files_are_told(second_run):
    second_run.change(data={"sha256": {"train-labels": "d" * 64}})
    assert second_run.collect().data.same_files is False


@pytest.mark.parametrize("content", [None, "", "{}", '{"schema_version": 99}', "[1, 2"])
def test_runs_that_came_to_no_review_are_passed_over(second_run, make_run, content):
    between = make_run(run_id="20260101-120000")
    if content is not None:
        folder = between.runs_folder / "20260101-120000"
        folder.mkdir(parents=True)
        (folder / "review.json").write_text(content)
    second_run.others.append(between.receipt)
    assert second_run.collect().data.run_before == "20260101-000000"


def test_a_review_that_has_no_data_is_passed_over(second_run, make_run):
    between = make_run(run_id="20260101-120000")
    between.file("StatisticsGen.statistics", "Split-val", "FeatureStats.pb").unlink()
    assert between.keep().data is None
    second_run.others.append(between.receipt)
    assert second_run.collect().data.run_before == "20260101-000000"


def test_runs_of_other_pipelines_and_later_ones_do_not_come_before(second_run, make_run):
    other = second_run.others[0].changed(pipeline="shoes", run_id="20260101-200000")
    later = make_run(run_id="20260103-000000")
    later.keep()
    second_run.others += [other, later.receipt]
    summary = second_run.collect()
    assert summary.data.run_before == "20260101-000000"
    assert [run.id for run in summary.history] == ["20260101-000000", "20260102-000000"]


def test_what_stopped_a_run_is_read_from_its_message(made_run):
    message = "drift: feature label drifted: by 0.3\nsomething else"
    made_run.end_in("DataGate", message, verdict="stopped")
    summary = made_run.collect()
    found = summary.data
    assert [(f.check, f.line) for f in found.findings] == [
        ("drift", "feature label drifted: by 0.3"),
        ("DataGate", "something else"),
    ]
    assert found.drifts is None
    assert summary.missing["data.drifts"] == (
        "DataGate stopped the run, so it left no table of distances. The findings above are those "
        "that stopped it. Warnings, also of drift, are only in the log of the run."
    )
    assert found.splits[0].classes["Shirt"] == 500, "the schema names the classes"


NO_REFERENCE = {"check": "drift", "line": "drift cannot be judged: no statistics are kept"}


@pytest.mark.parametrize(
    ("compared_with", "findings", "new_line", "reason"),
    [
        (None, [], False, "No model was served when the run began"),
        (None, [], True, "The run began a new line of models"),
        ("serving/.kept/3", [NO_REFERENCE], False, "No statistics are kept of the served model's"),
        ("serving/.kept/3", [], False, "Nothing was compared: the schema sets no bound for drift"),
    ],
)
def test_why_no_drift_was_measured_is_told(made_run, compared_with, findings, new_line, reason):
    report = {"findings": findings, "drifts": [], "compared_with": compared_with}
    path = made_run.file("DataGate.report", features.DATA_GATE_REPORT_FILE)
    path.write_text(json.dumps(report))
    made_run.change(request={"new_line": new_line})
    summary = made_run.collect()
    assert summary.data.drifts is None
    assert summary.missing["data.drifts"].startswith(reason)


def test_findings_that_are_gone_are_not_taken_for_none(made_run):
    made_run.file("DataGate.report", features.DATA_GATE_REPORT_FILE).unlink()
    summary = made_run.collect()
    assert summary.data is None
    assert "report.json is not there" in summary.missing["data"]


def test_label_errors_are_those_that_the_model_contradicts_with_confidence(made_run):
    summary = made_run.collect()
    confidence = made_run.candidate.astype(np.float64).max(axis=1)
    contradicted = (made_run.choices != made_run.labels) & (confidence > 0.95)
    found = summary.suspects.label_errors
    assert summary.suspects.label_error_count == len(found) == contradicted.sum() > 0
    assert {(error.example_id, error.label, error.predicted) for error in found} == {
        (
            made_run.ids[place],
            made_run.classes[made_run.labels[place]],
            made_run.classes[made_run.choices[place]],
        )
        for place in np.flatnonzero(contradicted)
    }
    sure = [error.probability for error in found]
    assert sure == sorted(sure, reverse=True)
    # Their images are among the most confident errors, which lead over to the list.
    shown = [summary.images[p] for p in summary.confusion.confident_errors.images[: len(found)]]
    assert [image.example_id for image in shown] == [error.example_id for error in found]


def test_similar_images_come_with_their_names(made_run, pixels):
    found = made_run.collect().suspects
    assert [pair.distance for pair in found.similar_pairs] == [0.0, 2.5]
    assert (found.similar_pairs[0].first_label, found.similar_pairs[0].second_label) == (
        "Dress",
        "Coat",
    )
    assert found.similar_counts[0].other_label == 2
    assert (found.similar_searched, found.similar_of) == (50, 60)
    assert (found.similar_images.count, found.similar_images.columns) == (4, 2)
    # The first of each pair are the images 0 and 1, the second the images 2 and 3.
    for position, place in enumerate([0, 2, 1, 3]):
        np.testing.assert_array_equal(
            pixels(found.similar_images, position), made_run.images[place, :, :, 0]
        )


def test_counts_of_an_older_report_may_be_too_low(made_run):
    path = made_run.file("DataGate.report", features.SIMILAR_FILE)
    similar = json.loads(path.read_text())
    assert made_run.collect().suspects.similar_counts[0].complete
    del similar["counts"][0]["complete"]
    path.write_text(json.dumps(similar))
    assert not made_run.collect().suspects.similar_counts[0].complete


def test_without_similar_images_there_is_no_sheet_of_them(made_run):
    path = made_run.file("DataGate.report", features.SIMILAR_FILE)
    path.write_text(json.dumps({"counts": [], "pairs": [], "searched": 9, "images": 9}))
    found = made_run.collect().suspects
    assert (found.similar_counts, found.similar_pairs, found.similar_images) == ([], [], None)


@pytest.mark.parametrize("name", [features.SIMILAR_FILE, features.SIMILAR_IMAGES_FILE])
def test_similar_images_that_are_gone_leave_the_label_errors(made_run, name):
    made_run.file("DataGate.report", name).unlink()
    summary = made_run.collect()
    assert summary.suspects.similar_counts is None
    assert name in summary.missing["suspects.similar"]
    assert summary.suspects.label_errors
