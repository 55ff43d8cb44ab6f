"""Each answer is written down as it is."""

import dataclasses
import json
import shutil
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components import examples, features, shards, slices
from components.examples import Split
from components.image_schema import SCHEMA_FILE, ImageSchema
from components.predictions import executor
from components.predictions.executor import Answers

PROJECT = Path(__file__).resolve().parents[3]
CLASSES = ("bag", "<b>shirt</b>", "shoe")
COUNT = 60
ENGINE = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


@pytest.fixture
def split():
    random = np.random.default_rng(3)
    return Split(
        random.integers(0, 256, (COUNT, 12), np.uint8),
        random.integers(0, 3, COUNT),
        np.array([f"t10k-{n:08d}".encode() for n in range(COUNT)], dtype=object),
    )


@pytest.fixture
def answers():
    odds = np.random.default_rng(4).random((COUNT, 3), np.float32)
    return odds / odds.sum(axis=1, keepdims=True)


def table_of(split, answers):
    schema = ImageSchema(height=3, width=4, channels=1, class_names=CLASSES)
    return executor.predictions_table(Answers(split, answers), schema)


def test_what_is_written_is_what_was_answered(split, answers):
    table = table_of(split, {"candidate": answers, "baseline": answers[::-1]})
    frame = table.to_pandas()
    assert frame[features.EXAMPLE_ID].tolist() == [name.decode() for name in split.ids]
    assert np.array_equal(frame[features.LABEL], split.labels)
    pixels = np.stack([np.frombuffer(image, np.uint8) for image in frame[features.IMAGE]])
    assert np.array_equal(pixels, split.images)
    assert np.array_equal(np.stack(frame["candidate"]), answers)
    assert np.array_equal(np.stack(frame["baseline"]), answers[::-1])
    described = {key.decode(): json.loads(value) for key, value in table.schema.metadata.items()}
    assert described["class_names"] == list(CLASSES)
    assert described["image_shape"] == [3, 4, 1]


def test_without_a_served_model_its_column_is_empty(split, answers):
    column = table_of(split, {"candidate": answers}).column("baseline")
    assert column.null_count == COUNT


def test_tfma_is_given_labels_and_answers_as_lists(split, answers):
    shops = [f"{number % 3:02d}" for number in range(COUNT)]
    given = Answers(split, {"candidate": answers})
    columns = executor.answers_table(given, {"shop": shops}).to_pydict()
    assert list(columns) == ["label", "candidate", "shop"]
    # TFMA takes texts that are numbers for numbers.
    assert columns["shop"] == [[f"={shop}"] for shop in shops]
    assert columns["label"] == [[label] for label in split.labels]
    assert np.array_equal(np.array(columns["candidate"], np.float32), answers)


@pytest.fixture
def export(tmp_path):
    """Writes a model that answers with some values of an image, and returns its folder."""

    def written(name, places, instead_of_255=255.0):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def classify(serialized):
            spec = {features.IMAGE: tf.io.FixedLenFeature([], tf.string)}
            raw = tf.io.parse_example(serialized, spec)[features.IMAGE]
            values = tf.cast(tf.io.decode_raw(raw, tf.uint8), tf.float32)
            answers = tf.gather(values, places, axis=1)
            return {features.PROBABILITIES: tf.where(answers == 255, instead_of_255, answers)}

        folder = tmp_path / name / "Format-Serving"
        signatures = {features.SERVING_DEFAULT: classify}
        tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
        return str(tmp_path / name)

    return written


@pytest.fixture
def examples_of(tmp_path):
    """Writes a split to several files in any order, and returns the folder of the artifact."""

    def write(split, bounds=()):
        folder = tmp_path / "examples" / "Split-test"
        folder.mkdir(parents=True)
        shuffled = split.at(np.random.default_rng(5).permutation(COUNT))
        for number, rows in enumerate(np.split(np.arange(COUNT), bounds)):
            part = shuffled.at(rows)
            columns = {
                features.IMAGE: [image.tobytes() for image in part.images],
                features.LABEL: part.labels.tolist(),
                features.EXAMPLE_ID: part.ids.tolist(),
            }
            with tf.io.TFRecordWriter(str(folder / f"data-{number}")) as writer:
                for record in examples.serialize(columns):
                    writer.write(record)
        examples.write_listing(str(folder.parent), [features.TEST_SPLIT])
        return str(folder.parent)

    return write


