"""Shards are made of whole files, and what is written about them does not depend on the workers."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact_utils, standard_artifacts

from components import examples, features, image_schema, shards
from components.data_gate import checks, facts
from components.data_gate import executor as data_gate
from components.example_gen import collection, component, split
from components.example_gen import executor as example_gen
from components.example_gen.readers.base import Options
from components.example_gen.request import Part, Request
from components.predictions import executor as predictions
from components.statistics_gen import executor as statistics_gen

PROJECT = Path(__file__).resolve().parents[2]
ENGINE = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
SIDE = 28
CLASS_COUNT, IMAGES = 10, 330
# Images that equal an earlier one; many of them have its label too.
COPIES = 40


def write_records(path, sizes):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in sizes:
            writer.write(b"x" * size)


@settings(max_examples=30)
@given(counts=st.lists(st.integers(0, 9), max_size=12), full=st.integers(1, 12))
def test_shards_hold_each_file_once_and_enough_examples(counts, full, tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    (folder / "Split-train").mkdir()
    for number, count in enumerate(counts):
        write_records(folder / "Split-train" / f"data-{number:02d}", [1000] * count)
    examples.write_listing(str(folder), ["train"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "EXAMPLES", full)
        divided = shards.divided(str(folder), "train")
    assert [shard.name for shard in divided] == [f"train-{n:06d}" for n in range(len(divided))]
    files = [Path(path).name for shard in divided for path in shard.files]
    with_examples = [f"data-{number:02d}" for number, count in enumerate(counts) if count]
    assert files == sorted(set(files))
    assert set(with_examples) <= set(files) or not with_examples
    held = [sum(counts[int(path[-2:])] for path in shard.files) for shard in divided]
    assert sum(held) == sum(counts)
    # A shard ends with the file that makes it full.
    for shard, count in zip(divided, held, strict=True):
        last = counts[int(shard.files[-1][-2:])]
        assert count >= 0.8 * full or shard is divided[-1]
        assert count - last < 0.9 * full


def test_large_examples_make_small_shards(tmp_path, monkeypatch):
    (tmp_path / "Split-test").mkdir()
    for number in range(6):
        write_records(tmp_path / "Split-test" / f"data-{number}", [5000] * 2)
    examples.write_listing(str(tmp_path), ["test"])
    monkeypatch.setattr(shards, "BYTES", 20_000)
    assert [len(shard.files) for shard in shards.divided(str(tmp_path), "test")] == [2, 2, 2]


def fail_at_the_end(shard, file):
    file.write(b"half of it")
    raise ValueError("a broken worker")


def write_name(shard, file):
    file.write(shard.name.encode())


@pytest.fixture
def workers(tmp_path):
    return shards.Workers(lambda: beam.Pipeline(ENGINE), str(tmp_path / "work"))


def test_the_files_are_in_the_order_of_the_shards_and_gone_afterwards(workers, tmp_path):
    each = [shards.Shard("val", number, ()) for number in range(5, 0, -1)]
    with workers.made(each, write_name) as paths:
        assert [Path(path).read_text() for path in paths] == [shard.name for shard in each]
    assert not list(tmp_path.iterdir())


def test_a_worker_that_fails_fails_the_node_and_leaves_nothing(workers, tmp_path):
    with (
        pytest.raises(Exception, match="a broken worker"),
        workers.made([shards.Shard("val", 0, ())], fail_at_the_end),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_stays_whole_while_it_is_written_again_and_where_that_fails(tmp_path):
    """Beam may give a shard to another worker while the first is at it, or was lost there."""
    path = tmp_path / "train-000000"
    path.write_bytes(b"whole")
    with pytest.raises(KeyError), shards.whole(str(path)) as file:
        file.write(b"no")
        file.flush()
        assert path.read_bytes() == b"whole"
        raise KeyError
    with shards.whole(str(path)) as file:
        file.write(b"again")
    assert path.read_bytes() == b"again"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Class folders of images, of which some are equal, and some of these have another label."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(1)
    for number in range(IMAGES):
        image = random.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
        for copy in range(2 if number < COPIES else 1):
            label = (number + copy * (number % 3 == 0)) % CLASS_COUNT
            place = folder / f"class-{label}" / f"{number:04d}-{copy}.png"
            place.parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(place)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model whose answers depend on every pixel, in floating point."""
    weights = np.random.default_rng(2).normal(size=(SIDE * SIDE, CLASS_COUNT)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def classify(serialized):
        spec = {features.IMAGE: tf.io.FixedLenFeature([], tf.string)}
        raw = tf.io.parse_example(serialized, spec)[features.IMAGE]
        pixels = tf.cast(tf.io.decode_raw(raw, tf.uint8), tf.float32) / 255
        return {features.PROBABILITIES: tf.nn.softmax(pixels @ weights)}

    folder = tmp_path_factory.mktemp("model")
    tf.saved_model.save(
        tf.Module(), str(folder / "Format-Serving"), signatures={"serving_default": classify}
    )
    return artifact(standard_artifacts.Model, folder)


def artifact(kind, folder):
    folder.mkdir(exist_ok=True)
    made = kind()
    made.uri = str(folder)
    return made


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schema")
    shutil.copy(PROJECT / "schema" / image_schema.SCHEMA_FILE, folder)
    return artifact(standard_artifacts.Schema, folder)


@pytest.fixture(scope="module")
def data_nodes(folders, schema, model, tmp_path_factory):
    """Runs the data nodes with arguments for Beam; returns the folder of their artifacts."""
    request = Request(
        parts=(Part("", "", "all"),),
        shape=(SIDE, SIDE, 1),
        class_count=CLASS_COUNT,
        class_names=tuple(f"class-{number}" for number in range(CLASS_COUNT)),
        options=Options(),
        fit="pad",
        background=0,
        bad_files="stop",
        max_bad_share=0.2,
        split=split.Settings(0.2, 0.3, None),
    )
    readers = collection.open_parts(str(folders), request)
    digest = collection.digest(request.parts, readers, collection.hashed(readers, str(folders)))
    read = component.ImageExampleGen(request, str(folders), digest, 3).exec_properties

    def run(*arguments):
        folder = tmp_path_factory.mktemp("artifacts")

        def node(executor, inputs, key, kind, parameters):
            context = executor.Executor.Context(
                beam_pipeline_args=[*arguments, "--sdk_container_image=local"],
                tmp_dir=str(folder / "tmp"),
            )
            made = artifact(kind, folder / key)
            executor.Executor(context).Do(
                {name: [each] for name, each in inputs.items()}, {key: [made]}, parameters
            )
            return made

        source = node(example_gen, {}, "examples", standard_artifacts.Examples, read)
        given = {"examples": source, "schema": schema}
        statistics = node(
            statistics_gen,
            given,
            "statistics",
            standard_artifacts.ExampleStatistics,
            {"exclude_splits": "[]"},
        )
        anomalies = artifact(standard_artifacts.ExampleAnomalies, folder / "anomalies")
        anomalies.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
        for name in features.SPLITS:
            place = Path(artifact_utils.get_split_uri([anomalies], name))
            place.mkdir()
            (place / "SchemaDiff.pb").write_bytes(anomalies_pb2.Anomalies().SerializeToString())
        severities = dict.fromkeys(checks.CHECKS, "warn")
        node(
            data_gate,
            {**given, "statistics": statistics, "anomalies": anomalies},
            "report",
            standard_artifacts.ExampleAnomalies,
            {"severities": json.dumps(severities), "max_duplicates": 0, "min_images": "{}"},
        )
        node(
            predictions,
            {**given, "model": model, "baseline_model": model},
            "predictions",
            standard_artifacts.Examples,
            {"columns": "[]"},
        )
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        return folder

    return run


@pytest.fixture(scope="module")
def small_shards():
    """So that few images have several shards, partitions and batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "EXAMPLES", 60)
        patch.setattr(facts, "EXAMPLES", 60)
        patch.setattr(facts, "_PARTITION", 100)
        patch.setattr(predictions, "_IMAGES_AT_ONCE", 32)
        patch.setattr(predictions, "_ROWS", 25)
        # Beam talks to its workers, which find the package, also where they are other processes.
        patch.setenv("no_grpc_proxy", "localhost,127.0.0.1")
        patch.setenv("PYTHONPATH", str(PROJECT))
        yield


@pytest.fixture(scope="module")
def alone(small_shards, data_nodes):
    """The artifacts that one worker makes."""
    return data_nodes(f"--runner={ENGINE}")


def test_the_data_of_these_tests_has_several_shards(alone):
    uri = str(alone / "examples")
    assert [len(shards.divided(uri, name)) for name in features.SPLITS] >= [3, 1, 2]
    report = json.loads((alone / "report" / features.SIMILAR_FILE).read_text())
    assert sum(count["exact"] for count in report["counts"]) == COPIES
    assert report["images"] == IMAGES


@pytest.fixture(scope="module")
def pool(small_shards, tmp_path_factory):
    """The address of another process, in which workers begin as Beam asks for them."""
    port_file = tmp_path_factory.mktemp("pool") / "port"
    code = (
        "import pathlib, sys, time\n"
        "from apache_beam.runners.worker.worker_pool_main import (\n"
        "    BeamFnExternalWorkerPoolServicer as Pool)\n"
        "address, _ = Pool.start(use_process=False)\n"
        f"pathlib.Path({str(port_file)!r}).write_text(address)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    while not port_file.is_file() or not port_file.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    yield port_file.read_text()
    # It ends with its input.
    process.communicate()


def embedded(environment):
    return [
        "--runner=PortableRunner",
        "--job_endpoint=embed",
        "--sdk_worker_parallelism=2",
        *environment,
    ]


def same_files(one, other, digest_of):
    for key in ("examples", "statistics", "report", "predictions"):
        names, others = (
            {path.relative_to(folder / key) for path in (folder / key).rglob("*")}
            for folder in (one, other)
        )
        assert names == others
        assert digest_of(one / key) == digest_of(other / key)


def test_two_workers_make_the_files_that_one_makes(alone, data_nodes, digest_of):
    together = data_nodes(
        f"--runner={ENGINE}", "--direct_num_workers=2", "--direct_running_mode=multi_threading"
    )
    same_files(together, alone, digest_of)


@pytest.mark.slow
def test_another_runner_makes_the_same_files(alone, data_nodes, digest_of):
    same_files(data_nodes(*embedded(["--environment_type=LOOPBACK"])), alone, digest_of)


@pytest.mark.slow
def test_workers_in_another_process_make_the_same_files(alone, data_nodes, pool, digest_of):
    environment = ["--environment_type=EXTERNAL", f"--environment_config={pool}"]
    same_files(data_nodes(*embedded(environment)), alone, digest_of)


def test_the_answers_do_not_depend_on_where_a_shard_ends(alone, data_nodes, model, tmp_path):
    """The last batch of a shard is as large as the others."""
    before = pq.read_table(alone / "predictions" / features.PREDICTIONS_FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "EXAMPLES", 5_000)
        workers = shards.Workers(lambda: beam.Pipeline(ENGINE), str(tmp_path / "work"))
        uri = str(alone / "examples")
        assert len(shards.divided(uri, "test")) == 1
        with predictions.asked(workers, {"candidate": model.uri}, uri) as answered:
            answers = [part.probabilities["candidate"] for _, part in answered.parts()]
    assert np.array_equal(np.stack(before["candidate"].to_pandas()), np.concatenate(answers))
