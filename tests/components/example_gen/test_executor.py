"""The node: what the files hold comes out once, in the split that all pairs together give it."""

import gzip
import json

import apache_beam as beam
import numpy as np
import pytest
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from components import examples, features
from components.example_gen import component, executor, idx, split

SHAPE = (4, 4, 1)
CLASSES = 2
PER_CLASS = 5
SEED = 3
# Less than most pairs hold, so that they come in several batches.
BATCH = 7
# Labels of each pair, the last to test on; the second has fewer of a class than are chosen of it.
LABELS = {
    "span-1-train": np.arange(20) % 2,
    "span-2-train": np.array([0] * 11 + [1] * 2),
    "span-10-train": np.array([1] * 5 + [0] * 3),
    "span-1-t10k": np.arange(9) % 2,
}
TRAIN = list(LABELS)[:-1]


@pytest.fixture
def pairs(tmp_path, as_idx):
    """The pairs by name, each in the folder of its span; no two images are equal."""
    random = np.random.default_rng(1)
    found = {}
    for name, labels in LABELS.items():
        span, _, half = name.rpartition("-")
        folder = tmp_path / "data" / span
        folder.mkdir(parents=True, exist_ok=True)
        images = folder / f"{half}-images-idx3-ubyte"
        images.write_bytes(as_idx(random.integers(0, 256, (len(labels), *SHAPE[:2]))))
        zipped = folder / f"{half}-labels-idx1-ubyte.gz"
        zipped.write_bytes(gzip.compress(as_idx(labels)))
        found[name], _ = idx.read_pair(name, str(images), str(zipped), SHAPE, CLASSES)
    return found


def properties_of(train, test, location, digest):
    return component.IdxExampleGen(
        train=train,
        test=test,
        image_shape=SHAPE,
        class_count=CLASSES,
        validation_per_class=PER_CLASS,
        seed=SEED,
        location=str(location),
        data_digest=digest,
    ).exec_properties


def properties_for(pairs, train=TRAIN):
    """The properties of the node that reads the training pairs of these names."""
    chosen = [pairs[name] for name in (*train, "span-1-t10k")]
    return properties_of(
        chosen[:-1], chosen[-1], idx.common_folder(chosen), idx.data_digest(chosen)
    )


def run_node(properties, folder, context=None):
    """Runs the node; returns each split."""
    output = standard_artifacts.Examples()
    output.uri = str(folder)
    executor.Executor(context).Do({}, {"examples": [output]}, properties)
    return {name: examples.read_split(output.uri, name) for name in features.SPLITS}


@pytest.fixture
def generate(pairs, tmp_path, monkeypatch):
    """Runs the node on the training pairs of these names; returns each split."""
    monkeypatch.setattr(executor, "_BATCH_SIZE", BATCH)
    engine = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
    context = executor.Executor.Context(make_beam_pipeline_fn=lambda: beam.Pipeline(engine))

    def run(train=TRAIN):
        folder = tmp_path / "examples" / "-".join(train)
        return run_node(properties_for(pairs, train), folder, context)

    return run


def rows(part):
    """Image and label of each example of a split, by id."""
    images = [image.tobytes() for image in part.images]
    content = zip(images, part.labels.tolist(), strict=True)
    return dict(zip(part.ids.tolist(), content, strict=True))


def held(pair):
    """What `rows` should have of a pair."""
    images = [
        image.tobytes()
        for batch in idx.image_reader(pair.images, SHAPE).batches(100)
        for image in batch
    ]
    labels = LABELS[pair.name].tolist()
    return {
        f"{pair.name}-{number:08d}".encode(): (image, label)
        for number, (image, label) in enumerate(zip(images, labels, strict=True))
    }


def test_each_example_comes_out_once_with_its_image_its_label_and_its_id(generate, pairs):
    splits = generate()
    assert rows(splits["test"]) == held(pairs["span-1-t10k"])
    train, validation = rows(splits["train"]), rows(splits["val"])
    assert train.keys().isdisjoint(validation)
    assert {**train, **validation} == {k: v for n in TRAIN for k, v in held(pairs[n]).items()}


def test_each_pair_writes_a_file_of_its_own_and_again_the_same(generate, tmp_path, digest_of):
    """Beam may have a pair read twice, where a worker is lost or slow."""
    generate()
    output = tmp_path / "examples" / "-".join(TRAIN)
    files = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    before = digest_of(output)
    generate()
    assert digest_of(output) == before
    assert files == {
        "Split-test/data_tfrecord-span-1-t10k",
        *(f"Split-train/data_tfrecord-{name}" for name in TRAIN),
        *(f"Split-val/data_tfrecord-{name}" for name in TRAIN),
    }


def test_validation_is_chosen_over_all_pairs_together(generate):
    found = generate()["val"]
    assert np.bincount(found.labels).tolist() == [PER_CLASS] * CLASSES
    ids = [name for pair in TRAIN for name in split.example_ids(pair, len(LABELS[pair]))]
    labels = np.concatenate([LABELS[pair] for pair in TRAIN])
    chosen = split.choose_validation(ids, labels, PER_CLASS, SEED)
    expected = sorted(name.encode() for name, one in zip(ids, chosen, strict=True) if one)
    assert found.ids.tolist() == expected
    assert len({name.split(b"-train")[0] for name in expected}) > 1


def test_the_order_of_the_pairs_does_not_matter(generate):
    forwards, backwards = generate(), generate(TRAIN[::-1])
    for name in features.SPLITS:
        assert rows(forwards[name]) == rows(backwards[name])


