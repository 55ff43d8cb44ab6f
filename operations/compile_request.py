"""What `compile` is asked for, and the checks before anything heavy is imported."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from components import object_store
from components.image_schema import ImageSchema
from components.object_store import ObjectStoreError
from operations.notifications.notifying import check_url
from operations.targets import Target
from pipeline import class_weights, paths
from pipeline.config import (
    BeamConfig,
    Config,
    MetadataConfig,
    SpansConfig,
    load_config,
    nearest,
    pipeline_name,
)
from pipeline.datasets import AUTO, SAMPLE
from pipeline.datasets.dataset import RemoteData
from pipeline.datasets.find import find_source
from pipeline.datasets.reading import WHOLE, asked_of, read_dataset
from pipeline.datasets.schema_file import read_schema, schema_path
from pipeline.errors import ConfigurationError, DataError, OutputError, UnreachableError
from pipeline.locations import RemoteLocations
from pipeline.nodes import NOTIFICATION, REVIEW, expected_nodes
from pipeline.runners import readiness
from pipeline.runners.notify_secret import NotifySecret
from pipeline.runners.resources import QuantityError, Resources

# The Containerfile puts the schema there.
SCHEMA_IN_IMAGE = "/pipeline/schema/schema.pbtxt"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_IMAGE = re.compile(r"[a-z0-9]\S*")
# The backend names the pod's volume after the claim. Names of volumes are labels (RFC 1123).
_VOLUME = re.compile(r"([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)=(/[^=]+)")
# As Kubernetes has them: a DNS name, and a key of a secret.
_SECRET = re.compile(r"([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)=([-._a-zA-Z0-9]{1,253})")
# Places that every user may write to in a container, and that are gone with it: those of the
# launcher of Kubeflow Pipelines, and those of Debian.
_GONE_WITH_THE_POD = (
    *("/gcs", "/minio", "/s3"),
    *("/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/var/lock"),
)
_ROOT = pathlib.Path(__file__).resolve().parent.parent

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True)
class Request:
    """What the caller asks for.

    Attributes:
      target: What will run the file.
      output: File to write.
      image: Image of all containers.
      pipeline_root: URI below which the cluster keeps the artifacts.
      data: Path or URI of the data, as the nodes see it.
      data_digest: Digest of the data; None computes it here.
      digest_options: Options with which `digest` reads data as this request does: `--config` and
        `--set`.
      serving_dir: Folder of the served versions, as the nodes see it.
      schema_location: Path or URI of the schema, as the nodes see it; None takes the one in the
        image.
      profile: Name of a profile.
      assignments: Values to set, `key=value` each.
      seed: Random seed; None leaves the configuration's.
      use_cache: Whether nodes may take their outputs from the cache of the cluster.
      expect_served: Whether a model is served, so that a run that finds none pushes nothing.
      default_resources: CPU and memory of nodes without resources of their own.
      resources: Resources of single nodes, `NODE=CPU,MEMORY` each.
      volumes: Volume claims to mount, `CLAIM=PATH` each.
      notify_secret: Secret with the addresses to notify, `SECRET=KEY`; None notifies nobody.
      dashboard_url: Address of the dashboard, for links in notifications.
    """

    target: Target
    output: pathlib.Path
    image: str
    pipeline_root: str
    data: str
    data_digest: str | None
    digest_options: tuple[str, ...]
    serving_dir: str
    schema_location: str | None
    profile: str
    assignments: tuple[str, ...]
    seed: int | None
    use_cache: bool
    expect_served: bool
    default_resources: tuple[str, str]
    resources: tuple[str, ...]
    volumes: tuple[str, ...]
    notify_secret: str | None
    dashboard_url: str | None


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A sound request.

    Attributes:
      config: Configuration, with the schema as the nodes see it.
      schema: What the images are.
      data: Data as the nodes see it.
      locations: Where artifacts and served versions go.
      resources: Resources by node.
      volumes: The claim of each volume, by its mount path.
      notify_secret: Secret with the addresses to notify.
      run_url: Address of a run in the dashboard, up to the id of the run; empty if unknown.
    """

    config: Config
    schema: ImageSchema
    data: RemoteData
    locations: RemoteLocations
    resources: dict[str, Resources]
    volumes: dict[str, str]
    notify_secret: NotifySecret | None
    run_url: str

    @property
    def name(self) -> str:
        """Name of the pipeline."""
        return pipeline_name(self.config, sample=False)

    @property
    def precision(self) -> str:
        """Precision of the training; nothing is known here of the cluster's processors."""
        asked = self.config.training.precision
        return "float32" if asked == "auto" else asked


