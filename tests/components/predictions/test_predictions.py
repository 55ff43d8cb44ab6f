"""Each answer is written down as it is."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components import examples, features, slices
from components.examples import Split
from components.image_schema import ImageSchema
from components.predictions import executor

CLASSES = ("bag", "<b>shirt</b>", "shoe")
COUNT = 60


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


def written(folder, split, answers):
    path = folder / features.PREDICTIONS_FILE
    schema = ImageSchema(height=3, width=4, channels=1, class_names=CLASSES)
    executor.write(str(path), split, answers, schema)
    return pq.read_table(path)


def test_what_is_written_is_what_was_answered(split, answers, tmp_path):
    table = written(tmp_path, split, {"candidate": answers, "baseline": answers[::-1]})
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


def test_without_a_served_model_its_column_is_empty(split, answers, tmp_path):
    column = written(tmp_path, split, {"candidate": answers}).column("baseline")
    assert column.null_count == COUNT


def test_equal_answers_make_equal_bytes(split, answers, tmp_path):
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        written(tmp_path / name, split, {"candidate": answers})
        contents.append((tmp_path / name / features.PREDICTIONS_FILE).read_bytes())
    assert contents[0] == contents[1]


def test_tfma_is_given_labels_and_answers_as_lists(split, answers, tmp_path):
    path = tmp_path / features.ANSWERS_FILE
    shops = [f"{number % 3:02d}" for number in range(COUNT)]
    executor.write_answers(str(path), split.labels, {"candidate": answers}, {"shop": shops})
    columns = pq.read_table(path).to_pydict()
    assert list(columns) == ["label", "candidate", "shop"]
    # TFMA takes texts that are numbers for numbers.
    assert columns["shop"] == [[f"={shop}"] for shop in shops]
    assert columns["label"] == [[label] for label in split.labels]
    assert np.array_equal(np.array(columns["candidate"], np.float32), answers)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_no_number_is_refused_and_told(split, answers, value):
    executor.check_finite(answers, split.ids)
    answers[7, 1] = answers[9, 0] = value
    with pytest.raises(executor.AnswerError) as refusal:
        executor.check_finite(answers, split.ids)
    assert "to 2 of 60 test images, t10k-00000007 the first" in str(refusal.value)


@pytest.fixture
def export(tmp_path):
    """Writes a model that answers with the first values of an image, and returns its folder."""

    def written(name, places):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def classify(serialized):
            spec = {features.IMAGE: tf.io.FixedLenFeature([], tf.string)}
            raw = tf.io.parse_example(serialized, spec)[features.IMAGE]
            values = tf.cast(tf.io.decode_raw(raw, tf.uint8), tf.float32)
            return {features.PROBABILITIES: tf.gather(values, places, axis=1)}

        folder = tmp_path / name / "Format-Serving"
        signatures = {features.SERVING_DEFAULT: classify}
        tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
        return str(tmp_path / name)

    return written


def test_each_model_answers_for_every_image_in_the_order_of_the_ids(
    split, export, tmp_path, monkeypatch
):
    """Whatever the order and the number of the files, and where batches end."""
    monkeypatch.setattr(executor, "_BATCH", 7)
    folder = tmp_path / "examples" / "Split-test"
    folder.mkdir(parents=True)
    shuffled = split.at(np.random.default_rng(5).permutation(COUNT))
    for number, part in enumerate((shuffled.at(slice(23)), shuffled.at(slice(23, None)))):
        columns = {
            features.IMAGE: [image.tobytes() for image in part.images],
            features.LABEL: part.labels.tolist(),
            features.EXAMPLE_ID: part.ids.tolist(),
        }
        with tf.io.TFRecordWriter(str(folder / f"data-{number}")) as writer:
            for record in examples.serialize(columns):
                writer.write(record)
    models = {"candidate": export("new", [0, 1, 2]), "baseline": export("served", [5, 4])}
    asked, answers = executor.ask(models, str(folder.parent))
    assert asked.ids.tolist() == split.ids.tolist()
    assert np.array_equal(asked.images, split.images)
    assert np.array_equal(asked.labels, split.labels)
    assert np.array_equal(answers["candidate"], split.images[:, [0, 1, 2]])
    assert np.array_equal(answers["baseline"], split.images[:, [5, 4]])


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
