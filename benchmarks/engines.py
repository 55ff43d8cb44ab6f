"""Whether other engines than the local one make the same of the same images, and what they cost.

The nodes that read images run on the local engine, on Prism and on a Flink cluster
(`benchmarks.cluster`); the other nodes run as always. Each node runs in a process of its own. The
digests of its artifacts, and of the figures of Evaluator, are compared with those of the local run.

With `--kills`, a task manager and then a worker pool are killed with SIGKILL in the middle of a
node, once with a Flink that begins jobs again and once with one that does not. The node has to end
right, or to fail; the benchmark fails where a node ends well with other digests.

- `seconds`: of each node, by engine and size.
- `peak_memory`: most anonymous memory of each kind of process, in bytes, by engine and size.
- `equal`: whether all digests are those of the local run, by engine and size.
- `kills`: how a node ended of which something was killed.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import pathlib
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from benchmarks import cluster, command, processes, scale, trainings
from benchmarks.cluster import Cluster, Memory, Programs
from benchmarks.processes import MeasurementError
from benchmarks.scale import Case
from benchmarks.session import Session
from benchmarks.tables import Table
from cli import command_line
from operations import temporary
from pipeline import config as configurations
from pipeline.config import BeamConfig
from pipeline.errors import ConfigurationError
from pipeline.locations import TEMPORARY_FOLDER, Locations
from pipeline.nodes import NODES
from pipeline.records import digests, evaluation, metadata
from pipeline.records.outcomes import NodeStatus
from pipeline.runners import readiness

NAME = "engines"
LOCAL, PRISM, FLINK = "local", "prism", "flink"
# The nodes that use Beam.
BEAM_NODES = ("ExampleGen", "StatisticsGen", "DataGate", "Transform", "Predictions", "Evaluator")
SIZES, SHORT_SIZES = "70000", "3000"
KILLED = ("task manager 2", "worker pool 2")
# The node that is disturbed, and the folder below its output that shows that it is at work.
_DISTURBED, _AT_WORK = "ExampleGen", "unfinished-*"
_RETRIES = 3
_RUN_ID = "engines"
_SECONDS_TO_RESTART, _SECONDS_TO_BEGIN = 2, 300
_MIB = 2**20
_ASSIGNMENTS = (
    "training.epochs=1",
    "training.widths=[8]",
    "gates.accuracy=0",
    "gates.class_recall=0",
)

app = command.application()


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.engines --prism ~/go/bin/prism`

`python -m benchmarks.engines --flink flink --job-server job-server --kills`

`python -m benchmarks.engines --short` sees that it works, on the local engine alone.

docs/engines.md says how to get Prism, Flink and the job server.""",
)
def main(
    prism: Annotated[
        pathlib.Path | None, typer.Option(help="Prism's executable; none leaves it out.")
    ] = None,
    flink: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of Flink's jars; needs root. None leaves Flink out."),
    ] = None,
    job_server: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of the jars of Beam's job server for Flink."),
    ] = None,
    kills: Annotated[
        bool, typer.Option("--kills", help="Kill task managers and worker pools, too.")
    ] = False,
    sizes: Annotated[
        str | None, typer.Option(metavar=SIZES, help="Numbers of images, with the test split.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of made images.")] = 1,
    data: command.DataFrom = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Compare what engines make of the same images, and what they cost."""
    programs = _programs(flink, job_server)
    if kills and programs is None:
        raise ConfigurationError(
            "--kills: found no --flink; expected a cluster whose parts can be killed. Name the "
            "folder of Flink's jars with --flink."
        )
    readiness.check_reachable(_on_prism(prism) if prism else BeamConfig())
    images, schema = trainings.checked(command.data_argument(data, short), sample_serves=True)
    config = configurations.load_config("smoke", _ASSIGNMENTS, sample=images.sample)
    counts = command.numbers(sizes or (SHORT_SIZES if short else SIZES), "--sizes", least=1000)
    configuration = {
        "short": short,
        "sizes": counts,
        "engines": [LOCAL, *([PRISM] if prism else []), *([FLINK] if programs else [])],
        "kills": kills,
        "seed": seed,
        "trained": config.model_dump(mode="json"),
    }
    session = Session(NAME, configuration, images, record)
    config = config.model_copy(update={"schema_file": str(trainings.ROOT / config.schema_file)})
    for count in counts:
        originals = pathlib.Path(images.location)
        with _ended_by_signals(), scale.made_case(originals, schema, config, count, seed) as case:
            for repeat in _compared(case, prism, programs, kills):
                session.add({"images": count, **repeat}, _line(count, repeat))
    answer = figures(session.repeats)
    session.end(answer, tables(answer), as_json)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Has SIGTERM end all processes and namespaces, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _programs(flink: pathlib.Path | None, job_server: pathlib.Path | None) -> Programs | None:
    if flink is None and job_server is None:
        return None
    if flink is None or job_server is None or not all(map(_has_jars, (flink, job_server))):
        raise ConfigurationError(
            "--flink and --job-server: expected two folders with jars, Flink's own and those of "
            "Beam's job server for it. docs/engines.md says how to get both."
        )
    return Programs(flink.resolve(), job_server.resolve())


def _has_jars(folder: pathlib.Path) -> bool:
    return any(folder.glob("*.jar"))


def _on_prism(prism: pathlib.Path) -> BeamConfig:
    return BeamConfig(runner="prism", prism_location=str(prism))


def _on_flink(endpoint: str) -> BeamConfig:
    return BeamConfig(
        runner="flink",
        job_endpoint=endpoint,
        environment="pool",
        worker_pool=f"localhost:{cluster.POOL_PORT}",
        parallelism=2,
    )


def _compared(
    case: Case, prism: pathlib.Path | None, programs: Programs | None, kills: bool
) -> Iterator[dict[str, Any]]:
    """Runs all nodes on each engine; yields what each run took, and whether it is as the first."""
    local = _measured(_on(case, LOCAL, BeamConfig()), LOCAL, NODES)
    yield {**local, "equal": True}
    if prism:
        found = _measured(_on(case, PRISM, _on_prism(prism)), PRISM, NODES)
        yield {**found, "equal": found["digests"] == local["digests"]}
    if programs is None:
        return
    folder = pathlib.Path(case.root).parent / "cluster"
    for retries in (_RETRIES, 0) if kills else (_RETRIES,):
        with _cluster(programs, folder, retries) as running:
            on_flink = _on(case, FLINK, _on_flink(running.job_endpoint))
            if retries:
                found = _measured(on_flink, FLINK, NODES)
                yield {**found, "equal": found["digests"] == local["digests"]}
            for name in KILLED if kills else ():
                disturbed = _disturbed(running, on_flink, name, local["digests"])
                yield {**disturbed, "retries": retries}


@contextlib.contextmanager
def _cluster(programs: Programs, folder: pathlib.Path, retries: int) -> Iterator[Cluster]:
    place = pathlib.Path(tempfile.mkdtemp(prefix="cluster-", dir=folder.parent))
    running = Cluster(programs, place, retries)
    with running.running():
        yield running


def _on(case: Case, name: str, beam: BeamConfig) -> Case:
    """The same images on another engine, with a folder of its own."""
    config = case.config.model_copy(update={"beam": beam})
    return Case(case.data, case.schema, config, f"{case.root}-{name}")


def _measured(case: Case, engine: str, nodes: Sequence[str]) -> dict[str, Any]:
    memory, seconds, found = Memory(), {}, {}
    for node in nodes:
        watched = memory.watching() if node in BEAM_NODES else contextlib.nullcontext()
        with watched:
            took, digested = processes.in_fresh_process(run_node, case, node)
        seconds[node] = took
        found.update(digested)
    measured = {node: seconds[node] for node in BEAM_NODES if node in seconds}
    return {
        "engine": engine,
        "seconds": measured,
        "peak_memory": dict(memory.peaks),
        "digests": found,
    }


def _disturbed(
    running: Cluster, case: Case, name: str, expected: Mapping[str, str]
) -> dict[str, Any]:
    """Runs a node again, kills a process in the middle of it, and starts that again."""
    # In a folder of its own: TFX runs no node twice in the same run.
    case = dataclasses.replace(case, root=f"{case.root}-{uuid.uuid4().hex}")
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        disturbance = pool.submit(_disturb, running, name, case)
        try:
            _, found = processes.in_fresh_process(run_node, case, _DISTURBED)
            outcome, message = "right", ""
        except Exception as error:
            found, outcome = {}, "failed"
            message = str(error).strip().splitlines()[-1]
        seconds = time.monotonic() - began
        # Raises where nothing was killed: then the outcome means nothing.
        disturbance.result()
    if any(expected[key] != digest for key, digest in found.items()):
        raise MeasurementError(
            f"{_DISTURBED} ended well with other digests after {name} was killed; expected the "
            "digests of the local run or a failure. Do not use this engine."
        )
    return {
        "engine": FLINK,
        "killed": name,
        "outcome": outcome,
        "message": message,
        "seconds": {_DISTURBED: seconds},
        "equal": outcome == "right",
    }


def _disturb(running: Cluster, name: str, case: Case) -> None:
    """Kills a process while the first shards are being written."""
    place = Locations(pathlib.Path(case.root)).artifacts / _DISTURBED
    cluster.wait_until(
        lambda: any(place.glob(f"**/{_AT_WORK}")), "the first shard", _SECONDS_TO_BEGIN
    )
    running.kill(name)
    time.sleep(_SECONDS_TO_RESTART)
    running.start(name)


def run_node(case: Case, node: str) -> tuple[float, dict[str, str]]:
    """Runs one node in this process, on the engine of the case; those before it have run.

    Args:
      case: of the graph.
      node: its id.

    Returns:
      Its seconds, and the digests of its artifacts by node and output.

    Raises:
      MeasurementError: The node did not end well.
    """
    from benchmarks.single_node import SingleNodeRunner
    from pipeline.runners import dag_runners, engine

    locations = Locations(pathlib.Path(case.root))
    temporary_folder = locations.root / TEMPORARY_FOLDER
    temporary_folder.mkdir(parents=True)
    with (
        temporary.folder(temporary_folder),
        engine.serving(case.config.beam if node in BEAM_NODES else BeamConfig()) as serving,
        dag_runners.nodes_on(serving.arguments),
    ):
        SingleNodeRunner(node, _RUN_ID).run(scale.graph_of(case, locations))
    store = metadata.open_store(locations.metadata)
    ended = metadata.read_nodes(store, scale.NAME, _RUN_ID, [node])[node]
    if ended.status != NodeStatus.COMPLETE:
        raise MeasurementError(
            f"{node} ended as {ended.status}; expected {NodeStatus.COMPLETE}. Run the pipeline on "
            "the same data to see why."
        )
    outputs = {key: pathlib.Path(found[0].uri) for key, found in ended.outputs.items() if found}
    return ended.seconds, {
        f"{node}.{key}": _digest(key, folder, case)
        for key, folder in outputs.items()
        if node in BEAM_NODES and key != "blessing"
    }


def _digest(key: str, folder: pathlib.Path, case: Case) -> str:
    if key != "evaluation":
        return digests.artifact_digest(key, folder)
    names = case.schema.class_names
    slicings = case.config.gates.slicings()
    measured = evaluation.read_evaluation(str(folder), names, slicings)
    return digests.figures_digest(measured.model_dump(mode="json"))


def figures(repeats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was measured, by engine and size, and how the kills ended."""
    answer: dict[str, Any] = {"seconds": {}, "peak_memory": {}, "equal": {}}
    for repeat in repeats:
        if "killed" in repeat:
            continue
        for key, values in answer.items():
            values.setdefault(repeat["engine"], {})[str(repeat["images"])] = repeat[key]
    kept = ("images", "killed", "retries", "outcome", "message", "seconds")
    kills = [repeat for repeat in repeats if "killed" in repeat]
    return {**answer, "kills": [{key: repeat[key] for key in kept} for repeat in kills]}


