"""The report and the matrix, against scikit-learn; and the images behind them."""

import numpy as np
import pytest
from sklearn import metrics

from pipeline.records.receipt import Receipt


def test_the_report_is_that_of_scikit_learn(made_run):
    found = made_run.collect().report
    expected = metrics.classification_report(
        made_run.labels,
        made_run.choices,
        target_names=made_run.classes,
        output_dict=True,
        zero_division=0,
    )
    assert found.accuracy.value == pytest.approx(expected["accuracy"])
    assert found.accuracy.total == len(made_run.labels)
    for row in found.classes:
        scores = expected[row.name]
        assert row.precision.value == pytest.approx(scores["precision"])
        assert row.recall.value == pytest.approx(scores["recall"])
        assert row.f1.value == pytest.approx(scores["f1-score"])
        assert row.support == row.recall.total == scores["support"]
        for part in (row.precision, row.recall, row.f1):
            assert 0 <= part.interval.low <= part.value <= part.interval.high <= 1
    for row in found.averages:
        scores = expected[f"{row.name} avg"]
        assert (row.precision, row.recall, row.f1) == pytest.approx(
            (scores["precision"], scores["recall"], scores["f1-score"])
        )


def test_the_classes_come_with_the_least_recall_first(made_run):
    recalls = [row.recall.value for row in made_run.collect().report.classes]
    assert recalls == sorted(recalls)
    assert len(recalls) == len(made_run.classes)


def test_the_matrix_is_that_of_scikit_learn(made_run):
    found = made_run.collect().confusion
    counts = [[cell.count for cell in row] for row in found.rows]
    expected = metrics.confusion_matrix(made_run.labels, made_run.choices)
    assert counts == expected.tolist()
    assert found.class_names == list(made_run.classes)
    for row in found.rows:
        assert sum(cell.share for cell in row) == pytest.approx(1)


def test_the_pairs_are_the_most_frequent_errors(made_run):
    found = made_run.collect().confusion
    errors = metrics.confusion_matrix(made_run.labels, made_run.choices)
    np.fill_diagonal(errors, 0)
    greatest = np.sort(errors.ravel())[::-1][:10]
    assert [cell.count for cell in found.pairs] == greatest[greatest > 0].tolist()
    assert all(cell.label != cell.predicted for cell in found.pairs)


def confidences(summary, gallery):
    return [summary.images[position].choices[0].probability for position in gallery.images]


def test_each_cell_shows_its_own_images_those_that_teach_most_first(made_run):
    summary = made_run.collect()
    for row in summary.confusion.rows:
        for cell in row:
            assert cell.gallery.count == cell.count
            assert len(cell.gallery.images) == min(cell.count, 25)
            for position in cell.gallery.images:
                record = summary.images[position]
                assert (record.label, record.choices[0].name) == (cell.label, cell.predicted)
            shown = confidences(summary, cell.gallery)
            assert shown == sorted(shown, reverse=cell.label != cell.predicted)


def test_the_confident_errors_are_the_surest_of_all_errors(made_run):
    summary = made_run.collect()
    wrong = made_run.choices != made_run.labels
    surest = np.sort(made_run.candidate.max(axis=1)[wrong])[::-1][:50]
    gallery = summary.confusion.confident_errors
    assert gallery.count == wrong.sum()
    assert confidences(summary, gallery) == pytest.approx(surest.tolist(), abs=1e-6)


def test_without_predictions_the_counts_stay_and_the_images_go(made_run):
    whole = made_run.collect()
    made_run.file("Predictions.predictions", "predictions.parquet").unlink()
    found = made_run.collect()
    assert found.report == whole.report
    for row, before in zip(found.confusion.rows, whole.confusion.rows, strict=True):
        assert [c.count for c in row] == [c.count for c in before]
        assert all(cell.gallery.count == cell.count for cell in row)
        assert all(cell.gallery.images == [] for cell in row)
    assert found.confusion.confident_errors.count == whole.confusion.confident_errors.count
    assert (found.sheet, found.images) == (None, [])
    assert "is not there" in found.missing["sheet"]


def test_a_class_without_test_images_is_not_the_worst(made_run):
    kept = made_run.labels != 3
    made_run.labels, made_run.images = made_run.labels[kept], made_run.images[kept]
    made_run.candidate, made_run.baseline = made_run.candidate[kept], made_run.baseline[kept]
    made_run.evaluate()
    made_run.write_predictions()
    summary = made_run.collect()
    assert set(summary.missing) == {"robustness"}
    assert summary.verdict.worst_class.name == summary.report.classes[0].name == "Shirt"
    assert summary.comparison.classes[-1].name == "Dress"
    dress = summary.report.classes[-1]
    assert dress.name == "Dress"
    assert (dress.support, dress.recall.interval.low, dress.recall.interval.high) == (0, 0, 1)
    gate = next(gate for gate in summary.gates if gate.slice == "Dress")
    assert (gate.value, gate.margin, gate.interval) == (None, None, None)
    assert (gate.noise, gate.passed) == (None, False)
    assert gate.sentence == (
        "Recall of Dress was not measured: the test split has no image of it; expected at least "
        "0.6000."
    )
    assert summary.verdict.headline == (
        "Refused: the recall of Dress was not measured. Nothing was pushed."
    )


def test_markup_in_names_stays_as_it_is(made_run):
    """Names are data; what shows them escapes them."""
    name = "<script>alert('&')</script>"
    made_run.receipt = Receipt.from_json(made_run.receipt.to_json().replace("Shirt", name))
    path = made_run.file("Predictions.predictions", "predictions.parquet")
    path.unlink()
    summary = made_run.collect()
    assert name in summary.class_names
    assert name in [row.name for row in summary.report.classes]
    assert summary.verdict.worst_class.name == name
    assert any(gate.sentence.startswith(f"Recall of {name} is 0.") for gate in summary.gates)
