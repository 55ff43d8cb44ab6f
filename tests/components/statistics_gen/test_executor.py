"""The node: what it writes is what TFX's own writes, of sound data and of any other."""

import shutil
from collections import Counter
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.statistics_gen import executor as stock
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils

from components import examples, image_schema, shards
from components.features import EXAMPLE_ID as ID
from components.features import IMAGE, LABEL
from components.statistics_gen import executor

import tensorflow_data_validation as tfdv  # isort: skip

SCHEMA = Path(__file__).resolve().parents[3] / "schema" / image_schema.SCHEMA_FILE
ENGINE = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
# Less than most splits hold, so that they come in several batches, files and shards.
BATCH = 7
FILE, SHARD = 12, 20
COUNT = 50
# More than a sketch keeps of different values, and so many that it keeps them all.
MANY, KEPT = 1500, 900
SPAN = 3
# How often each value occurs: said of categories, and not of images and ids, which all differ.
COUNTED = ("unique", "top_values", "rank_histogram")
# The features that are not as the schema says, by split.
ANOMALIES = {
    "sound": set(),
    "empty": set(),
    "unlabelled": {LABEL},
    "unlike": {LABEL, "season"},
    "uneven": {LABEL},
    "many": set(),
    "words": {"word"},
}
SPLITS = tuple(ANOMALIES)


def value(content):
    if isinstance(content[0], int):
        return tf.train.Feature(int64_list={"value": content})
    return tf.train.Feature(bytes_list={"value": content})


@pytest.fixture(scope="module")
def splits(sample_images):
    """Rows by split: lists of values by feature."""

    def rows(count):
        images, labels = sample_images.train_images, sample_images.train_labels
        return [
            {
                IMAGE: [images[number % len(images)].tobytes()],
                LABEL: [int(labels[number % len(labels)])],
                ID: [b"train-%08d" % number],
            }
            for number in range(count)
        ]

    def unlike_the_schema(row, number):
        """Every third has a label that is none, an image that is text, or a feature too many."""
        name, content = [(LABEL, [10]), (IMAGE, [b"a word"]), ("season", [b"winter"])][number % 3]
        return {**row, name: content}

    def uneven(row, number):
        """Of four, one has two labels and one has none."""
        labels = [[3], [1, 2], None, [4]][number % 4]
        return {IMAGE: row[IMAGE], ID: row[ID], **({LABEL: labels} if labels else {})}

    sound = rows(COUNT)
    return {
        "sound": sound,
        "empty": [],
        "unlabelled": [{IMAGE: row[IMAGE], ID: row[ID]} for row in sound],
        "unlike": [unlike_the_schema(row, number) for number, row in enumerate(sound)],
        "uneven": [uneven(row, number) for number, row in enumerate(sound)],
        "many": rows(MANY),
        "words": [{**row, "word": [b"word %d" % (n % KEPT)]} for n, row in enumerate(rows(MANY))],
    }


@pytest.fixture(scope="module")
def source(splits, tmp_path_factory):
    """The examples artifact."""
    found = standard_artifacts.Examples()
    found.uri = str(tmp_path_factory.mktemp("examples"))
    found.split_names = artifact_utils.encode_split_names(list(splits))
    found.span = SPAN
    for name, rows in splits.items():
        folder = Path(artifact_utils.get_split_uri([found], name))
        folder.mkdir()
        for start in range(0, max(len(rows), 1), FILE):
            with tf.io.TFRecordWriter(str(folder / f"data_tfrecord-{start:05d}")) as writer:
                for row in rows[start : start + FILE]:
                    content = {"feature": {key: value(content) for key, content in row.items()}}
                    example = tf.train.Example(features=tf.train.Features(**content))
                    writer.write(example.SerializeToString())
    examples.write_listing(found.uri, splits)
    return found


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    """Runs an executor on the examples; returns the artifact of statistics."""

    def do(executor_class):
        schema, output = standard_artifacts.Schema(), standard_artifacts.ExampleStatistics()
        schema.uri = str(tmp_path_factory.mktemp("schema"))
        shutil.copy(SCHEMA, schema.uri)
        output.uri = str(tmp_path_factory.mktemp("statistics"))
        context = executor_class.Context(make_beam_pipeline_fn=lambda: beam.Pipeline(ENGINE))
        inputs = {"examples": [source], "schema": [schema]}
        executor_class(context).Do(inputs, {"statistics": [output]}, {"exclude_splits": "[]"})
        return output

    return do


@pytest.fixture(scope="module")
def output(run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "_BATCH_SIZE", BATCH)
        patch.setattr(shards, "EXAMPLES", SHARD)
        return run(executor.Executor)


@pytest.fixture(scope="module")
def stock_output(run):
    return run(stock.Executor)


def statistics_of(artifact, split):
    path = Path(artifact_utils.get_split_uri([artifact], split)) / "FeatureStats.pb"
    return tfdv.load_stats_binary(str(path))


def by_feature(found):
    """The data set's own figures, and those of each feature."""
    (dataset,) = found.datasets
    by_name = {feature.path.step[0]: feature for feature in dataset.features}
    dataset.ClearField("features")
    return dataset, by_name


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
def test_they_are_those_that_tfx_writes(split, output, stock_output):
    found, expected = (by_feature(statistics_of(each, split)) for each in (output, stock_output))
    for name in {IMAGE, ID} & expected[1].keys():
        for count in COUNTED:
            expected[1][name].string_stats.ClearField(count)
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
def test_the_same_anomalies_are_found_in_them(split, output, stock_output):
    schema = io_utils.parse_pbtxt_file(str(SCHEMA), schema_pb2.Schema())
    found, expected = (
        tfdv.validate_statistics(statistics_of(each, split), schema)
        for each in (output, stock_output)
    )
    assert found == expected
    assert set(found.anomaly_info) == ANOMALIES[split]
    assert found.data_missing == (split == "empty")


def test_the_counts_of_a_label_are_those_of_the_data(splits, output):
    """The review and the drift read them."""
    _, found = by_feature(statistics_of(output, "many"))
    buckets = found[LABEL].string_stats.rank_histogram.buckets
    expected = Counter(str(label) for row in splits["many"] for label in row[LABEL])
    assert {bucket.label: bucket.sample_count for bucket in buckets} == expected


@pytest.mark.slow
def test_the_artifact_is_described_as_tfx_describes_it(output, stock_output):
    found, expected = (
        (each.split_names, each.span, custom_properties(each)) for each in (output, stock_output)
    )
    assert found == expected
    assert found[1] == SPAN


def custom_properties(artifact):
    return {key: str(value) for key, value in artifact.mlmd_artifact.custom_properties.items()}
