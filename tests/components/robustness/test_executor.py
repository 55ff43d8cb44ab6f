"""The node: each test image once under each corruption, with its label, and a preview."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import artifact_utils, standard_artifacts

from components import features, reading_report
from components.examples import Split, write_listing
from components.robustness import corruptions, executor

PROJECT = Path(__file__).resolve().parents[3]
PER_CLASS = 2
# Less than there are images, so that they come in several batches.
BATCH = 7
PARSED = {
    features.IMAGE: tf.io.FixedLenFeature([], tf.string),
    features.LABEL: tf.io.FixedLenFeature([], tf.int64),
    features.EXAMPLE_ID: tf.io.FixedLenFeature([], tf.string),
    features.CORRUPTION: tf.io.FixedLenFeature([], tf.string),
    features.STRENGTH: tf.io.FixedLenFeature([], tf.int64),
}


def example(image, label, number):
    values = {
        features.IMAGE: tf.train.Feature(bytes_list={"value": [image.tobytes()]}),
        features.LABEL: tf.train.Feature(int64_list={"value": [label]}),
        features.EXAMPLE_ID: tf.train.Feature(bytes_list={"value": [b"t10k-%08d" % number]}),
    }
    return tf.train.Example(features=tf.train.Features(feature=values))


def write_reading(folder, border, background):
    read = ("idx", "", (), {features.TEST_SPLIT: 20}, (), 0, "pad", background, border, 0.0)
    reading_report.write(reading_report.ReadingReport(*read), str(folder))


@pytest.fixture(scope="module")
def clean(sample_images):
    """Images [20, 28, 28, 1] and their labels."""
    few = sample_images.first(1, PER_CLASS)
    return few.test_images[..., None], few.test_labels.astype(int)


@pytest.fixture(scope="module")
def inputs(clean, tmp_path_factory):
    """The input artifacts: examples in an order of their own, and the schema of the project."""
    folder = tmp_path_factory.mktemp("inputs")
    split = folder / "examples" / "Split-test"
    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / "data_tfrecord-00000-of-00001")) as writer:
        for number in reversed(range(len(clean[0]))):
            writer.write(example(clean[0][number], clean[1][number], number).SerializeToString())
    write_reading(folder / "examples", border="dark", background=0)
    write_listing(str(folder / "examples"), ["test"])
    examples, schema = standard_artifacts.Examples(), standard_artifacts.Schema()
    examples.uri, schema.uri = str(folder / "examples"), str(PROJECT / "schema")
    return {"clean_examples": [examples], "schema": [schema]}


@pytest.fixture(scope="module")
def corrupt(inputs, tmp_path_factory):
    """Runs the node; returns its output artifact."""

    def run(seed):
        output = standard_artifacts.Examples()
        output.uri = str(tmp_path_factory.mktemp("corrupted"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(executor, "_BATCH_SIZE", BATCH)
            executor.Executor().Do(inputs, {"examples": [output]}, {"seed": seed})
        return output

    return run


@pytest.fixture(scope="module")
def output(corrupt):
    return corrupt(1)


def files_of(artifact):
    split = artifact_utils.get_split_uri([artifact], features.TEST_SPLIT)
    return sorted(Path(split).iterdir())


@pytest.fixture(scope="module")
def examples(output):
    """What the node wrote, by id."""
    paths = [str(path) for path in files_of(output)]
    records = tf.data.TFRecordDataset(paths, compression_type="GZIP")
    parsed = [tf.io.parse_single_example(record, PARSED) for record in records]
    rows = [{key: value.numpy() for key, value in row.items()} for row in parsed]
    return {row[features.EXAMPLE_ID].decode(): row for row in rows}


def test_there_is_one_example_of_each_image_under_each_corruption(examples, clean):
    expected = {
        f"t10k-{number:08d}/{corruption}/{strength}"
        for number in range(len(clean[0]))
        for corruption, strength in corruptions.amounts()
    }
    assert set(examples) == expected


def test_an_example_is_the_corrupted_image_with_the_label_it_had(examples, clean):
    images, labels = clean
    for name, row in examples.items():
        number, corruption, strength = name.removeprefix("t10k-").split("/")
        number, strength = int(number), int(strength)
        ids = [b"t10k-%08d" % number]
        image = images[number : number + 1]
        expected = corruptions.corrupt(image, ids, corruption, strength, 1, 0)
        assert row[features.IMAGE] == expected.tobytes()
        assert row[features.LABEL] == labels[number]
        assert row[features.CORRUPTION] == corruption.encode()
        assert row[features.STRENGTH] == strength


def test_the_artifact_names_its_one_split(output):
    assert artifact_utils.decode_split_names(output.split_names) == [features.TEST_SPLIT]
    assert {path.name for path in Path(output.uri).iterdir()} == {
        "Split-test",
        features.LISTING_FILE,
        features.PREVIEW_FILE,
    }


def test_the_preview_is_one_image_untouched_and_under_each_corruption(output, examples, clean):
    preview = np.load(Path(output.uri) / features.PREVIEW_FILE)
    assert preview["images"].dtype == np.uint8
    assert np.array_equal(preview["images"][0], clean[0][0])
    pairs = list(corruptions.amounts())
    expected = [examples[f"t10k-00000000/{c}/{s}"][features.IMAGE] for c, s in pairs]
    assert [image.tobytes() for image in preview["images"][1:]] == expected
    about = [f"{corruption}, strength {strength}" for corruption, strength in pairs]
    assert preview["about"].tolist() == ["untouched", *about]


def test_equal_seeds_make_equal_files_and_other_seeds_others(corrupt, output):
    def contents(artifact):
        return {path.name: path.read_bytes() for path in files_of(artifact)}

    assert contents(corrupt(1)) == contents(output)
    assert contents(corrupt(2)) != contents(output)


@pytest.mark.parametrize(("border", "moved_in"), [("bright", 255), ("mixed", None)])
def test_what_moves_in_is_what_surrounds_the_images(inputs, corrupt, clean, border, moved_in):
    folder = Path(inputs["clean_examples"][0].uri)
    write_reading(folder, border=border, background=255)
    try:
        found = np.load(Path(corrupt(1).uri) / features.PREVIEW_FILE)["images"]
    finally:
        write_reading(folder, border="dark", background=0)
    number = 1 + list(corruptions.amounts()).index(("rotation", 3))
    image = clean[0][:1]
    expected = corruptions.corrupt(image, [b"t10k-00000000"], "rotation", 3, 1, moved_in)
    assert np.array_equal(found[number], expected[0])


def test_large_images_are_corrupted_a_few_at_a_time(monkeypatch):
    asked = []

    def corrupt(images, *_):
        asked.append(len(images))
        return images

    monkeypatch.setattr(corruptions, "corrupt", corrupt)
    shape = (160, 160, 3)
    ids = np.array([b"%03d" % number for number in range(250)])
    split = Split(np.zeros((250, 76_800), np.uint8), np.zeros(250, np.int64), ids)
    written = executor.corrupted_examples(split, shape, "noise", 1, 1, 0)
    assert sum(1 for _ in written) == 250
    # As many as 16 MiB hold, then the rest.
    assert asked == [218, 32]
