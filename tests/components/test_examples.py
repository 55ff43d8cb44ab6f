"""A split is read whole, in the order of its ids, into memory or into a file."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components import examples, features, shards

WIDTH = 6


@pytest.fixture(scope="module")
def write_files(tmp_path_factory):
    """Writes examples with these numbers into files of a new artifact, and returns its folder."""

    def written(*files, compressed=False):
        folder = tmp_path_factory.mktemp("artifact")
        (folder / "Split-train").mkdir()
        options = tf.io.TFRecordOptions("GZIP") if compressed else None
        for position, numbers in enumerate(files):
            path = folder / "Split-train" / f"data-{position}{'.gz' if compressed else ''}"
            with tf.io.TFRecordWriter(str(path), options) as writer:
                for record in serialized(numbers) if numbers else ():
                    writer.write(record)
        examples.write_listing(str(folder), ["train"])
        return str(folder)

    return written


def serialized(numbers):
    return examples.serialize(
        {
            features.IMAGE: [image(number) for number in numbers],
            features.LABEL: [number % 3 for number in numbers],
            features.EXAMPLE_ID: [f"t-{number:04d}".encode() for number in numbers],
        }
    )


def image(number):
    return np.random.default_rng(number).bytes(WIDTH)


def check(split, numbers):
    expected = sorted(numbers)
    assert split.ids.tolist() == [f"t-{number:04d}".encode() for number in expected]
    assert split.labels.tolist() == [number % 3 for number in expected]
    assert [row.tobytes() for row in split.images] == [image(number) for number in expected]


@settings(max_examples=12, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 9999), min_size=1, max_size=40, unique=True),
    cut=st.integers(0, 40),
    compressed=st.booleans(),
    most=st.sampled_from([None, 0, 1000]),
)
def test_the_split_is_sorted_by_id_wherever_it_is_kept(numbers, cut, compressed, most, write_files):
    folder = write_files(numbers[:cut], numbers[cut:], compressed=compressed)
    split = examples.read_split(folder, "train", most)
    check(split, numbers)
    assert isinstance(split.images, np.memmap) == (most is not None and most < WIDTH * len(numbers))


def test_a_split_of_many_batches_is_whole(write_files, monkeypatch):
    monkeypatch.setattr(examples, "_PARSE_BATCH", 7)
    numbers = list(np.random.default_rng(1).permutation(100))
    check(examples.read_split(write_files(numbers[:31], numbers[31:]), "train", 0), numbers)


def test_the_file_is_gone_from_its_folder_at_once(write_files, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    split = examples.read_split(write_files([3, 1, 2]), "train", 0)
    # TensorFlow leaves what AutoGraph generated, and Python its bytecode.
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix not in {".py", ".pyc"}] == []
    check(split, [1, 2, 3])


def test_a_disk_without_room_is_told_before_anything_is_written(write_files, monkeypatch):
    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space left"):
        examples.read_split(write_files([1, 2]), "train", 0)


# Patterns, and what looks like one; beside each, a folder that it would match.
NEIGHBOURS = {"exp[1]": "exp1", "ex*": "exp1", "exp?": "exp1", "e\\xp": "exp", "{h}": "h"}


@settings(max_examples=15, deadline=None)
@given(
    name=st.one_of(
        st.sampled_from(sorted(NEIGHBOURS)),
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
        .filter(lambda name: name not in (".", ".."))
        .filter(lambda name: len(name.encode()) < 200),
    )
)
def test_a_folder_of_any_name_is_read_and_none_that_its_name_would_match(name, write_files):
    own, other = Path(write_files([1, 2, 3])), Path(write_files([4, 5]))
    parent = own.with_name(f"{own.name}-parent")
    parent.mkdir()
    own = own.rename(parent / name)
    neighbour = parent / NEIGHBOURS.get(name, "neighbour of it")
    other.rename(neighbour)
    check(examples.read_split(str(own), "train"), [1, 2, 3])
    check(examples.read_split(str(neighbour), "train"), [4, 5])


def test_what_a_file_server_hides_is_not_read(write_files):
    folder = write_files([1, 2])
    (Path(folder) / "Split-train" / ".nfs0001").write_bytes(b"no record")
    check(examples.read_split(folder, "train"), [1, 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        # Between two examples, where TFRecord sees no fault.
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.with_name("data-9").write_bytes(path.read_bytes()),
    ],
    ids=["gone", "empty", "cut", "more"],
)
def test_a_split_that_is_not_as_it_was_written_is_refused(damage, write_files):
    folder = write_files([4, 2], [3, 1])
    damage(Path(folder, "Split-train", "data-1"))
    for read in (examples.read_split, examples.files_of, shards.divided):
        with pytest.raises(examples.LostExamplesError, match=r"'?data-[19]'? the first"):
            read(folder, "train")


def test_a_split_without_a_list_of_its_files_is_refused(write_files):
    folder = write_files([4, 2])
    Path(folder, features.LISTING_FILE).unlink()
    with pytest.raises(examples.LostExamplesError, match=r"no list .* --no-cache"):
        examples.read_split(folder, "train")


def test_hidden_files_do_not_count(write_files):
    folder = write_files([4, 2])
    Path(folder, "Split-train", ".nfs0001").write_bytes(b"held open by another process")
    check(examples.read_split(folder, "train"), [2, 4])


class Watched(np.ndarray):
    """Images that keep how many bytes of them were asked for at a time."""

    asked: list[int]

    def __getitem__(self, rows):
        taken = np.asarray(self)[rows]
        self.asked.append(taken.nbytes)
        return taken


def test_the_digest_of_large_images_takes_a_few_at_a_time():
    images = np.arange(80 * 2**20, dtype=np.uint8).reshape(80, 2**20)
    labels, ids = np.zeros(80, np.int64), np.array([b"%02d" % number for number in range(80)])
    watched = images.view(Watched)
    watched.asked = []
    digest = examples.Split(watched, labels, ids).digest()
    assert watched.asked == [32 * 2**20, 32 * 2**20, 16 * 2**20]
    content = b"80 1048576\n" + b"\n".join(ids.tolist()) + labels.tobytes() + images.tobytes()
    assert digest == hashlib.sha256(content).hexdigest()