def test_a_single_pair_is_read_as_well(generate, pairs):
    splits = generate(["span-1-train"])
    assert len(splits["val"].ids) == PER_CLASS * CLASSES
    assert {**rows(splits["train"]), **rows(splits["val"])} == held(pairs["span-1-train"])


def test_a_class_that_all_pairs_together_have_too_few_of_is_refused(generate):
    with pytest.raises(split.SplitError, match=r"class 1 \(label 1\) has 2 training images"):
        generate(["span-2-train"])


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


@pytest.mark.parametrize("name", ["span-10-train", "span-1-t10k"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_since_it_was_checked_is_not_taken(change, name, generate, pairs, tmp_path):
    half, spoil = CHANGES[change]
    path = getattr(pairs[name], half)
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rb") as file:
        content = file.read()
    with opened(path, "wb") as file:
        file.write(spoil(content))
    with pytest.raises(Exception, match="changed while the run was reading it") as caught:
        generate()
    assert path in str(caught.value)
    assert not list((tmp_path / "examples").rglob(f"data_tfrecord-{name}"))
    assert not list((tmp_path / "examples").rglob("unfinished-*"))


def test_tfx_looks_at_the_files_that_are_read_and_no_others(pairs, tmp_path):
    """Its fingerprint has their dates: a span that is not taken must not make a run go again."""
    properties = properties_for(pairs, ["span-2-train"])
    splits = json.loads(properties["input_config"])["splits"]
    assert properties["input_base"] == str(tmp_path / "data")
    assert {entry["pattern"] for entry in splits} == {
        f"{span}/{half}-{kind}"
        for span, half in (("span-2", "train"), ("span-1", "t10k"))
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte.gz")
    }
    assert len({entry["name"] for entry in splits}) == 4


@pytest.mark.parametrize("base", ["/data", "/", "gs://bucket/data"])
def test_the_folder_of_the_files_is_a_parameter_of_its_own(base):
    """So that the same graph can read them elsewhere."""
    folder = base.rstrip("/")
    train, test = (
        idx.IdxPair(half, f"{folder}/{half}-images", f"{folder}/{half}-labels", "a", "b", 9)
        for half in ("train", "t10k")
    )
    properties = properties_for({"train": train, "span-1-t10k": test}, ["train"])
    patterns = [entry["pattern"] for entry in json.loads(properties["input_config"])["splits"]]
    assert properties["input_base"] == base
    assert patterns == ["train-images", "train-labels", "t10k-images", "t10k-labels"]


@pytest.mark.parametrize("name", ["exp[1]", "exp?", "e*", "{SPAN}"])
def test_the_folder_of_the_files_is_no_pattern(name, tmp_path):
    """TFX's fingerprint is of the files in it, and not of those beside it."""
    for folder, content in ((name, b"own"), ("exp1", b"of the neighbour")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "images").write_bytes(content)
    split = example_gen_pb2.Input.Split(name="train", pattern="images")
    driver = component.IdxExampleGen.DRIVER_CLASS(None)
    processor = driver.get_input_processor([split], None, str(tmp_path / name))
    fingerprint = processor.get_input_fingerprint(*processor.resolve_span_and_version())
    assert "num_files:1,total_bytes:3," in fingerprint


@pytest.fixture
def located(tmp_path, as_idx, monkeypatch):
    """The folder of four files, and what runs the node on what it finds there."""
    monkeypatch.setattr(executor, "_BATCH_SIZE", BATCH)
    random = np.random.default_rng(2)
    folder = tmp_path / "located"
    folder.mkdir()
    for (images, labels), count in zip(idx.FILES.values(), (30, 8), strict=True):
        content = as_idx(random.integers(0, 256, (count, *SHAPE[:2])))
        (folder / images).write_bytes(content)
        (folder / f"{labels}.gz").write_bytes(gzip.compress(as_idx(np.arange(count) % 2)))
    return folder


def pairs_of(folder):
    return [
        idx.read_pair(half, f"{folder}/{images}", f"{folder}/{labels}.gz", SHAPE, CLASSES)[0]
        for half, (images, labels) in idx.FILES.items()
    ]


def test_files_that_the_node_finds_come_out_as_those_that_it_is_told(located, tmp_path):
    """On a cluster, nobody lists the files before the graph starts."""
    train, test = pairs_of(located)
    digest = idx.data_digest([train, test])
    told = run_node(properties_of([train], test, located, digest), tmp_path / "told")
    found = run_node(properties_of((), None, located, digest), tmp_path / "found")
    assert all(rows(found[name]) == rows(told[name]) for name in features.SPLITS)
    assert len(found["test"].ids) == 8


def test_files_of_another_digest_are_not_taken(located, tmp_path):
    properties = properties_of((), None, located, "0a" * 32)
    with pytest.raises(idx.IdxError, match="data_digest") as caught:
        run_node(properties, tmp_path / "found")
    assert idx.data_digest(pairs_of(located)) in str(caught.value)
    assert not (tmp_path / "found").exists()


def test_a_folder_that_lacks_a_file_is_not_taken(located, tmp_path):
    images, _ = idx.FILES[idx.TEST]
    (located / images).unlink()
    with pytest.raises(idx.IdxError, match=f"holds neither {images} nor {images}.gz"):
        run_node(properties_of((), None, located, "0a" * 32), tmp_path / "found")