def test_each_model_answers_for_every_image_in_the_order_of_the_ids(
    split, export, examples_of, tmp_path, monkeypatch
):
    """Whatever the order and the number of the files and of the shards, and where batches end."""
    # Two batches of 7.
    monkeypatch.setattr(executor, "_IMAGES_AT_ONCE", 15)
    monkeypatch.setattr(executor, "_ROWS", 11)
    monkeypatch.setattr(shards, "EXAMPLES", 13)
    uri = examples_of(split, [3, 23, 36])
    assert len(shards.divided(uri, "test")) == 3
    models = {"candidate": export("new", [0, 1, 2]), "baseline": export("served", [5, 4])}
    workers = shards.Workers(lambda: beam.Pipeline(ENGINE), str(tmp_path / "answers"))
    with executor.asked(workers, models, uri) as answered:
        starts, parts = zip(*answered.parts(), strict=True)
    assert starts == (0, 11, 22, 33, 44, 55)
    asked = examples.joined([part.split for part in parts])
    assert answered.ids.tolist() == asked.ids.tolist() == split.ids.tolist()
    assert np.array_equal(asked.images, split.images)
    assert np.array_equal(asked.labels, split.labels)
    for name, places in {"candidate": [0, 1, 2], "baseline": [5, 4]}.items():
        answers = np.concatenate([part.probabilities[name] for part in parts])
        assert np.array_equal(answers, split.images[:, places])
    assert not (tmp_path / "answers").exists()


@pytest.fixture
def predict(tmp_path):
    """Runs the node; returns the folder of its predictions."""
    (tmp_path / "schema").mkdir()
    shutil.copy(PROJECT / "schema" / SCHEMA_FILE, tmp_path / "schema")

    def run(examples_uri, model_uri):
        inputs = {
            "schema": artifact(standard_artifacts.Schema, tmp_path / "schema"),
            "examples": artifact(standard_artifacts.Examples, examples_uri),
            "model": artifact(standard_artifacts.Model, model_uri),
        }
        output = artifact(standard_artifacts.Examples, tmp_path / "predictions")
        Path(output.uri).mkdir(exist_ok=True)
        context = executor.Executor.Context(make_beam_pipeline_fn=lambda: beam.Pipeline(ENGINE))
        executor.Executor(context).Do(
            {name: [each] for name, each in inputs.items()},
            {"predictions": [output]},
            {"columns": "[]"},
        )
        return Path(output.uri)

    return run


def artifact(kind, folder):
    made = kind()
    made.uri = str(folder)
    return made


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_no_number_is_refused_and_told(
    split, export, examples_of, predict, monkeypatch, value
):
    monkeypatch.setattr(executor, "_ROWS", 11)
    images = np.minimum(split.images, 254)
    images[17, 1] = images[40, 0] = 255
    uri = examples_of(dataclasses.replace(split, images=images))
    table = pq.read_table(predict(uri, export("sound", [0, 1])) / features.PREDICTIONS_FILE)
    assert table.num_rows == COUNT
    with pytest.raises(executor.AnswerError) as refusal:
        predict(uri, export("faulty", [0, 1], value))
    assert "to 2 of 60 test images, t10k-00000017 the first" in str(refusal.value)


def test_the_columns_of_the_data_are_found_by_the_ids(split, tmp_path):
    """Also those of images that were left out are there, in the order of the data."""
    names = [name.decode() for name in split.ids[::-1]]
    shops = [f"{number:02d}" if number else "" for number in range(COUNT)]
    table = pa.table({"a.b": [*shops, "left out"], features.EXAMPLE_ID: [*names, "bad"]})
    pq.write_table(table, tmp_path / features.COLUMNS_FILE)
    found = executor.read_columns(str(tmp_path), ["a.b"], split.ids)
    assert found == {"a.b": [*shops[:0:-1], "(missing)"]}
    assert executor.read_columns("/nowhere", [], split.ids) == {}


def test_a_column_that_no_test_image_has_a_value_of_is_refused(split, tmp_path):
    """On a cluster, nothing has read the data before the run."""
    names = [name.decode() for name in split.ids]
    table = pa.table({"shop": [*[None] * COUNT, "1"], features.EXAMPLE_ID: [*names, "training"]})
    pq.write_table(table, tmp_path / features.COLUMNS_FILE)
    with pytest.raises(slices.SliceError, match="no value of the column shop in any of"):
        executor.read_columns(str(tmp_path), ["shop"], split.ids)
