"""The node: what the data holds comes out once, in the split that all parts together give it."""

import dataclasses
import gzip
import io
import os

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tfx.types import standard_artifacts

from components import control_groups, examples, features, reading_report
from components.example_gen import collection, component, decoding, executor, split
from components.example_gen.example_ids import example_ids
from components.example_gen.readers.base import Options, ReadingError
from components.example_gen.request import Part, Request

SHAPE = (4, 4, 1)
NAMES = ("cat", "dog")
PER_CLASS = 5
SEED = 3
# Less than most shards hold, so that they come in several batches.
BATCH = 7
# Labels of each half of a span; the second span has fewer of a class than are chosen of it.
LABELS = {
    ("span-1", "train"): np.arange(20) % 2,
    ("span-2", "train"): np.array([0] * 11 + [1] * 2),
    ("span-10", "train"): np.array([1] * 5 + [0] * 3),
    ("span-1", "t10k"): np.arange(9) % 2,
}
TRAIN = ["span-1", "span-2", "span-10"]
WHOLE = Part("", "", "all")


def asked(*parts, shape=SHAPE, validation=PER_CLASS, **changes):
    request = Request(
        parts=parts or (WHOLE,),
        shape=shape,
        class_count=len(NAMES),
        class_names=NAMES,
        options=Options(),
        fit="pad",
        background=0,
        bad_files="stop",
        max_bad_share=0.2,
        split=split.Settings(validation, 0.3, None),
    )
    return dataclasses.replace(request, **changes)


def known(location, request):
    """The contents and the digest of data, as the preparation finds them."""
    readers = collection.open_parts(str(location), request)
    contents = collection.hashed(readers, str(location))
    return contents, collection.digest(request.parts, readers, contents)


def run_node(request, location, folder, digest=None):
    """Runs the node; returns each split."""
    if digest is None:
        _, digest = known(location, request)
    properties = component.ImageExampleGen(request, str(location), digest, SEED).exec_properties
    engine = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
    context = executor.Executor.Context(make_beam_pipeline_fn=lambda: beam.Pipeline(engine))
    output = standard_artifacts.Examples()
    output.uri = str(folder)
    executor.Executor(context).Do({}, {"examples": [output]}, properties)
    return {name: examples.read_split(output.uri, name) for name in features.SPLITS}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(executor, "_BATCH_SIZE", BATCH)


@pytest.fixture
def spans(tmp_path, as_idx):
    """A folder of spans, and the images of each half; no two images are equal."""
    random = np.random.default_rng(1)
    images = {}
    for (span, half), labels in LABELS.items():
        folder = tmp_path / "data" / span
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (len(labels), *SHAPE[:2]))
        (folder / f"{half}-images-idx3-ubyte").write_bytes(as_idx(pixels))
        zipped = folder / f"{half}-labels-idx1-ubyte.gz"
        zipped.write_bytes(gzip.compress(as_idx(labels)))
        images[span, half] = pixels.astype(np.uint8)
    return tmp_path / "data", images


def parts_of(train):
    parts = [Part(span, span, "all" if span == "span-1" else "train") for span in train]
    return parts if "span-1" in train else [*parts, Part("span-1", "span-1", "test")]


@pytest.fixture
def generate(spans, tmp_path):
    """Runs the node on the training images of these spans; returns each split."""

    def run(train=TRAIN, **changes):
        folder = tmp_path / "examples" / "-".join(train)
        return run_node(asked(*parts_of(train), **changes), spans[0], folder)

    return run


def rows(part):
    """Image and label of each example of a split, by id."""
    images = [image.tobytes() for image in part.images]
    content = zip(images, part.labels.tolist(), strict=True)
    return dict(zip(part.ids.tolist(), content, strict=True))


def held(images, span, half):
    """What `rows` should have of a half of a span."""
    labels = LABELS[span, half].tolist()
    return {
        f"{span}-{half}-{number:08d}".encode(): (image.tobytes(), label)
        for number, (image, label) in enumerate(zip(images[span, half], labels, strict=True))
    }


