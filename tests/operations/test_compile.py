"""What `compile` refuses, before anything heavy is imported: in words, and with nothing written."""

import hashlib
import re
import shutil

import numpy as np
import pytest

from components.example_gen import idx
from operations.compile import compile_graph
from operations.compile_request import SCHEMA_IN_IMAGE, Request, prepare
from operations.targets import Target
from pipeline.errors import PipelineError, UsageError
from pipeline.installation import packages

DIGEST = "0a" * 32


@pytest.fixture
def request_for(tmp_path):
    """A request that is sound, with some of it changed."""

    def make(**changes):
        values = {
            "target": Target.KUBEFLOW,
            "output": tmp_path / "graph.yaml",
            "image": "registry.example.org/image-pipeline:1.0",
            "pipeline_root": "s3://artifacts/clothes",
            "data": "/mnt/clothes/data",
            "data_digest": DIGEST,
            "digest_options": (),
            "serving_dir": "/mnt/clothes/serving",
            "schema_location": None,
            "profile": "smoke",
            "assignments": (),
            "seed": None,
            "use_cache": True,
            "expect_served": False,
            "default_resources": ("4", "8Gi"),
            "resources": (),
            "volumes": (),
            "notify_secret": None,
            "dashboard_url": None,
        }
        return Request(**{**values, **changes})

    return make