def prepare(request: Request, notify: Callable[[str], None]) -> Prepared:
    """Checks the request; imports nothing heavy.

    Args:
      request: What the caller asks for.
      notify: Shows a line about what takes time or is unusual.

    Raises:
      UsageError: The request is not sound.
    """
    config = load_config(request.profile, request.assignments, seed=request.seed)
    _check_config(config)
    _check_output(request)
    _check_places(request)
    secret = _notify_secret(request)
    schema, schema_sha256 = read_schema(schema_path(config.schema_file))
    class_weights.check(config.training.class_weights, schema.class_names)
    location = _schema_location(request, config, schema_sha256)
    volumes = _each_once("--volume", map(_volume, request.volumes))
    mounted = ["/gcs"] if request.target == Target.VERTEX else list(volumes)
    _check_serving(request, mounted)
    _warn_of_unmounted(request, mounted, notify)
    resources = _resources(request, config)
    # Last: it may read all the data.
    digest = _digest(request, schema, schema_sha256, config, notify)
    return Prepared(
        config=config.model_copy(update={"schema_file": location}),
        schema=schema,
        data=RemoteData(request.data, digest, schema_sha256, asked_of(config, schema, [WHOLE])),
        locations=RemoteLocations(request.pipeline_root.rstrip("/"), request.serving_dir),
        resources=resources,
        volumes=volumes,
        notify_secret=secret,
        run_url=_run_url(request),
    )


def _notify_secret(request: Request) -> NotifySecret | None:
    text = request.notify_secret
    if text is None:
        return None
    if request.target == Target.VERTEX:
        raise ConfigurationError(
            "--notify-secret: Vertex AI has no secrets of Kubernetes; expected it with --target "
            "kubeflow alone. Leave it out, and let Google Cloud's monitoring tell you of runs."
        )
    matched = _SECRET.fullmatch(text)
    if not matched:
        # Not repeated: it may be an address.
        raise ConfigurationError(
            "--notify-secret: expected SECRET=KEY, the name of a Kubernetes secret and the key of "
            "the addresses in it, such as fashion-notify=addresses. The addresses themselves go "
            "into the secret alone."
        )
    return NotifySecret(*matched.groups())


def _run_url(request: Request) -> str:
    url = request.dashboard_url
    if url is None:
        return ""
    if request.notify_secret is None:
        raise ConfigurationError(
            "--dashboard-url: only notifications have links; expected --notify-secret beside it."
        )
    check_url(url, "--dashboard-url", "of the dashboard of Kubeflow Pipelines")
    return f"{url.rstrip('/')}/#/runs/details/"


def _check_config(config: Config) -> None:
    """Refuses what has no meaning on a cluster."""
    if config.serving.bucket is not None:
        raise ConfigurationError(
            f"serving.bucket={config.serving.bucket}: only `run` copies versions to a bucket; "
            "expected null. Copy the serving folder of the cluster by a job of its own, and add: "
            "--set serving.bucket=null"
        )
    _check_spans(config.spans)
    _check_engine(config.beam)
    if config.metadata != MetadataConfig():
        raise ConfigurationError(
            "metadata.uri: a cluster keeps its metadata itself; expected null. Add: --set "
            "metadata.uri=null"
        )