def tables(answer: dict[str, Any]) -> list[Table]:
    """Seconds by node, memory by process, and the kills."""
    shown = []
    for engine, by_size in answer["seconds"].items():
        for size, seconds in by_size.items():
            equal = "equal" if answer["equal"][engine][size] else "DIFFERENT"
            peaks = answer["peak_memory"][engine][size]
            rows = [[node, f"{value:.1f} s"] for node, value in seconds.items()]
            rows += [[role, f"{peak / _MIB:,.0f} MiB"] for role, peak in sorted(peaks.items())]
            shown.append(Table([f"{engine}, {int(size):,} images", equal], rows))
    rows = [
        [kill["killed"], str(kill["retries"]), kill["outcome"], f"{kill['images']:,}"]
        for kill in answer["kills"]
    ]
    return [*shown, *([Table(["killed", "retries", "outcome", "images"], rows)] if rows else [])]


def _line(count: int, repeat: dict[str, Any]) -> str:
    if "killed" in repeat:
        return f"{count:,} images, {repeat['killed']} killed: {repeat['outcome']}"
    total = sum(repeat["seconds"].values())
    equal = "equal" if repeat["equal"] else "DIFFERENT"
    return f"{count:,} images, {repeat['engine']}: {total:.1f} s, digests {equal}"


if __name__ == "__main__":
    command_line.start(app)