# What is asked for, and what the refusal says of it.
REFUSED = {
    "an unknown profile": ({"profile": "smok"}, "nearest is 'smoke'"),
    "an unknown key": ({"assignments": ("epochs=1",)}, "training.epochs"),
    "the sample": ({"data": "sample"}, "nothing falls back to the sample"),
    "whatever there is": ({"data": "auto"}, "nothing falls back to the sample"),
    "data here, not there": ({"data": "data"}, "absolute path"),
    "data in a bucket that nodes cannot read": ({"data": "hdfs://b/data"}, "gs:// or s3://"),
    "data that nobody can read here": (
        {"data_digest": None, "digest_options": ("--config", "my flowers.toml")},
        r"--data-digest beside it.* digest --config 'my flowers.toml' --data PATH$",
    ),
    "half a digest": ({"data_digest": "0a0a"}, "64 hexadecimal digits"),
    "a digest in capitals": ({"data_digest": DIGEST.upper()}, "lower case"),
    "no image": ({"image": ""}, "--image"),
    "an image of two words": ({"image": "my image"}, "--image"),
    "artifacts in a folder": ({"pipeline_root": "/mnt/artifacts"}, "gs:// or s3:// or minio://"),
    "a password in the place of artifacts": (
        {"pipeline_root": "s3://key:hunter2@artifacts/clothes"},
        r"--pipeline-root s3://\*\*\*@artifacts/clothes has a password",
    ),
    "a password in the place of the data": ({"data": "gs://key:hunter2@b/d"}, "--data gs://"),
    "a signed place of the schema": ({"schema_location": "gs://b/s?key=hunter2"}, "or a query"),
    "served versions in a bucket": ({"serving_dir": "s3://b/serving"}, "renaming a folder"),
    "served versions in a relative folder": ({"serving_dir": "serving"}, "absolute path"),
    "served versions in a folder of the launcher": ({"serving_dir": "/gcs/b/serving"}, "be lost"),
    "served versions in a temporary folder": (
        {"serving_dir": "/mnt/../tmp/serving", "volumes": ("claim=/mnt",)},
        "--volume CLAIM=PATH",
    ),
    "served versions in a temporary folder behind two slashes": (
        {"serving_dir": "//tmp/serving"},
        "be lost",
    ),
    "served versions in the folder of locks": ({"serving_dir": "/run/lock/serving"}, "be lost"),
    "served versions in the data": (
        {"data": "/mnt/clothes", "serving_dir": "/mnt/x/../clothes/serving"},
        "serving folder .* is in the data folder /mnt/clothes, .* Choose one with --serving-dir",
    ),
    "served versions in place of the data": (
        {"data": "/mnt/clothes/", "serving_dir": "/mnt/clothes"},
        "is in the data folder",
    ),
    "artifacts in the data": (
        {"data": "s3://b/clothes", "pipeline_root": "s3://b/clothes/artifacts"},
        "the pipeline root .* is in the data folder s3://b/clothes, .* with --pipeline-root",
    ),
    "a node that is not there": ({"resources": ("Trainr=1,1Gi",)}, "nearest is 'Trainer'"),
    "a node that is off": ({"resources": ("Tuner=1,1Gi",)}, "no node 'Tuner'"),
    "resources without a node": ({"resources": ("8,16Gi",)}, "NODE=CPU,MEMORY"),
    "no memory": ({"resources": ("Trainer=8",)}, "NODE=CPU,MEMORY"),
    "no cores": ({"resources": ("Trainer=0,8Gi",)}, "cpu '0'"),
    "cores in words": ({"default_resources": ("four", "8Gi")}, "cpu 'four'"),
    "memory below nothing": ({"default_resources": ("4", "-8Gi")}, "memory '-8Gi'"),
    "memory in an unknown unit": ({"default_resources": ("4", "8GB")}, "memory '8GB'"),
    "a volume without a place": ({"volumes": ("claim",)}, "CLAIM=PATH"),
    "a volume at a relative place": ({"volumes": ("claim=mnt",)}, "CLAIM=PATH"),
    "a claim with a dot": ({"volumes": ("clothes.v2=/mnt",)}, "volume after the claim.* no dots"),
    "a claim with a long name": ({"volumes": (f"{'c' * 64}=/mnt",)}, "at most 63"),
    "a claim that ends in a hyphen": ({"volumes": ("clothes-=/mnt",)}, "CLAIM=PATH"),
    "a node twice": ({"resources": ("Trainer=1,1Gi", "Trainer=2,1Gi")}, "twice for Trainer"),
    "a place twice": ({"volumes": ("one=/mnt", "other=/mnt/")}, "twice for /mnt"),
    "a place in two forms": ({"volumes": ("one=/mnt", "other=//x/../mnt")}, "twice for /mnt"),
    "a volume in place of everything": ({"volumes": ("claim=//",)}, "CLAIM=PATH"),
    "a schema that is not there": ({"assignments": ("schema_file=other.pbtxt",)}, "cannot be read"),
    "a schema here, not there": ({"schema_location": "schema.pbtxt"}, "--schema-location"),
    "a schema in a bucket that nodes cannot read": (
        {"schema_location": "s3://b/schema.pbtxt"},
        "gs://",
    ),
    "a schema below a pattern": ({"schema_location": "/mnt/[1]/schema.pbtxt"}, r"contains \["),
    "a schema in two lines": ({"schema_location": "/mnt/a\nb"}, "contains a line break"),
    "artifacts below a pattern": ({"pipeline_root": "s3://a/run[1]"}, r"contains \["),
    "versions below a pattern": ({"serving_dir": "/mnt/run?"}, r"contains \?"),
    "data in two lines": ({"data": "/mnt/a\nb"}, "contains a line break"),
    "metadata": ({"assignments": ("metadata.uri=postgresql://a@b/c",)}, "metadata.uri=null"),
    "an address in place of a secret": (
        {"notify_secret": "slack://TokenA/TokenB/hunter2"},
        "--notify-secret: expected SECRET=KEY",
    ),
    "a secret without a key": ({"notify_secret": "clothes-notify"}, "SECRET=KEY"),
    "a link without notifications": ({"dashboard_url": "https://kf.example.org"}, "beside it"),
    "a link that is none": (
        {"notify_secret": "notify=addresses", "dashboard_url": "kf.example.org"},
        "--dashboard-url begins with neither",
    ),
    "a link with a password": (
        {"notify_secret": "notify=addresses", "dashboard_url": "https://me:hunter2@kf.example.org"},
        "--dashboard-url has a password",
    ),
    "an engine on this machine": (
        {"assignments": ("beam.runner=prism",)},
        r"beam.runner=prism: .*, or add: --set beam.runner=local$",
    ),
    "a job server on this machine": (
        {"assignments": ("beam.runner=flink", "beam.flink_job_server_jar=server.jar")},
        "beam.flink_job_server_jar: .* --set beam.flink_job_server_jar=null",
    ),
    "a bucket of served versions": (
        {"assignments": ("serving.bucket=s3://models/served",)},
        "--set serving.bucket=null",
    ),
    "spans": (
        {"assignments": ("spans.window=2", "spans.reference=1")},
        r"spans.window=2, spans.reference=1: .* folder of one data set .* "
        "--set spans.window=1 --set spans.reference=null$",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_words(case, request_for, tmp_path):
    changes, fragment = REFUSED[case]
    with pytest.raises(UsageError, match=fragment) as caught:
        compile_graph(request_for(**changes), print)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value) and "expected" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"pipeline_root": "s3://artifacts"}, "gs://"),
        ({"volumes": ("claim=/mnt",)}, "no volume claims"),
        ({"output": "graph.yaml"}, "graph.json"),
        ({"notify_secret": "notify=addresses"}, "no secrets of Kubernetes"),
        ({"serving_dir": "/tmp/serving"}, "Name one below /gcs"),
        ({"data": "gs://b/data", "serving_dir": "/gcs/b/data/serving"}, "is in the data folder"),
        ({"data": "/gcs/b/data", "pipeline_root": "gs://b/data/runs"}, "is in the data folder"),
    ],
)
def test_vertex_takes_less(changes, fragment, request_for, tmp_path):
    name = changes.get("output", "graph.json")
    asked = {"target": Target.VERTEX, "pipeline_root": "gs://artifacts", **changes}
    with pytest.raises(UsageError, match=fragment):
        compile_graph(request_for(**{**asked, "output": tmp_path / name}), print)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ["--data", "--serving-dir"]),
        ({"volumes": ("claim=/mnt",)}, []),
        ({"volumes": ("claim=/mnt/clothes/serving",)}, ["--data"]),
        (
            {"volumes": ("claim=/mnt/clothes",), "schema_location": "/mnt/schema.pbtxt"},
            ["--schema-location"],
        ),
        ({"volumes": ("claim=/mnt/clo",), "data": "gs://b/data"}, ["--serving-dir"]),
        ({"volumes": ("claim=//mnt",), "data": "//mnt/clothes"}, []),
        ({"volumes": ("claim=/mnt",), "data": "/mnt/../clothes"}, ["--data"]),
    ],
)
def test_it_says_what_lies_on_no_volume(changes, told, request_for):
    """It may be mounted by the cluster; more likely, an option was forgotten."""
    lines = []
    # Refused, so that nothing is compiled.
    with pytest.raises(UsageError):
        request = request_for(**changes, resources=("Trainer=0,8Gi",))
        compile_graph(request, lines.append)
    assert [line.split()[:2] for line in lines] == [["Warning:", option] for option in told]


