"""Predictions are read as they were written, or not at all."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components import features
from review import answers
from review.answers import read_answers, read_predictions
from review.artifacts import AbsentError


def path(made):
    return made.file("Predictions.predictions", features.PREDICTIONS_FILE)


def test_what_was_written_comes_back(made_run):
    found = read_predictions(made_run.finished)
    assert found.ids == made_run.ids
    np.testing.assert_array_equal(found.labels, made_run.labels)
    np.testing.assert_array_equal(found.images(range(len(found.ids))), made_run.images)
    np.testing.assert_array_equal(found.candidate.probabilities, made_run.candidate)
    np.testing.assert_array_equal(found.baseline.probabilities, made_run.baseline)
    assert found.candidate.probabilities.dtype == np.float64


def test_answers_are_read_without_the_images(made_run):
    labels, answers = read_answers(path(made_run))
    np.testing.assert_array_equal(labels, made_run.labels)
    np.testing.assert_array_equal(answers.probabilities, made_run.candidate)


def test_without_a_served_model_there_are_no_answers_of_it(make_run):
    assert read_predictions(make_run(served=False).finished).baseline is None


@pytest.mark.parametrize("bytes_left", [0, 100, 20_000])
def test_a_truncated_file_is_told_by_its_path(made_run, bytes_left):
    path(made_run).write_bytes(path(made_run).read_bytes()[:bytes_left])
    with pytest.raises(AbsentError) as caught:
        read_predictions(made_run.finished)
    assert str(caught.value).startswith(f"{path(made_run)} is damaged (ArrowInvalid")
    assert "--no-cache" in str(caught.value)


def test_a_file_that_is_gone_is_told_by_its_path(made_run):
    path(made_run).unlink()
    with pytest.raises(AbsentError, match=r"predictions\.parquet is not there: it was removed"):
        read_predictions(made_run.finished)


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("label", lambda values: values + 1),
        ("label", lambda values: values - 1),
        ("candidate", lambda values: np.full_like(values, np.nan)),
        ("candidate", lambda values: values * 3),
        ("baseline", lambda values: values * 3),
    ],
)
def test_values_out_of_range_are_damage(made_run, column, change):
    attribute = {"label": "labels"}.get(column, column)
    setattr(made_run, attribute, change(getattr(made_run, attribute)))
    made_run.write_predictions()
    with pytest.raises(AbsentError, match=r"is damaged \(ValueError: expected"):
        read_predictions(made_run.finished)


def test_an_image_too_few_is_damage(made_run):
    table = pq.read_table(path(made_run))
    images = table.column("image").to_pylist()
    place = table.schema.get_field_index("image")
    table = table.set_column(place, "image", pa.array([*images[:-1], b""], pa.binary()))
    pq.write_table(table, path(made_run))
    found = read_predictions(made_run.finished)
    with pytest.raises(AbsentError, match="is damaged"):
        found.images([0, len(images) - 1])
    table = table.set_column(place, "image", pa.array([b""] * len(images), pa.binary()))
    pq.write_table(table, path(made_run))
    summary = made_run.collect()
    assert "is damaged" in summary.missing["sheet"]
    assert (summary.sheet, summary.images) == (None, [])
    # Answers need no images.
    assert summary.confusion and summary.calibration


def test_images_are_read_in_any_order_and_as_often_as_asked(made_run):
    places = [399, 0, 7, 7, 201]
    found = read_predictions(made_run.finished).images(places)
    np.testing.assert_array_equal(found, made_run.images[places])


def test_a_file_of_many_batches_has_the_same_images(made_run, monkeypatch):
    monkeypatch.setattr(answers, "_BATCH", 17)
    found = read_predictions(made_run.finished)
    np.testing.assert_array_equal(
        found.images([399, 16, 17, 34]), made_run.images[[399, 16, 17, 34]]
    )
    monkeypatch.undo()
    assert found.images_digest() == read_predictions(made_run.finished).images_digest()


def test_answers_that_were_not_evaluated_are_not_shown(made_run):
    """The receipt is what the gates decided on: there are no two truths."""
    made_run.candidate = made_run.candidate[::-1]
    made_run.write_predictions()
    hits = int((made_run.choices == made_run.labels).sum())
    with pytest.raises(AbsentError) as caught:
        read_predictions(made_run.finished)
    assert "not those that were evaluated" in str(caught.value)
    assert f"({hits} right answers here, " in str(caught.value)


def test_without_an_evaluation_nothing_vouches_for_the_answers(made_run):
    made_run.change(evaluation=None)
    with pytest.raises(AbsentError, match="ended before its receipt had what Evaluator found"):
        read_predictions(made_run.finished)


def test_the_class_names_are_those_of_the_file(made_run):
    found = read_predictions(made_run.finished)
    assert found.class_names == list(made_run.classes)
    described = pq.read_schema(path(made_run)).metadata
    assert json.loads(described[b"class_names"]) == found.class_names