def test_each_example_comes_out_once_with_its_image_its_label_and_its_id(generate, spans):
    splits = generate()
    assert rows(splits["test"]) == held(spans[1], "span-1", "t10k")
    train, validation = rows(splits["train"]), rows(splits["val"])
    assert train.keys().isdisjoint(validation)
    expected = {k: v for span in TRAIN for k, v in held(spans[1], span, "train").items()}
    assert {**train, **validation} == expected


def test_each_shard_writes_a_file_of_its_own_and_again_the_same(generate, tmp_path, digest_of):
    """Beam may have a shard read twice, where a worker is lost or slow."""
    generate()
    output = tmp_path / "examples" / "-".join(TRAIN)
    files = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    before = digest_of(output)
    generate()
    assert digest_of(output) == before
    assert files == {
        "files.json",
        "reading.json",
        "Split-test/data_tfrecord-span-1-t10k-00000",
        *(f"Split-train/data_tfrecord-{name}-train-00000" for name in TRAIN),
        *(f"Split-val/data_tfrecord-{name}-train-00000" for name in TRAIN),
    }


def test_validation_is_chosen_over_all_parts_together(generate):
    found = generate()["val"]
    assert np.bincount(found.labels).tolist() == [PER_CLASS] * len(NAMES)
    ids = [
        name for span in TRAIN for name in example_ids(f"{span}-train", len(LABELS[span, "train"]))
    ]
    labels = np.concatenate([LABELS[span, "train"] for span in TRAIN])
    chosen = split.choose_validation(ids, labels, PER_CLASS, SEED)
    expected = sorted(name.encode() for name, one in zip(ids, chosen, strict=True) if one)
    assert found.ids.tolist() == expected
    assert len({name.split(b"-train")[0] for name in expected}) > 1


def test_the_order_of_the_parts_does_not_matter(generate):
    forwards, backwards = generate(), generate(TRAIN[::-1])
    for name in features.SPLITS:
        assert rows(forwards[name]) == rows(backwards[name])


def test_a_span_that_is_not_tested_on_lends_nothing_to_the_test(generate, spans):
    splits = generate(["span-10", "span-2"])
    assert rows(splits["test"]) == held(spans[1], "span-1", "t10k")
    for name in ("train", "val"):
        assert not any(found.startswith(b"span-1-") for found in splits[name].ids.tolist())


def test_a_class_that_all_parts_together_have_too_few_of_is_refused(generate):
    with pytest.raises(
        split.SplitError, match=r"class dog \(label 1\) has 2 training or validation images"
    ):
        generate(["span-2"])


def test_labels_that_are_numbers_need_no_names(generate):
    """So that a new name of a class changes no example."""
    named, numbered = generate(), generate(class_names=())
    for name in features.SPLITS:
        assert rows(named[name]) == rows(numbered[name])


def flip_the_last_bit(content):
    return content[:-1] + bytes([content[-1] ^ 1])


def take_the_last_away(content, size):
    """One record less, in the header too."""
    return content[:7] + bytes([content[7] - 1]) + content[8:-size]


CHANGES = {
    "another image": ("images", flip_the_last_bit),
    "one image less": ("images", lambda content: take_the_last_away(content, 16)),
    "another label": ("labels", flip_the_last_bit),
    "one label less": ("labels", lambda content: take_the_last_away(content, 1)),
}


@pytest.mark.parametrize("place", [("span-10", "train"), ("span-1", "t10k")])
@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_since_it_was_checked_is_not_taken(change, place, spans, tmp_path):
    request = asked(*parts_of(TRAIN))
    contents, digest = known(spans[0], request)
    span, half = place
    content, spoil = CHANGES[change]
    (path,) = (spans[0] / span).glob(f"{half}-{content}*")
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        before = file.read()
    with opened(path, "wb") as file:
        file.write(spoil(before))
    request = dataclasses.replace(request, contents=tuple(dict(each) for each in contents))
    with pytest.raises(Exception, match=r"changed while|labels; expected one label"):
        run_node(request, spans[0], tmp_path / "examples", digest)
    assert not list((tmp_path / "examples").rglob(f"data_tfrecord-{span}-{half}-*"))
    assert not list((tmp_path / "examples").rglob("unfinished-*"))