@pytest.fixture
def own_schema(tmp_path_factory):
    """A schema that is not the one in the image."""
    path = tmp_path_factory.mktemp("own") / "schema.pbtxt"
    text = (packages.PROJECT / "schema" / "schema.pbtxt").read_text()
    path.write_text(text.replace('"Coat"', '"Parka"'))
    return path


def test_a_schema_of_ones_own_needs_a_place_where_the_nodes_find_it(request_for, own_schema):
    assignments = (f"schema_file={own_schema}",)
    with pytest.raises(UsageError, match="--schema-location beside it"):
        compile_graph(request_for(assignments=assignments), print)
    place = "gs://clothes/schema.pbtxt"
    prepared = prepare(request_for(assignments=assignments, schema_location=place), print)
    assert prepared.config.schema_file == place
    assert "Parka" in prepared.schema.class_names
    digest = hashlib.sha256(own_schema.read_bytes()).hexdigest()
    assert prepared.data.schema_sha256 == digest


def test_a_copy_of_the_projects_schema_is_in_the_image(request_for, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "mine.pbtxt"
    shutil.copy(packages.PROJECT / "schema" / "schema.pbtxt", copy)
    prepared = prepare(request_for(assignments=(f"schema_file={copy}",)), print)
    assert prepared.config.schema_file == SCHEMA_IN_IMAGE


@pytest.mark.parametrize(
    "changes",
    [
        {"serving_dir": "/tmp/models/serving", "volumes": ("claim=/tmp/models",)},
        {"serving_dir": "/gcsfuse/serving"},
        {"serving_dir": "/mnt/serving", "volumes": (f"{'c' * 63}=/mnt",)},
    ],
)
def test_versions_may_be_served_from_a_volume_at_any_place(changes, request_for):
    prepared = prepare(request_for(**changes), print)
    assert prepared.locations.serving == changes["serving_dir"]


def test_on_vertex_versions_may_be_served_from_a_bucket_that_is_mounted(request_for, tmp_path):
    asked = {"target": Target.VERTEX, "pipeline_root": "gs://artifacts"}
    request = request_for(**asked, output=tmp_path / "graph.json", serving_dir="/gcs/b/serving")
    assert prepare(request, print).locations.serving == "/gcs/b/serving"


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "/mnt/clothes/data", "serving_dir": "/mnt/clothes/data-serving"},
        {"data": "s3://b/clothes", "pipeline_root": "s3://c/clothes/artifacts"},
    ],
)
def test_what_a_run_writes_may_lie_beside_the_data(changes, request_for):
    assert prepare(request_for(**changes), print).data.location == changes["data"]