def _check_spans(spans: SpansConfig) -> None:
    """Refuses keys of spans, of the command line or of a configuration file."""
    usual = SpansConfig().model_dump()
    given = {key: value for key, value in spans.model_dump().items() if value != usual[key]}
    if not given:
        return
    named = ", ".join(f"spans.{key}={value}" for key, value in given.items())
    back = " ".join(f"--set spans.{key}={json.dumps(usual[key])}" for key in given)
    raise ConfigurationError(
        f"{named}: spans are settled where `run` reads them; expected none on a cluster. Give the "
        f"folder of one data set as --data and as data_location, and add: {back}"
    )


def _check_engine(beam: BeamConfig) -> None:
    # What it names is reached from the cluster alone.
    readiness.check_complete(beam)
    if beam.runner == "prism":
        raise ConfigurationError(
            "beam.runner=prism: Prism is a program of this machine, and the nodes of a cluster run "
            "elsewhere; expected beam.runner=local, or flink or portable with the "
            "beam.job_endpoint of an engine that the nodes reach. Change the table [beam], or add: "
            "--set beam.runner=local"
        )
    # Other engines do not need it, so it may stay.
    if beam.runner == "flink" and beam.flink_job_server_jar:
        raise ConfigurationError(
            "beam.flink_job_server_jar: a file of this machine would be the job server, and the "
            "nodes of a cluster run elsewhere; expected a job server that the nodes reach. Add: "
            "--set beam.flink_job_server_jar=null --set beam.job_endpoint=HOST:PORT, or without "
            "Flink: --set beam.runner=local"
        )


def _schema_location(request: Request, config: Config, schema_sha256: str) -> str:
    """Where the nodes find the schema: in their image, if it is the one of this project."""
    location, option = request.schema_location, "--schema-location"
    if location is None:
        in_image = hashlib.sha256((_ROOT / "schema" / "schema.pbtxt").read_bytes()).hexdigest()
        if schema_sha256 == in_image:
            return SCHEMA_IN_IMAGE
        raise ConfigurationError(
            f"schema_file {config.schema_file} differs from schema/schema.pbtxt, which is in the "
            f"image; expected {option} beside it. Copy the schema to a volume or a bucket that the "
            "nodes read, and name its place there."
        )
    paths.refuse_untold(location, option)
    paths.refuse_patterns(location, option)
    if not location.startswith(("/", "gs://")):
        raise ConfigurationError(
            f"{option} {location}: expected where the nodes find a copy of the schema. Give the "
            "absolute path on a volume that they mount, or a URI that begins with gs://."
        )
    return location


def _check_output(request: Request) -> None:
    suffix = request.target.suffix
    if request.output.suffix != suffix:
        raise ConfigurationError(
            f"-o {request.output}: {request.target} takes a {suffix} file; expected a name that "
            f"ends so, such as {request.output.with_suffix(suffix)}."
        )
    if not request.output.parent.is_dir():
        raise OutputError(
            f"-o {request.output}: {request.output.parent} is no folder; expected one that is "
            "there. Make it, or name another."
        )


def _check_places(request: Request) -> None:
    # The file repeats them, and so does the user interface of the cluster.
    for option, address in (
        ("--data", request.data),
        ("--pipeline-root", request.pipeline_root),
        ("--schema-location", request.schema_location),
    ):
        paths.refuse_secrets(address or "", option)
    if not _IMAGE.fullmatch(request.image):
        raise ConfigurationError(
            f"--image {request.image!r}: expected the name of an image, such as "
            "registry.example.org/image-pipeline:1.0. The Containerfile builds it."
        )
    if not request.pipeline_root.startswith(request.target.roots):
        raise ConfigurationError(
            f"--pipeline-root {request.pipeline_root}: {request.target} keeps artifacts in a "
            f"bucket; expected a URI that begins with {' or '.join(request.target.roots)}."
        )
    # Beam and TensorFlow would expand patterns in both.
    for option, place in (
        ("--pipeline-root", request.pipeline_root),
        ("--serving-dir", request.serving_dir),
    ):
        paths.refuse_untold(place, option)
        paths.refuse_patterns(place, option)
    if not request.serving_dir.startswith("/"):
        raise ConfigurationError(
            f"--serving-dir {request.serving_dir}: versions are published by renaming a folder; "
            "expected the absolute path of a folder on a volume that every node mounts."
        )
    if request.target == Target.VERTEX and request.volumes:
        raise ConfigurationError(
            "--volume: Vertex AI mounts no volume claims; expected none. Buckets are mounted "
            "below /gcs there."
        )