def test_data_of_another_digest_is_not_taken(spans, tmp_path):
    request = asked(*parts_of(TRAIN))
    _, digest = known(spans[0], request)
    with pytest.raises(ReadingError, match="data_digest") as caught:
        run_node(request, spans[0], tmp_path / "examples", "0a" * 32)
    assert digest in str(caught.value)
    assert not (tmp_path / "examples").exists()


def test_the_folder_of_the_data_is_a_parameter_of_its_own():
    """So that the same graph can read it elsewhere."""
    node = component.ImageExampleGen(asked(), "gs://bucket/data", "0a" * 32, 1)
    assert node.exec_properties["location"] == "gs://bucket/data"
    assert "gs://" not in node.exec_properties["request"]


def picture(color, size=(9, 6), form="PNG"):
    stream = io.BytesIO()
    Image.new("RGB", size, color).save(stream, form)
    return stream.getvalue()


@pytest.fixture
def folders(tmp_path):
    """Class folders with forty different pictures of another size than the schema's."""
    for number in range(40):
        path = tmp_path / "photos" / NAMES[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture((number, number, 10 + number)))
    return tmp_path / "photos"


def test_image_files_become_examples_of_the_schemas_size(folders, tmp_path):
    splits = run_node(asked(validation=0.3), folders, tmp_path / "examples")
    found = {name: row for part in splits.values() for name, row in rows(part).items()}
    assert len(found) == 40
    for number in range(40):
        pixels, label = found[f"{NAMES[number % 2]}/{number:02d}.png".encode()]
        assert label == number % 2
        image = np.frombuffer(pixels, np.uint8).reshape(SHAPE[:2])
        # Padded above and below.
        assert (image[0] == 0).all() and (image[1:3] > 0).all()
    report = reading_report.read(str(tmp_path / "examples"))
    assert report.form == "class folders"
    assert report.examples == {name: len(splits[name].ids) for name in features.SPLITS}
    assert (report.border, report.skipped_count) == ("dark", 0)


@pytest.mark.parametrize(
    ("invert", "expected"), [(lambda color: 255 - color, "bright"), (lambda color: 128, "mixed")]
)
def test_the_border_of_the_training_images_is_measured(folders, tmp_path, invert, expected):
    for number, path in enumerate(sorted(folders.rglob("*.png"))):
        path.write_bytes(picture((invert(number), invert(number), invert(number) - number % 50)))
    run_node(asked(validation=0.3), folders, tmp_path / "examples")
    assert reading_report.read(str(tmp_path / "examples")).border == expected


def test_worker_processes_give_the_same_examples(folders, tmp_path, monkeypatch):
    alone = run_node(asked(validation=0.3), folders, tmp_path / "alone")
    monkeypatch.setattr(decoding, "_LEAST_FILES", 1)
    monkeypatch.setattr(control_groups, "cores", lambda: 2)
    together = run_node(asked(validation=0.3), folders, tmp_path / "together")
    for name in features.SPLITS:
        assert rows(alone[name]) == rows(together[name])


def test_a_bad_file_stops_the_run_and_is_named(folders, tmp_path):
    (folders / "cat" / "02.png").write_bytes(b"")
    (folders / "dog" / "03.png").write_bytes(b"no image")
    with pytest.raises(ReadingError) as caught:
        run_node(asked(validation=0.3), folders, tmp_path / "examples")
    message = str(caught.value)
    assert message.startswith("2 of 40 images cannot be used; expected none.")
    assert "cat/02.png: the file is empty" in message
    assert "dog/03.png: this is no image" in message
    assert "data.bad_files=skip" in message