def test_a_folder_that_is_not_there_is_not_made(request_for, tmp_path):
    with pytest.raises(PipelineError, match="is no folder"):
        compile_graph(request_for(output=tmp_path / "no" / "graph.yaml"), print)
    assert not list(tmp_path.iterdir())


def test_what_the_chosen_engine_does_not_need_may_stay(request_for):
    """The configuration file may be that of runs on this machine."""
    assignments = ("beam.runner=local", "beam.flink_job_server_jar=server.jar")
    assert prepare(request_for(assignments=assignments), print).config.beam.runner == "local"


@pytest.fixture
def few_images(tmp_path_factory, as_idx):
    """IDX files of the project's schema, and the settings with which they are enough."""
    folder = tmp_path_factory.mktemp("few")
    for images, labels in idx.FILES.values():
        (folder / images).write_bytes(as_idx(np.arange(24 * 28 * 28).reshape(24, 28, 28) % 251))
        (folder / labels).write_bytes(as_idx(np.arange(24) % 10))
    return folder


FEW = ("split.validation=1",)


def test_the_digest_of_a_bucket_is_that_of_the_same_files_here(request_for, bucket, few_images):
    asked = {"data_digest": None, "assignments": FEW}
    here = prepare(request_for(data=str(few_images), **asked), print).data
    bucket.upload(few_images, "flowers")
    there = prepare(request_for(data=f"{bucket}/flowers", **asked), print).data
    assert there.location == f"{bucket}/flowers"
    assert there.digest == here.digest


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (("GET", "", 403, "AccessDenied"), "access was denied"),
        (("GET", "ubyte", 403, "AccessDenied"), "access was denied"),
        pytest.param(
            ("GET", "", 503, "SlowDown"),
            r"\(SlowDown\); expected an answer of the store",
            # It asks several times.
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_bucket_that_cannot_be_read_here_is_told_beside_the_way_on(
    request_for, bucket, faults, few_images, refused, reason
):
    bucket.upload(few_images, "flowers")
    faults.refuse(*refused)
    lines = []
    request = request_for(
        data=f"{bucket}/flowers",
        data_digest=None,
        assignments=FEW,
        digest_options=("--config", "flowers/pipeline.toml"),
    )
    with pytest.raises(UsageError, match="expected --data-digest beside it") as caught:
        prepare(request, lines.append)
    assert str(caught.value).endswith(
        f": python3 pipeline_runner.py digest --config flowers/pipeline.toml --data {request.data}"
    )
    assert lines[-1].startswith(f"Note: {bucket}") and re.search(reason, lines[-1])


def test_bad_data_in_a_bucket_is_refused_like_bad_data_here(request_for, bucket, few_images):
    bucket.upload(few_images, "flowers")
    bucket.put(f"flowers/{idx.FILES['train'][1]}", b"no labels")
    with pytest.raises(UsageError, match=r"labels-idx1-ubyte"):
        prepare(request_for(data=f"{bucket}/flowers", data_digest=None, assignments=FEW), print)
    with pytest.raises(UsageError, match="holds no objects"):
        prepare(request_for(data=f"{bucket}/roses", data_digest=None), print)


def test_spans_are_no_data_set(request_for, tmp_path):
    spans = tmp_path / "spans"
    (spans / "span-1").mkdir(parents=True)
    for name in (name for names in idx.FILES.values() for name in names):
        (spans / "span-1" / name).touch()
    with pytest.raises(UsageError, match="holds spans"):
        compile_graph(request_for(data=str(spans), data_digest=None), print)