def _check_serving(request: Request, mounted: Sequence[str]) -> None:
    """Refuses a folder that is there in every container, so that a push into it seems to work."""
    place = request.serving_dir
    if _lies_below(place, _GONE_WITH_THE_POD) and not _lies_below(place, mounted):
        on_vertex = request.target == Target.VERTEX
        advice = "below /gcs" if on_vertex else "on a volume, and mount it with --volume CLAIM=PATH"
        raise ConfigurationError(
            f"--serving-dir {place}: each container has this folder for itself, and "
            "a pushed model would be lost with it; expected a folder that all runs share. Name one "
            f"{advice}."
        )


def _lies_below(place: str, folders: Iterable[str]) -> bool:
    path = pathlib.PurePosixPath(_normal(place))
    return any(path.is_relative_to(_normal(each)) for each in folders)


def _normal(path: str) -> str:
    """An absolute path without `..` and repeated slashes."""
    # POSIX leaves the meaning of two slashes at the beginning open, and Python keeps them.
    return "/" + os.path.normpath(path).lstrip("/")


def _warn_of_unmounted(
    request: Request, mounted: Sequence[str], notify: Callable[[str], None]
) -> None:
    places = [("--data", request.data), ("--serving-dir", request.serving_dir)]
    if request.schema_location is not None:
        places.append(("--schema-location", request.schema_location))
    for option, place in places:
        if place.startswith("/") and not _lies_below(place, mounted):
            notify(
                f"Warning: {option} {place} lies below none of "
                f"{', '.join(mounted) or 'the volumes'}: the nodes see it only where the cluster "
                "itself mounts it. --volume mounts a claim."
            )


def _digest(
    request: Request,
    schema: ImageSchema,
    schema_sha256: str,
    config: Config,
    notify: Callable[[str], None],
) -> str:
    _check_place(request)
    if request.data_digest is not None:
        return _checked(request)
    if not object_store.is_address(request.data) and not pathlib.Path(request.data).exists():
        raise _unknown_digest(request)
    notify(f"Reading {request.data} for its digest ...")
    try:
        source = find_source(request.data, notify, data=config.data)
        if source.window:
            raise DataError(
                f"--data {request.data} holds spans; expected one data set, since spans are "
                "settled where `run` reads them. Name one of the spans that has a test split."
            )
        return read_dataset(source, schema, schema_sha256, config, notify=notify).digest
    except (DataError, UnreachableError) as error:
        # What the store refuses to this machine, it may grant to the nodes.
        if not isinstance(error.__cause__, ObjectStoreError):
            raise
        notify(f"Note: {error}")
        raise _unknown_digest(request) from error


def _check_place(request: Request) -> None:
    if request.data in (AUTO, SAMPLE):
        raise DataError(
            f"--data {request.data}: a cluster learns from data of its own, and nothing falls "
            "back to the sample; expected the path of the data. Give it as the nodes see it."
        )
    if not request.data.startswith(("/", "gs://", "s3://")):
        raise DataError(
            f"--data {request.data}: expected where the nodes find the data. Give the absolute "
            "path on a volume that they mount, or a URI that begins with gs:// or s3://."
        )
    paths.refuse_untold(request.data, "--data")
    _check_outside(request)