def test_bad_files_are_left_out_and_reported_where_that_is_asked_for(folders, tmp_path):
    whole = run_node(asked(validation=0.3), folders, tmp_path / "whole")
    (folders / "cat" / "02.png").write_bytes(picture((1, 2, 3))[:40])
    splits = run_node(asked(validation=0.3, bad_files="skip"), folders, tmp_path / "examples")
    report = reading_report.read(str(tmp_path / "examples"))
    assert report.skipped_count == 1
    assert [file.name for file in report.skipped] == ["cat/02.png"]
    assert "damaged" in report.skipped[0].reason
    # No other example moves.
    for name in features.SPLITS:
        left = rows(whole[name])
        left.pop(b"cat/02.png", None)
        assert rows(splits[name]) == left


def test_more_bad_files_than_may_be_skipped_stop_the_run(folders, tmp_path):
    for number in range(0, 20, 2):
        (folders / "cat" / f"{number:02d}.png").write_bytes(b"")
    with pytest.raises(ReadingError, match=r"10 of 40 .*\(25.0%\).*max_bad_share=0.2"):
        run_node(asked(validation=0.3, bad_files="skip"), folders, tmp_path / "examples")


def test_a_split_may_not_lose_more_than_its_share(folders, tmp_path):
    """Few of all images are bad, and many of those that judge the model."""
    splits = run_node(asked(validation=0.3), folders, tmp_path / "whole")
    first, second, *_ = (folders / name.decode() for name in splits["test"].ids.tolist())
    request = asked(validation=0.3, bad_files="skip", max_bad_share=0.1)
    first.write_bytes(b"no image")
    run_node(request, folders, tmp_path / "one")
    second.write_bytes(b"no image either")
    with pytest.raises(ReadingError, match=r"2 of \d+ images of the split test cannot be used"):
        run_node(request, folders, tmp_path / "two")


def test_a_class_whose_images_are_all_bad_stops_the_run(folders, tmp_path):
    for path in (folders / "cat").iterdir():
        path.write_bytes(b"no image" + path.name.encode())
    request = asked(validation=0.3, bad_files="skip", max_bad_share=0.9)
    with pytest.raises(ReadingError, match=r"class cat \(label 0\) has no usable image"):
        run_node(request, folders, tmp_path / "examples")


@pytest.mark.parametrize(
    ("becomes", "reason"),
    [
        (lambda path: path.write_bytes(picture((9, 9, 9))), "other content"),
        (lambda path: path.write_bytes(b""), "other content"),
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "not a regular file"),
    ],
    ids=["another picture", "an empty file", "gone", "a folder", "a pipe"],
)
def test_a_file_that_changes_while_it_is_read_stops_the_run(
    folders, tmp_path, monkeypatch, becomes, reason
):
    request = asked(validation=0.3)
    work_of = collection.work_of

    def planned(*arguments):
        work = list(work_of(*arguments))
        becomes(folders / "cat" / "02.png")
        return work

    monkeypatch.setattr(collection, "work_of", planned)
    said = rf"cat/02.png changed while the run was reading it \({reason}\); expected"
    with pytest.raises(Exception, match=said):
        run_node(request, folders, tmp_path / "examples")


def test_further_columns_are_carried_along(folders, tmp_path):
    lines = [
        f"photos/{NAMES[number % 2]}/{number:02d}.png,{NAMES[number % 2]},camera{number % 3}"
        for number in range(40)
    ]
    manifest = tmp_path / "photos.csv"
    manifest.write_text("\n".join(["path,label,camera", *lines]))
    splits = run_node(asked(validation=0.3), manifest, tmp_path / "examples")
    table = pq.read_table(tmp_path / "examples" / features.COLUMNS_FILE)
    assert table.column_names == ["camera", features.EXAMPLE_ID]
    ids, cameras = (table.column(name).to_pylist() for name in (features.EXAMPLE_ID, "camera"))
    cameras = dict(zip(ids, cameras, strict=True))
    ids = {name.decode() for part in splits.values() for name in part.ids.tolist()}
    assert cameras.keys() == ids
    assert cameras["photos/dog/05.png"] == "camera2"
