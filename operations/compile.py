"""Compiles the graph to the file that Kubeflow Pipelines or Vertex AI runs."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import shlex
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from rich.table import Table

from cli.render.progress import output_to_log
from cli.render.runs import make_console
from components.image_schema import ImageSchema
from pipeline import config as configuration
from pipeline import paths
from pipeline.datasets import data as data_sets
from pipeline.errors import ConfigurationError, DataError, OutputError
from pipeline.installation import packages
from pipeline.locations import RemoteLocations, write_whole
from pipeline.nodes import expected_nodes
from pipeline.runners.resources import QuantityError, Resources

KUBEFLOW, VERTEX = "kubeflow", "vertex"
# Where the image has the schema; the Containerfile puts it there.
SCHEMA_IN_IMAGE = "/pipeline/schema/schema.pbtxt"
_SUFFIXES = {KUBEFLOW: ".yaml", VERTEX: ".json"}
_ROOTS = {KUBEFLOW: ("gs://", "s3://", "minio://"), VERTEX: ("gs://",)}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_IMAGE = re.compile(r"[a-z0-9]\S*")
_ROOT = pathlib.Path(__file__).resolve().parent.parent

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True)
class Request:
    """What the caller asks for.

    Attributes:
      target: `kubeflow` or `vertex`.
      output: the file to write.
      image: of all containers.
      pipeline_root: URI below which the cluster keeps the artifacts.
      data: folder of the four IDX files, as the nodes see it.
      data_digest: of what it holds; None reads it here.
      serving_dir: folder of the served versions, as the nodes see it.
      profile: name of a profile.
      assignments: `key=value` each.
      seed: of everything random; None leaves the configuration's.
      default_resources: of the nodes that have none of their own.
      resources: `NODE=CPU,MEMORY` each.
      volumes: `CLAIM=PATH` each.
    """

    target: str
    output: pathlib.Path
    image: str
    pipeline_root: str
    data: str
    data_digest: str | None
    serving_dir: str
    profile: str
    assignments: tuple[str, ...]
    seed: int | None
    default_resources: tuple[str, str]
    resources: tuple[str, ...]
    volumes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """A request that has been found sound."""

    config: configuration.Config
    schema: ImageSchema
    data: data_sets.RemoteData
    locations: RemoteLocations
    resources: dict[str, Resources]
    volumes: dict[str, str]

    @property
    def name(self) -> str:
        return configuration.pipeline_name(self.config, sample=False)


def compile_graph(request: Request, notify: Callable[[str], None]) -> dict[str, Any]:
    """Compiles the graph, and writes the file whole or not at all.

    Args:
      request: what is asked for.
      notify: is told, in one line, of what takes time.

    Returns:
      What was compiled, as `print_compiled` prints it.

    Raises:
      UsageError: where something that was asked for is not sound; nothing was written.
    """
    prepared = _prepare(request, notify)
    notify("Loading TFX and Kubeflow's compiler, about ten seconds ...")
    with output_to_log(pathlib.Path(os.devnull), verbose=False):
        text = _compiled(request, prepared)
    try:
        write_whole(request.output, text)
    except OSError as error:
        raise OutputError(
            f"{request.output} cannot be written ({error.strerror}); expected a file in a folder "
            "that is there and can be written to. Name another with -o."
        ) from error
    return _described(request, prepared)


def print_compiled(compiled: dict[str, Any], as_json: bool) -> None:
    """Prints what was compiled and how to go on; or all of it as JSON."""
    if as_json:
        print(json.dumps(compiled, indent=1))
        return
    console = make_console()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("node", "cpu", "memory"):
        table.add_column(heading, justify="left" if heading == "node" else "right")
    for node, resources in compiled["nodes"].items():
        table.add_row(node, resources["cpu"], resources["memory"])
    console.print(table)
    lines = [
        f"\nPipeline    {compiled['pipeline']}, profile {compiled['profile']}, "
        f"trained in {compiled['precision']}",
        f"Image       {compiled['image']}",
        *(f"Parameter   {name} = {value}" for name, value in compiled["parameters"].items()),
        f"File        {compiled['file']}",
        f"Submit with {compiled['submit']}",
    ]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _prepare(request: Request, notify: Callable[[str], None]) -> _Prepared:
    config = configuration.load(request.profile, request.assignments, seed=request.seed)
    _check_config(config)
    _check_output(request)
    _check_places(request)
    schema, schema_sha256 = data_sets.read_schema(str(_ROOT / config.schema_file))
    volumes = _each_once("--volume", map(_volume, request.volumes))
    _tell_of_unmounted(request, volumes, notify)
    resources = _resources(request, config)
    # Last, since it may take reading all the data.
    digest = _digest(request, schema, schema_sha256, notify)
    return _Prepared(
        config=config.model_copy(update={"schema_file": SCHEMA_IN_IMAGE}),
        schema=schema,
        data=data_sets.RemoteData(request.data, digest, schema_sha256),
        locations=RemoteLocations(request.pipeline_root.rstrip("/"), request.serving_dir),
        resources=resources,
        volumes=volumes,
    )


def _check_config(config: configuration.Config) -> None:
    """Refuses what has no meaning on a cluster."""
    if config.schema_file != configuration.Config.model_fields["schema_file"].default:
        raise ConfigurationError(
            f"--set schema_file={config.schema_file}: the nodes read the schema of their image; "
            "expected schema/schema.pbtxt. Change that file and build the image again."
        )
    if config.spans != configuration.SpansConfig():
        raise ConfigurationError(
            "--set spans: spans are settled where `run` reads them; expected none of these keys. "
            "On a cluster, give the folder of one data set as --data and as data_location."
        )


def _check_output(request: Request) -> None:
    suffix = _SUFFIXES[request.target]
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
    roots = _ROOTS[request.target]
    if not _IMAGE.fullmatch(request.image):
        raise ConfigurationError(
            f"--image {request.image!r}: expected the name of an image, such as "
            "registry.example.org/image-pipeline:1.0. The Containerfile builds it."
        )
    if not request.pipeline_root.startswith(roots):
        raise ConfigurationError(
            f"--pipeline-root {request.pipeline_root}: {request.target} keeps artifacts in a "
            f"bucket; expected a URI that begins with {' or '.join(roots)}."
        )
    # Beam and TensorFlow take both for what they match.
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
    if request.target == VERTEX and request.volumes:
        raise ConfigurationError(
            "--volume: Vertex AI mounts no volume claims; expected none. Buckets are mounted "
            "below /gcs there."
        )


def _tell_of_unmounted(
    request: Request, volumes: dict[str, str], notify: Callable[[str], None]
) -> None:
    mounted = ["/gcs"] if request.target == VERTEX else list(volumes)
    for option, place in (("--data", request.data), ("--serving-dir", request.serving_dir)):
        path = pathlib.PurePosixPath(place)
        if path.is_absolute() and not any(path.is_relative_to(each) for each in mounted):
            notify(
                f"{option} {place} lies below none of {', '.join(mounted) or 'the volumes'}: the "
                "nodes see it only where the cluster itself mounts it. --volume mounts a claim."
            )


def _digest(
    request: Request,
    schema: ImageSchema,
    schema_sha256: str,
    notify: Callable[[str], None],
) -> str:
    if request.data in (data_sets.AUTO, data_sets.SAMPLE):
        raise DataError(
            f"--data {request.data}: a cluster learns from data of its own, and nothing falls "
            "back to the sample; expected the folder of the four IDX files, as the nodes see it."
        )
    if not request.data.startswith(("/", "gs://")):
        raise DataError(
            f"--data {request.data}: expected where the nodes find the folder of the four IDX "
            "files: the absolute path on a volume that they mount, or a URI that begins with gs://."
        )
    paths.refuse_untold(request.data, "--data")
    if request.data_digest is not None:
        return _checked(request.data_digest)
    if not pathlib.Path(request.data).is_dir():
        raise DataError(
            f"--data {request.data} cannot be read here, so its digest is not known; expected "
            "--data-digest beside it. docs/kubeflow.md says how to get it."
        )
    notify(f"Reading {request.data} for its digest ...")
    source = data_sets.find(request.data, notify)
    if source.window:
        raise DataError(
            f"--data {request.data} holds spans; expected the folder of the four IDX files, since "
            "spans are settled where `run` reads them. Name one of the spans that has all four."
        )
    return data_sets.read(source, schema, schema_sha256).digest


def _checked(digest: str) -> str:
    if _DIGEST.fullmatch(digest):
        return digest
    raise ConfigurationError(
        f"--data-digest {digest!r}: expected a SHA-256, 64 hexadecimal digits in lower case. "
        "docs/kubeflow.md says how to get it."
    )


def _resources(request: Request, config: configuration.Config) -> dict[str, Resources]:
    nodes = expected_nodes(config.tuner.enabled, config.robustness.enabled)
    cpu, memory = request.default_resources
    default = _quantities(cpu, memory, f"--cpu {cpu} --memory {memory}")
    given = (_own_resources(text, nodes) for text in request.resources)
    own = _each_once("--resources", given)
    return {node: own.get(node, default) for node in nodes}


def _each_once(option: str, given: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key, value in given:
        if key in found:
            raise ConfigurationError(
                f"{option} is given twice for {key}; expected once. Leave one of them out."
            )
        found[key] = value
    return found


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
            f"{configuration.nearest(node, nodes)}; expected one of {', '.join(nodes)}."
        )
    return node, _quantities(cpu, memory, f"--resources {text}")


def _quantities(cpu: str, memory: str, option: str) -> Resources:
    try:
        return Resources(cpu, memory)
    except QuantityError as error:
        raise ConfigurationError(f"{option}: {error}.") from error


def _volume(text: str) -> tuple[str, str]:
    """The path that a volume is mounted at, and its claim."""
    matched = re.fullmatch(r"([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)=(/[^=]+)", text)
    if not matched:
        raise ConfigurationError(
            f"--volume {text}: expected CLAIM=PATH, the name of a volume claim and the absolute "
            "path to mount it at, such as fashion-mnist=/mnt/fashion-mnist."
        )
    claim, path = matched.groups()
    return path.rstrip("/"), claim


def _compiled(request: Request, prepared: _Prepared) -> str:
    # Here and not above: refusals answer without TFX.
    from pipeline import dag
    from pipeline.runners import engine, kubeflow

    graph = dag.create_pipeline(
        prepared.name,
        prepared.config,
        prepared.data,
        prepared.schema,
        prepared.locations,
        _precision(prepared.config),
        # Nor is it known how they add.
        {},
        # The nodes run in the image, whatever compiles the graph.
        packages.of_image(),
        engine.NODE_ARGUMENTS,
    )
    job = kubeflow.pipeline_job(graph, request.image, prepared.resources)
    if request.target == VERTEX:
        return json.dumps(job, indent=1, sort_keys=True) + "\n"
    return kubeflow.as_yaml(job["pipelineSpec"], prepared.volumes)


def _precision(config: configuration.Config) -> str:
    """What training computes in: which processors the cluster has is not known here."""
    asked = config.training.precision
    return "float32" if asked == "auto" else asked


def _described(request: Request, prepared: _Prepared) -> dict[str, Any]:
    return {
        "file": str(request.output),
        "target": request.target,
        "pipeline": prepared.name,
        "profile": prepared.config.profile,
        "image": request.image,
        "pipeline_root": prepared.locations.artifacts,
        "serving_dir": prepared.locations.serving,
        "precision": _precision(prepared.config),
        "parameters": {
            "data_location": prepared.data.location,
            "data_digest": prepared.data.digest,
            "seed": prepared.config.seed,
        },
        "nodes": {node: dataclasses.asdict(found) for node, found in prepared.resources.items()},
        "submit": _submit_command(request, prepared),
    }


def _submit_command(request: Request, prepared: _Prepared) -> str:
    file, name, root = map(
        _literal, (str(request.output), prepared.name, prepared.locations.artifacts)
    )
    if request.target == VERTEX:
        code = (
            "from google.cloud import aiplatform; aiplatform.PipelineJob("
            f"display_name={name}, template_path={file}).submit()"
        )
    else:
        code = (
            "import kfp; kfp.Client().create_run_from_pipeline_package("
            f"{file}, pipeline_root={root}, experiment_name={name})"
        )
    return f".venv/bin/python -c {shlex.quote(code)}"


def _literal(text: str) -> str:
    """The text in Python, in double quotes, which need no escape inside those of the shell."""
    # What Python reads in place of JSON's escape of an emoji is none.
    return json.dumps(text, ensure_ascii=False)