def _check_outside(request: Request) -> None:
    """Refuses to write into the data: what a run makes would be part of the data of the next one.

    Raises:
      OutputError: The serving folder or the pipeline root is the data folder or lies in it.
    """
    data = _as_mounted(request.data)
    for option, place, name in (
        ("--serving-dir", request.serving_dir, "serving folder"),
        ("--pipeline-root", request.pipeline_root, "pipeline root"),
    ):
        if _lies_below(_as_mounted(place), [data]):
            raise OutputError(
                f"the {name} {place} is in the data folder {request.data}, and would become part "
                f"of the data; expected another folder. Choose one with {option}."
            )


def _as_mounted(place: str) -> str:
    """A path, or the one at which clusters mount an address: gs://bucket at /gcs/bucket."""
    if place.startswith("/"):
        return place
    scheme, _, rest = place.partition("://")
    return f"/{'gcs' if scheme == 'gs' else scheme}/{rest}"


def _unknown_digest(request: Request) -> DataError:
    return DataError(
        f"--data {request.data} cannot be read here, so its digest is not known; expected "
        f"--data-digest beside it. Where the data can be read, this prints it: "
        f"{_digest_command(request)}"
    )


def _checked(request: Request) -> str:
    digest = str(request.data_digest)
    if _DIGEST.fullmatch(digest):
        return digest
    raise ConfigurationError(
        f"--data-digest {digest!r}: expected a SHA-256, 64 hexadecimal digits in lower case. "
        f"This prints it: {_digest_command(request)}"
    )


def _digest_command(request: Request) -> str:
    # A bucket has the same address everywhere; of a path, only the nodes' is known.
    data = request.data if object_store.is_address(request.data) else "PATH"
    command = ["python3", "pipeline_runner.py", "digest", *request.digest_options, "--data", data]
    return shlex.join(command)


def _resources(request: Request, config: Config) -> dict[str, Resources]:
    nodes = (*expected_nodes(config.tuner.enabled, config.robustness.enabled), REVIEW)
    if request.notify_secret is not None:
        nodes = (*nodes, NOTIFICATION)
    cpu, memory = request.default_resources
    default = _quantities(cpu, memory, f"--cpu {cpu} --memory {memory}")
    given = (_own_resources(text, nodes) for text in request.resources)
    own = _each_once("--resources", given)
    return {node: own.get(node, default) for node in nodes}


def _each_once(option: str, given: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for key, value in given:
        if key in values:
            raise ConfigurationError(
                f"{option} is given twice for {key}; expected once. Leave one of them out."
            )
        values[key] = value
    return values


def _own_resources(text: str, nodes: tuple[str, ...]) -> tuple[str, Resources]:
    matched = re.fullmatch(r"([^=]+)=([^,]+),([^,]+)", text)
    if not matched:
        raise ConfigurationError(
            f"--resources {text}: expected NODE=CPU,MEMORY, such as Trainer=8,16Gi."
        )
    node, cpu, memory = matched.groups()
    if node not in nodes:
        raise ConfigurationError(
            f"--resources {text}: this graph has no node {node!r}"
            f"{nearest(node, nodes)}; expected one of {', '.join(nodes)}."
        )
    return node, _quantities(cpu, memory, f"--resources {text}")


def _quantities(cpu: str, memory: str, option: str) -> Resources:
    try:
        return Resources(cpu, memory)
    except QuantityError as error:
        raise ConfigurationError(f"{option}: {error}.") from error


def _volume(text: str) -> tuple[str, str]:
    """The mount path of a volume, and its claim."""
    matched = _VOLUME.fullmatch(text)
    path = _normal(matched[2]) if matched else "/"
    if not matched or path == "/":
        raise ConfigurationError(
            f"--volume {text}: expected CLAIM=PATH, the name of a volume claim and the absolute "
            "path to mount it at, such as fashion-mnist=/mnt/fashion-mnist. Kubeflow names the "
            "pod's volume after the claim, so its name has at most 63 lower-case letters, digits "
            "and hyphens, and no dots."
        )
    return path, matched[1]
