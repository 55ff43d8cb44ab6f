"""Bad input: refused before anything heavy is imported, in one line, with nothing written."""

import dataclasses
import gzip
import json
import os
import shutil
import threading

import numpy as np
import pytest

from components.pusher import versions
from pipeline.datasets.schema_file import read_schema
from pipeline.installation import packages
from pipeline.locations import Locations

COUNT = 24
TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
GIGABYTE = 2**30


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder of data that a test spoils."""

    path: object
    as_idx: object

    def put(self, name, array):
        """Puts another array in the place of a file."""
        self.put_bytes(name, gzip.compress(self.as_idx(array)))

    def put_bytes(self, name, content):
        """Puts any bytes in the place of a file."""
        (self.path / name).write_bytes(content)

    def unzipped(self, name):
        """What a file holds, uncompressed."""
        return gzip.decompress((self.path / name).read_bytes())


@pytest.fixture
def data(tmp_path, as_idx):
    """A sound folder: every class in both halves."""
    random = np.random.default_rng(1)
    folder = Folder(tmp_path / "data", as_idx)
    folder.path.mkdir()
    for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)):
        folder.put(images, random.integers(0, 256, (COUNT, 28, 28)))
        folder.put(labels, np.arange(COUNT) % 10)
    return folder


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """A serving folder, with a model for the images and the classes of the schema."""
    folder = tmp_path_factory.mktemp("served")
    export, golden = folder / "export", folder / "golden.npz"
    schema, _ = read_schema(str(packages.PROJECT / "schema" / "schema.pbtxt"))
    described = {"image_shape": schema.shape, "class_names": schema.class_names}
    (export / "assets.extra").mkdir(parents=True)
    (export / "assets.extra" / "image_schema.json").write_text(json.dumps(described))
    (export / "saved_model.pb").write_text("a model")
    golden.write_text("its questions")
    versions.publish(export, folder / "serving", [golden])
    return folder / "serving"


@pytest.fixture
def locations(tmp_path):
    return Locations(tmp_path / "outputs" / "fashion-mnist-smoke")


@pytest.fixture
def output_dir(serving, locations, keep_receipt, pushed_receipt):
    """An output folder in which the pipeline of the bad run has runs and a served model."""
    keep_receipt(pushed_receipt, pipeline=locations.root.name)
    shutil.copytree(serving, locations.serving)
    return locations.root.parent


@pytest.fixture
def run(command, light_command, output_dir, tripwires, data):
    def start(*arguments, folder=None, **options):
        # What is given last wins.
        usual = ("--profile", "smoke", "--data", folder or data.path, "--output-dir", output_dir)
        few = ("--set", "split.validation_per_class=1")
        asked = ("run", *usual, *few, *arguments)
        # Another copy of the project, or less memory, takes a process of its own.
        if {"root", "memory"} & options.keys():
            return command(*asked, **options, PYTHONPATH=tripwires)
        return light_command(*asked, **options)

    return start


@pytest.fixture
def refused(run, output_dir, digest_of):
    """Runs, and checks all that holds for every refusal; returns the one line."""

    def check(*arguments, **options):
        before = digest_of(output_dir)
        outcome = run(*arguments, **options)
        lines = outcome.errors.splitlines()
        assert outcome.code == 2, outcome.errors
        assert outcome.output == ""
        assert len(lines) == 1 and lines[0].startswith("error: "), outcome.errors
        assert digest_of(output_dir) == before
        return lines[0]

    return check


def assert_tells(line, *fragments):
    for fragment in fragments:
        assert fragment in line, f"{fragment!r} is not in {line!r}"


def test_the_sound_folder_is_let_in(run, output_dir, digest_of):
    """It comes as far as TensorFlow; so it is for what a test spoils that it is refused."""
    before = digest_of(output_dir / "fashion-mnist-smoke" / "runs")
    outcome = run()
    assert outcome.code == 1
    assert "heavy import" in outcome.errors
    assert "error:" not in outcome.errors
    assert digest_of(output_dir / "fashion-mnist-smoke" / "runs") != before


def cut(name, length, unzip=False):
    """Leaves the first `length` bytes of a file, or of what it holds, as a slice counts them."""

    def spoil(data):
        if unzip:
            data.put_bytes(name, gzip.compress(data.unzipped(name)[:length]))
        else:
            data.put_bytes(name, (data.path / name).read_bytes()[:length])

    return spoil


def put(name, content):
    """Puts an array, or other bytes, in the place of a file."""

    def spoil(data):
        (data.put_bytes if isinstance(content, bytes) else data.put)(name, content)

    return spoil


def zeros(*sizes):
    return np.zeros(sizes)


def spoil_the_checksum(data):
    content = bytearray((data.path / TRAIN_LABELS).read_bytes())
    content[-8] ^= 0xFF
    data.put_bytes(TRAIN_LABELS, bytes(content))


def gzipped_zeros(gigabytes):
    return round(64 * gigabytes) * gzip.compress(bytes(GIGABYTE // 64))


def header(*sizes):
    return bytes([0, 0, 8, len(sizes)]) + b"".join(size.to_bytes(4, "big") for size in sizes)


def add_a_bomb(data):
    """The file goes on for a gigabyte of zeros, which a megabyte holds."""
    data.put_bytes(TRAIN_IMAGES, (data.path / TRAIN_IMAGES).read_bytes() + gzipped_zeros(1))


def announce_a_bomb(data):
    """The header announces two gigabytes, and they come."""
    start = gzip.compress(header(2 * GIGABYTE // 784, 28, 28))
    data.put_bytes(TRAIN_IMAGES, start + gzipped_zeros(2))


def announce_a_bomb_of_labels(data):
    """As many images as labels are announced, but the labels alone come."""
    count = GIGABYTE
    data.put_bytes(TRAIN_IMAGES, gzip.compress(header(count, 28, 28) + bytes(784)))
    data.put_bytes(TRAIN_LABELS, gzip.compress(header(count)) + gzipped_zeros(1))


def swap(data):
    images, labels = ((data.path / name).read_bytes() for name in (TRAIN_IMAGES, TRAIN_LABELS))
    data.put_bytes(TRAIN_IMAGES, labels)
    data.put_bytes(TRAIN_LABELS, images)


def swap_plain_for_gzip(data):
    (data.path / TEST_LABELS).rename(data.path / TEST_LABELS.removesuffix(".gz"))


def put_a_folder(data):
    (data.path / TEST_IMAGES).unlink()
    (data.path / TEST_IMAGES).mkdir()


# By file: what is done to it, and what the refusal says.
SPOILT_FILES = {
    "truncated gzip": (cut(TRAIN_IMAGES, 4000), TRAIN_IMAGES, "truncated", "copy it again"),
    "a byte short": (cut(TRAIN_IMAGES, -1, True), TRAIN_IMAGES, "truncated", "copy it again"),
    "damaged gzip": (spoil_the_checksum, TRAIN_LABELS, "damaged", "copy it again"),
    "not gzip": (
        lambda data: data.put_bytes(TRAIN_IMAGES, data.unzipped(TRAIN_IMAGES)),
        *(TRAIN_IMAGES, "is not gzip", "Rename it without .gz"),
    ),
    "gzip without the ending": (
        swap_plain_for_gzip,
        *(TEST_LABELS.removesuffix(".gz"), "is gzipped", "Add .gz to the name"),
    ),
    "wrong magic number": (
        put(TRAIN_IMAGES, gzip.compress(b"\x00\x00\x0d\x03" + bytes(100))),
        *(TRAIN_IMAGES, "0x00000d03", "0x00000803"),
    ),
    "images of 27x28": (
        put(TRAIN_IMAGES, zeros(COUNT, 27, 28)),
        *(TRAIN_IMAGES, "images of 27x28", "expected 28x28"),
    ),
    "images in colour": (
        put(TRAIN_IMAGES, zeros(COUNT, 28, 28, 3)),
        *(TRAIN_IMAGES, "0x00000804", "0x00000803"),
    ),
    "more images than labels": (
        put(TEST_LABELS, zeros(COUNT - 1)),
        *(TEST_LABELS, f"{COUNT} images", f"{COUNT - 1} labels"),
    ),
    "fewer images than labels": (
        put(TRAIN_IMAGES, zeros(COUNT - 1, 28, 28)),
        *(TRAIN_IMAGES, f"{COUNT - 1} images", f"{COUNT} labels"),
    ),
    "label outside of the domain": (
        put(TEST_LABELS, np.arange(COUNT) % 11),
        *("", "label 10", "expected labels from 0 to 9"),
    ),
    "an empty file": (put(TRAIN_LABELS, b""), TRAIN_LABELS, "empty", "copy it again"),
    "gzip of nothing": (
        put(TRAIN_IMAGES, gzip.compress(b"")),
        *(TRAIN_IMAGES, "empty", "a whole IDX header"),
    ),
    "no images": (
        put(TRAIN_IMAGES, zeros(0, 28, 28)),
        *(TRAIN_IMAGES, "0x28x28", "at least one record"),
    ),
    "no end announced": (
        put(TRAIN_IMAGES, gzip.compress(header(2**32 - 1, 2**32 - 1, 2**32 - 1))),
        *(TRAIN_IMAGES, "4294967295", "images"),
    ),
    "images and labels swapped": (swap, TRAIN_IMAGES, "swapped?", "0x00000803"),
    "a folder in place of a file": (put_a_folder, "", "holds neither t10k-images", "all four"),
}


@pytest.mark.parametrize("case", SPOILT_FILES)
def test_a_spoilt_file_is_refused(case, data, refused):
    spoil, name, *fragments = SPOILT_FILES[case]
    spoil(data)
    assert_tells(refused(), str(data.path / name), *fragments, "expected")


@pytest.mark.parametrize(
    ("halves", "told"),
    [
        ([TEST_LABELS], "class Bag (label 8) has no test images"),
        ([TRAIN_LABELS], "class Bag (label 8) has no training images"),
        ([TRAIN_LABELS, TEST_LABELS], "class Bag (label 8) has no training images"),
    ],
)
def test_a_class_of_the_schema_without_images_is_named(halves, told, data, refused):
    """No model could be held to it."""
    for name in halves:
        labels = np.arange(COUNT) % 10
        data.put(name, np.where(labels == 8, 0, labels))
    line = refused("--set", "gates.class_recall=0")
    assert_tells(line, told, "expected some of every class", "remove the class from the schema")


def test_a_weight_for_an_unknown_class_is_refused(refused):
    line = refused("--set", 'training.class_weights={"Shrit": 2}')
    assert_tells(line, "'Shrit'", "the nearest is 'Shirt'", "expected names of its classes")


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS])
def test_a_missing_file_is_named(name, data, refused):
    (data.path / name).unlink()
    assert_tells(refused(), name, str(data.path), "expected all four", "Copy the missing one")


def test_a_missing_folder_is_named(refused, tmp_path):
    line = refused(folder=tmp_path / "nowhere")
    assert_tells(line, str(tmp_path / "nowhere"), "does not exist", "expected", "--data sample")


def test_a_file_in_place_of_the_folder_is_named(refused, data):
    path = data.path / TRAIN_IMAGES
    assert_tells(refused(folder=path), str(path), "is one IDX file", "expected", "the folder")


def test_an_output_folder_below_a_file_is_refused(refused, tmp_path):
    (tmp_path / "file").write_text("")
    line = refused("--output-dir", tmp_path / "file" / "outputs")
    assert_tells(line, str(tmp_path / "file"), "cannot be written to", "--output-dir")
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("--profile", "smok"), ("unknown profile 'smok'", "nearest is 'smoke'", "default")),
        (("--set", "training.epoch=3"), ("unknown key", "nearest is 'training.epochs'")),
        (("--set", "split=3"), ("unknown key 'split'", "expected")),
        (("--set", "gates.slices.shop.accuracy=0.8"), ("below gates.slices", "as a whole", "JSON")),
        (("--set", "training.epochs"), ("no value", "key=value")),
        (("--set", "training.epochs=0"), ("training.epochs: found 0", "expected")),
        (
            ("--set", "split.validation_per_class=2"),
            ("too few training or validation images", "Coat (label 4) 2", "smaller"),
        ),
        (("--set", "spans.window=2"), ("holds no spans", "spans.window=2", "span-N")),
        (("--set", "schema_file=absent.pbtxt"), ("absent.pbtxt cannot be read", "expected")),
    ],
    ids=lambda value: value[1] if value[0].startswith("--") else "",
)
def test_bad_configuration_is_refused(arguments, fragments, refused):
    assert_tells(refused(*arguments), *fragments)


@pytest.fixture
def on_a_processor(project_copy, tmp_path):
    """Makes a copy of the project that finds these features where a processor says its own."""

    def made(features):
        information = tmp_path / "cpuinfo"
        information.write_text(f"model name\t: Imagined\nflags\t\t: fpu {features} sse2\n")
        source = project_copy / "components" / "processor.py"
        before = source.read_text()
        after = before.replace('"/proc/cpuinfo"', repr(str(information)))
        assert after != before, "the place where the features are read is no longer there"
        source.write_text(after)
        return project_copy

    return made


@pytest.mark.parametrize(
    ("features", "fragments"),
    [
        ("avx2 avx512f", ("training.precision: found 'bfloat16'", "nor amx_bf16; expected", "Set")),
        # It gets as far as the data.
        ("avx2 avx512_bf16", ("does not exist",)),
    ],
    ids=["without", "with"],
)
def test_bfloat16_is_refused_before_the_data_is_looked_for(
    features, fragments, on_a_processor, refused, tmp_path
):
    asked = ("--set", "training.precision=bfloat16")
    line = refused(*asked, folder=tmp_path / "nowhere", root=on_a_processor(features))
    assert_tells(line, *fragments)


@pytest.fixture
def spans(data, tmp_path):
    """A folder of two sound spans, of which the first alone has test files."""
    folder = tmp_path / "spans"
    shutil.copytree(data.path, folder / "span-1")
    (folder / "span-2").mkdir()
    for name in (TRAIN_IMAGES, TRAIN_LABELS):
        shutil.copy(data.path / name, folder / "span-2")
    return folder


def test_the_sound_spans_are_let_in(run, spans):
    outcome = run(folder=spans)
    assert "heavy import" in outcome.errors
    assert f"{spans} (span 2; tested on span 1)" in outcome.errors


def take_the_test_files(spans):
    for name in (TEST_IMAGES, TEST_LABELS):
        (spans / "span-1" / name).unlink()


# The copy of a span goes from file to file; the first is in the middle of the second.
SPOILT_SPANS = {
    "a file half copied": (
        lambda spans: os.truncate(spans / "span-2" / TRAIN_LABELS, 20),
        *(TRAIN_LABELS, "truncated", "still being copied"),
    ),
    "a file not yet copied": (
        lambda spans: (spans / "span-2" / TRAIN_LABELS).unlink(),
        *(TRAIN_LABELS, "a whole span", "still being copied"),
    ),
    "an unclear name": (
        lambda spans: (spans / "span-2").rename(spans / "span-2.part"),
        *("span-2.part is no span", "name it .span-N until the copy is complete"),
    ),
    "two of one number": (
        lambda spans: shutil.copytree(spans / "span-2", spans / "span-02"),
        *("span-02", "both span 2", "Rename or remove"),
    ),
    "files beside spans": (
        lambda spans: shutil.copy(spans / "span-1" / TEST_LABELS, spans),
        *(TEST_LABELS, "both spans", "a span of their own"),
    ),
    "no test files": (take_the_test_files, "no span", "test files", "Copy the images"),
}


@pytest.mark.parametrize("case", SPOILT_SPANS)
def test_spoilt_spans_are_refused(case, spans, refused):
    spoil, *fragments = SPOILT_SPANS[case]
    spoil(spans)
    assert_tells(refused(folder=spans), str(spans), *fragments, "expected")


def test_a_span_that_is_still_growing_is_refused(spans, data, refused):
    """Whatever has arrived of it when it is read."""
    (spans / "span-2" / TRAIN_IMAGES).unlink()
    path = spans / "span-2" / TRAIN_IMAGES.removesuffix(".gz")
    whole = data.unzipped(TRAIN_IMAGES)
    path.write_bytes(whole[: len(whole) // 2])
    done = threading.Event()

    def copy():
        with path.open("ab", buffering=0) as file:
            while not done.wait(0.01):
                file.write(b"\0")

    copying = threading.Thread(target=copy)
    copying.start()
    try:
        line = refused(folder=spans)
    finally:
        done.set()
        copying.join()
    assert_tells(line, str(path), "still being copied", "run again when it is whole", "expected")


@pytest.mark.parametrize(
    ("text", "fragment"),
    [("no schema {", "is not a schema"), ("", "expected three dimensions"), ("\xff", "UTF-8")],
    ids=["unreadable", "empty", "not text"],
)
def test_a_schema_that_says_too_little_is_refused(text, fragment, refused, tmp_path):
    path = tmp_path / "bad.pbtxt"
    path.write_text(text, encoding="latin-1")
    assert_tells(refused("--set", f"schema_file={path}"), str(path), fragment)


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("exp[1]", "contains [;"),
        ("exp?", "contains ?;"),
        ("a\nb", "contains a line break;"),
        (os.fsdecode(b"a\xff"), "0xff, which is not UTF-8"),
        ("d" * 256, "256 bytes"),
        ("loop", "circular symbolic links"),
    ],
    ids=["set", "any", "line break", "not UTF-8", "long name", "loop"],
)
def test_an_output_folder_that_libraries_cannot_use_is_refused(name, fragment, refused, tmp_path):
    (tmp_path / "exp1").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    assert_tells(refused("--output-dir", tmp_path / name), "--output-dir", fragment, "expected")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("option", ["--data", "schema_file", "XDG_CACHE_HOME"])
@pytest.mark.parametrize("name", ["a\nb", "loop"])
def test_other_paths_that_cannot_be_printed_are_refused(option, name, refused, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    path = tmp_path / name
    given = {
        "--data": ({"folder": path}, ()),
        "schema_file": ({}, ("--set", f"schema_file={path}")),
        "XDG_CACHE_HOME": ({"folder": "sample", option: str(path)}, ()),
    }
    options, arguments = given[option]
    assert_tells(refused(*arguments, **options), option, "expected")


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(refused, data, tmp_path):
    schema = tmp_path / "schema.pbtxt"
    os.mkfifo(schema)
    assert_tells(refused("--set", f"schema_file={schema}"), str(schema), "pipe", "expected")
    (data.path / TRAIN_LABELS).unlink()
    os.mkfifo(data.path / TRAIN_LABELS)
    assert_tells(refused(), str(data.path / TRAIN_LABELS), "pipe", "expected")


@pytest.mark.parametrize("option", ["--data", "--output-dir"])
@pytest.mark.parametrize("address", ["gs://bucket/data", "a://b", "S3://bucket/data"])
def test_an_address_is_no_folder(address, option, refused):
    line = refused(option, address)
    assert_tells(line, option, "address", "on this machine")
    # Only data may be in a bucket.
    assert ("s3://BUCKET/FOLDER" in line) == ("the data" in line) == (option == "--data")


@pytest.mark.parametrize(
    ("bomb", "fragments"),
    [
        (add_a_bomb, ("goes on after", "nothing more was read")),
        (announce_a_bomb, (f"{COUNT} labels", "one label for each")),
        (announce_a_bomb_of_labels, ("the header announces", "expected at least one")),
    ],
)
def test_a_bomb_is_refused_without_unpacking_it(bomb, fragments, data, refused):
    """A process that may have half of what would come out refuses it in words all the same."""
    bomb(data)
    line = refused(memory=GIGABYTE // 2)
    assert_tells(line, str(data.path / TRAIN_IMAGES), *fragments, "expected")


def test_a_damaged_store_is_refused_before_anything_heavy(refused, output_dir):
    (output_dir / "fashion-mnist-smoke" / "metadata.db").write_text("damaged\n" * 1000)
    told = (
        "metadata.db is damaged (",
        "expected a readable SQLite database",
        "pipeline_runner.py repair",
    )
    assert_tells(refused(), *told)
