"""The commands whose writes are swept, and what has to hold whatever goes wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydantic
from ml_metadata.proto import metadata_store_pb2 as mlmd

from cli import doctor
from components.notifications import sending
from components.pusher import versions
from components.pusher.served import UnreadableModelError, read_version
from operations import compile, preparation, verify
from operations.compile_request import Request as CompileRequest
from operations.initialization import writing
from operations.run import _new_id
from operations.scheduling import arrivals, look
from operations.scheduling.plan import Target
from operations.scheduling.state import read_state
from operations.scheduling.unit import Unit
from operations.targets import Target as ClusterTarget
from pipeline.datasets import download
from pipeline.installation import bill_of_materials, packages, virtual_environment
from pipeline.locations import Locations
from pipeline.records import baseline, history, metadata
from tests.faults import stubs
from tests.faults.injection import Operation
from tests.made_runs import Past
from tests.operations.scheduling import conftest as world

# What differs from one time to the next in the names of files.
_RANDOM = r"(?<=\.)[0-9a-f]{16}$|\d+-[0-9a-f]{12}|(?<=\.verify-)\w+|(?<=-)[a-z0-9_]{8}$"
_NUMBERS = re.compile(rf"{_RANDOM}|\d{{8}}-\d{{6}}|\d+")
_ORDERED = re.compile(r"\d{8}-\d{6}|\d+")
# What a check looks for in what a command printed.
LOOKED_FOR = ("is complete (pushed)", "it is the same model", "could not be started")


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
      code: Exit code; negative where it was killed.
      told: What it printed.
      tidied: Whether it could remove files in the end: not where the disk fails for good.
    """

    code: int
    told: str
    tidied: bool = True

    @property
    def killed(self) -> bool:
        """Whether a signal ended it."""
        return self.code < 0


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A command in a folder.

    Attributes:
      build: Makes the folder before the command.
      act: The command; returns its exit code.
      good: Exit codes of the command where nothing goes wrong.
      check: What is wrong in the folder after a fault, given the folder before it.
      good_again: Exit codes of the same command afterwards, without a fault.
      check_again: What is wrong in the folder then.
      about: Functions whose operations go wrong; by default those of all.
      may_leave: Paths of what the next run or `clean` removes or uses, if this command does not.
    """

    build: Callable[[Path], object]
    act: Callable[[Path], int]
    good: tuple[int, ...] = (0,)
    check: Callable[[Path, Path, Ended], list[str]] = lambda *_: []
    good_again: tuple[int, ...] = (0,)
    check_again: Callable[[Path, Path, Ended], list[str]] = lambda *_: []
    about: tuple[str, ...] = ("",)
    may_leave: tuple[str, ...] = ()

    def is_about(self, operation: Operation) -> bool:
        """Whether an operation is to go wrong here; the others do so in another scenario."""
        return any(each in line for each in self.about for line in operation.functions)


def names(folder: Path) -> set[str]:
    """The names of all files and folders, without what differs from one time to the next."""
    return {nameless(path.relative_to(folder).as_posix()) for path in folder.rglob("*")}


def nameless(path: str) -> str:
    """A path without what differs from one time to the next."""
    return _NUMBERS.sub("N", path)


def in_order(paths: Sequence[str]) -> list[str]:
    """Paths with what differs from one time to the next replaced by its place in the order.

    So two runs stay two, and the second of them the second.
    """
    found = {text for path in paths for text in _NUMBERS.findall(path) if _ORDERED.fullmatch(text)}
    places = {text: str(n) for n, text in enumerate(sorted(found, key=lambda t: (len(t), t)))}
    return [_NUMBERS.sub(lambda match: f"N{places.get(match[0], '')}", path) for path in paths]


def executions(store: Path) -> object:
    """How the executions stand that an ML Metadata store knows; None where it cannot be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as opened:
            columns = "type_id, last_known_state"
            found = opened.execute(f"SELECT {columns} FROM Execution ORDER BY id").fetchall()
            return tuple(found)
    except sqlite3.Error:
        return store.stat().st_size


# ---------------------------------------------------------------- pipelines


def _locations(folder: Path) -> Locations:
    return Locations(folder / "outputs" / stubs.NAME)


def _two_runs(folder: Path) -> Past:
    locations = _locations(folder)
    past = Past(locations, stubs.template(locations))
    for number, model in enumerate(("a", "b"), 1):
        past.run(f"2026010{number}-120000", model)
    return past


def _without_store(folder: Path) -> None:
    """A lost store, and a copy of the served model that a killed run left half made."""
    _two_runs(folder)
    locations = _locations(folder)
    locations.metadata.unlink()
    number, digest = max(_versions(folder).items())
    half = locations.artifacts / baseline.SERVED_FOLDER / "model" / f"{number}-{digest[:12]}"
    half.mkdir(parents=True)
    (half / "golden.npz").write_text("half")


def _by_hand(folder: Path) -> None:
    """A served version without kept files, whose artifact is known."""
    _two_runs(folder)
    locations = _locations(folder)
    for version in versions.served_versions(locations.serving):
        shutil.rmtree(versions.kept_folder(locations.serving, version))


def _cut_off(folder: Path) -> None:
    """A run that was killed while it published, with all that it can leave."""
    past, locations = _two_runs(folder), _locations(folder)
    begun = stubs.template(locations).changed(
        run_id="20260103-120000",
        sequence=3,
        status="interrupted",
        verdict="none",
        seconds=None,
        pushed_version=None,
        served_version=None,
    )
    run = locations.runs / begun.run_id
    (run / "tmp").mkdir(parents=True)
    (run / "tmp" / "reserve").write_bytes(b"0" * 100)
    begun.write(run)
    for name in (".receipt.json.0123456789abcdef", ".review.html.0123456789abcdef"):
        (run / name).write_text("half")
    kind = past.store.put_execution_type(mlmd.ExecutionType(name="Trainer"))
    left = mlmd.Execution(type_id=kind, last_known_state=mlmd.Execution.RUNNING)
    pipeline = past.store.get_context_by_type_and_name("pipeline", locations.root.name)
    number, _, _ = past.store.put_execution(left, [], [pipeline])
    half = locations.artifacts / "Trainer" / "model" / str(number)
    half.mkdir(parents=True)
    (half / "half").write_text("half a model")
    working = locations.artifacts / "Trainer" / ".system" / "stateful_working_dir" / "17"
    working.mkdir(parents=True)
    (working / "x").write_text("x")
    stubs.write_export(locations.serving / ".incoming-99-1" / "export", "half")
    kept = versions.kept_folder(locations.serving, 99)
    kept.mkdir()
    (kept / "golden.npz").write_text("x")
    notes = locations.serving / ".rollbacks"
    notes.mkdir()
    (notes / "99.json").write_text("{}")


def _run(folder: Path) -> int:
    output_dir = folder / "outputs"
    return stubs.command("run", "--force", "--data", "sample", "--output-dir", output_dir)


def _run_untold(folder: Path) -> int:
    """A run of which nobody can be told: the log gets a line after its end."""
    os.environ[sending.ADDRESSES_VARIABLE] = "json://localhost"
    return _run(folder)


def _resume(folder: Path) -> int:
    return stubs.command("resume", "--output-dir", folder / "outputs")


def _versions(folder: Path) -> dict[int, str]:
    serving = _locations(folder).serving
    return {
        number: versions.content_digest(serving / str(number))
        for number in versions.served_versions(serving)
    }


def _flaws_of_serving(before: Path, folder: Path, may_go: bool = False) -> list[str]:
    """Every version is whole, and those that were there before are what they were."""
    flaws, serving = [], _locations(folder).serving
    now = _versions(folder)
    for number, digest in _versions(before).items():
        if number not in now:
            newest = max(_versions(before))
            if not may_go or number == newest:
                flaws.append(f"version {number} is gone")
        elif now[number] != digest:
            flaws.append(f"version {number} has changed")
    for number in now:
        try:
            found = read_version(serving, number)
        except UnreadableModelError as error:
            flaws.append(f"version {number} is not whole: {error}")
            continue
        if number not in _versions(before) and not found.kept:
            flaws.append(f"version {number} lacks its kept files")
    return flaws


def _receipts(folder: Path) -> list[Any]:
    return history.receipts_of(_locations(folder))


def _flaws_of_receipts(before: Path, folder: Path) -> list[str]:
    """Each receipt is whole and true."""
    flaws, locations = [], _locations(folder)
    files = [*locations.runs.glob("*/receipt.json")]
    receipts = _receipts(folder)
    if len(receipts) != len(files):
        flaws.append(f"{len(files) - len(receipts)} receipts cannot be read")
    known = {each.run_id: each for each in _receipts(before)}
    served = _versions(folder)
    for each in receipts:
        old = known.get(each.run_id)
        if old is not None and not old.is_unfinished and each != old:
            flaws.append(f"the receipt of {each.run_id} has changed")
        if old is None and each.status == "completed" and each.pushed_version not in served:
            flaws.append(f"{each.run_id} says that it pushed {each.pushed_version}")
    return flaws


def _new(before: Path, folder: Path) -> tuple[list[Any], list[int]]:
    known = {each.run_id for each in _receipts(before)}
    runs = [each for each in _receipts(folder) if each.run_id not in known]
    return runs, sorted(set(_versions(folder)) - set(_versions(before)))


def _check_run(before: Path, folder: Path, ended: Ended) -> list[str]:
    flaws = [*_flaws_of_serving(before, folder), *_flaws_of_receipts(before, folder)]
    runs, pushed = _new(before, folder)
    if len(runs) > 1 or len(pushed) > 1:
        flaws.append(f"{len(runs)} receipts and {len(pushed)} versions of one run")
    finished = [run for run in runs if not run.is_unfinished]
    if ended.code == 0 and [run.pushed_version for run in finished] != pushed:
        flaws.append(f"exit code 0, versions {pushed}, receipts {[r.verdict for r in runs]}")
    for run in finished:
        told = run.pushed_version or run.served_version
        if pushed and told != pushed[0]:
            flaws.append(f"the receipt does not tell of version {pushed[0]}")
        if not ended.killed and ended.code != run.exit_code:
            flaws.append(f"exit code {ended.code}, by the receipt {run.exit_code}")
    return flaws


def _check_run_again(before: Path, folder: Path, ended: Ended) -> list[str]:
    flaws = [*_flaws_of_serving(before, folder), *_flaws_of_receipts(before, folder)]
    runs, pushed = _new(before, folder)
    flaws += [f"{run.run_id} is still unfinished" for run in _receipts(folder) if run.is_unfinished]
    if not runs or runs[-1].verdict != "pushed" or runs[-1].pushed_version != pushed[-1]:
        flaws.append("the next run did not push")
    if len({_versions(folder)[version] for version in pushed}) > 1:
        flaws.append("versions of one model differ")
    store = metadata.open_store(_locations(folder).metadata)
    running = [e for e in store.get_executions() if e.last_known_state == mlmd.Execution.RUNNING]
    return flaws + [f"execution {each.id} is still running" for each in running]


def _check_resume_again(before: Path, folder: Path, ended: Ended) -> list[str]:
    if ended.code == 2 and "is complete (pushed)" in ended.told:
        return [*_flaws_of_serving(before, folder), *_flaws_of_receipts(before, folder)]
    return _check_run_again(before, folder, ended)


def _rollback(folder: Path) -> int:
    served = versions.served_versions(_locations(folder).serving)
    return stubs.command("rollback", "--to", served[0], "--output-dir", folder / "outputs")


def _check_rollback(before: Path, folder: Path, ended: Ended) -> list[str]:
    flaws = [*_flaws_of_serving(before, folder), *_flaws_of_receipts(before, folder)]
    _, published = _new(before, folder)
    first = min(_versions(before))
    notes = {int(path.stem) for path in versions.rollback_files(_locations(folder).serving)}
    for number in published:
        if _versions(folder)[number] != _versions(before)[first]:
            flaws.append("what is served is not what was rolled back to")
        if number not in notes:
            flaws.append(f"version {number} has no record of its rollback")
    if len(published) > 1 or (not ended.killed and bool(published) != (ended.code == 0)):
        flaws.append(f"exit code {ended.code} and {len(published)} new versions")
    return flaws


def _check_rolled_back(before: Path, folder: Path, ended: Ended) -> list[str]:
    if ended.code == 2 and "it is the same model" not in ended.told:
        return [f"exit code 2: {ended.told}"]
    _, published = _new(before, folder)
    flaws = _check_rollback(before, folder, dataclasses.replace(ended, code=0))
    return flaws + ([] if len(published) == 1 else ["the rollback is not there"])


def _three_runs(folder: Path) -> None:
    past, locations = _two_runs(folder), _locations(folder)
    past.run("20260103-120000", "c")
    for run in locations.runs.iterdir():
        (run / "predictions.parquet").write_text("answers")
    stubs.write_export(locations.serving / ".incoming-99-1" / "export", "half")


def _clean(folder: Path) -> int:
    rules = ("--keep-last", 1, "--keep-versions", 1, "--apply")
    return stubs.command("clean", *rules, "--output-dir", folder / "outputs")


def _check_clean(before: Path, folder: Path, ended: Ended) -> list[str]:
    flaws = _flaws_of_serving(before, folder, may_go=True)
    if len(_receipts(folder)) != len(_receipts(before)):
        flaws.append("a receipt is gone")
    store = metadata.open_store(_locations(folder).metadata)
    for artifact in store.get_artifacts():
        if artifact.state == mlmd.Artifact.LIVE and not Path(artifact.uri).exists():
            flaws.append(f"{artifact.uri} is gone, and ML Metadata does not know")
    return flaws


def _check_cleaned(before: Path, folder: Path, ended: Ended) -> list[str]:
    left = _versions(folder)
    flaws = [] if len(left) == 1 else [f"{len(left)} versions are left"]
    return flaws + _check_clean(before, folder, ended)


def _damaged(folder: Path) -> None:
    """A store that no longer is one, and what SQLite kept beside it."""
    _two_runs(folder)
    store = _locations(folder).metadata
    store.unlink()
    store.mkdir()
    (store / "old").write_text("old")
    store.with_name("metadata.db-wal").write_text("what was to be added")


def _repair(folder: Path) -> int:
    return stubs.command("repair", "--output-dir", folder / "outputs")


def _check_repair(before: Path, folder: Path, ended: Ended) -> list[str]:
    flaws = [*_flaws_of_serving(before, folder), *_flaws_of_receipts(before, folder)]
    if not list(_locations(folder).root.glob("metadata.db*/old")):
        flaws.append("the old store is gone")
    store = _locations(folder).metadata
    if not store.is_dir() and store.with_name("metadata.db-wal").exists():
        flaws.append("a part of the old store lies beside the new one")
    return flaws


def _check_repaired(before: Path, folder: Path, ended: Ended) -> list[str]:
    code = _run(folder)
    flaws = _check_repair(before, folder, ended)
    return flaws + ([] if code == 0 else [f"the run after it ended with {code}"])


def _with_old_scratch(folder: Path) -> None:
    _two_runs(folder)
    scratch = folder / "outputs" / f"{verify.scratch_prefix()}1234abcd"
    scratch.mkdir()
    (scratch / "half").write_text("half")


def _verify(folder: Path) -> int:
    return stubs.command("verify", "--output-dir", folder / "outputs")


def _check_verify(before: Path, folder: Path, ended: Ended) -> list[str]:
    """The pipeline is as it was."""
    flaws = [*_flaws_of_serving(before, folder), *_flaws_of_receipts(before, folder)]
    runs, pushed = _new(before, folder)
    return flaws + (["the verification changed the pipeline"] if runs or pushed else [])


def _with_answers(folder: Path) -> None:
    """A run whose answers are an artifact, so that they are put beside its page."""
    past, locations = _two_runs(folder), _locations(folder)
    answers = locations.artifacts / "Predictions" / "predictions" / "7"
    answers.mkdir(parents=True)
    (answers / "predictions.parquet").write_bytes(b"no table, but a file" * 100)
    kind = past.store.put_artifact_type(mlmd.ArtifactType(name="Answers"))
    artifact = mlmd.Artifact(type_id=kind, uri=str(answers), state=mlmd.Artifact.LIVE)
    past.types["Predictions"] = past.store.put_execution_type(
        mlmd.ExecutionType(name="Predictions")
    )
    past._execute("20260102-120000", "Predictions", "predictions", artifact)
    for each in _receipts(folder):
        node = {"status": "complete", "seconds": 1.0, "code_fingerprint": None}
        nodes = {**{name: vars(n) for name, n in each.nodes.items()}, "Predictions": node}
        each.changed(nodes=nodes).write(locations.runs / each.run_id)


def _review(folder: Path) -> int:
    return stubs.command("review", "--output-dir", folder / "outputs")


def _compare(folder: Path) -> int:
    ids = ("20260101-120000", "20260102-120000")
    return stubs.command("runs", "compare", *ids, "--output-dir", folder / "outputs")


def _check_pages(before: Path, folder: Path, ended: Ended) -> list[str]:
    """Pages are whole or not there, and nothing else changes."""
    flaws = [*_flaws_of_serving(before, folder), *_flaws_of_receipts(before, folder)]
    for page in _locations(folder).root.rglob("*.html"):
        if not page.name.startswith(".") and "</html>" not in page.read_text():
            flaws.append(f"{page.name} is not whole")
    for path in _locations(folder).root.rglob("*.json"):
        if not path.name.startswith("."):
            try:
                json.loads(path.read_text())
            except ValueError:
                flaws.append(f"{path.name} is not whole")
    for path in _locations(folder).runs.glob("*/predictions.parquet"):
        if ended.code == 0 and path.stat().st_size != 2000:
            flaws.append("the answers are not whole")
    return flaws


# ---------------------------------------------------------------- schedule


def _empty(folder: Path) -> None:
    _locations(folder).root.mkdir(parents=True)


def _with_logs(folder: Path) -> None:
    """A schedule that has as many logs as it keeps, and an answer that nobody read."""
    schedule = _locations(folder).root / "schedule"
    schedule.mkdir(parents=True)
    for number in range(101):
        (schedule / f"20250101-{number:06d}.log").write_text("old")
    (schedule / "seen.json").write_text("{}")


def _once(folder: Path) -> int:
    output_dir = folder / "outputs"
    data = ("--set", f"name={stubs.NAME}", "--data", "/data")
    return stubs.command("schedule", "--once", *data, "--output-dir", output_dir)


def _once_unchanged(folder: Path) -> int:
    stubs.FakeCommands.standing = "20260101-000000"
    output_dir = folder / "outputs"
    data = ("--set", f"name={stubs.NAME}", "--data", "/data", "--on-change")
    return stubs.command("schedule", "--once", *data, "--output-dir", output_dir)


def _check_unchanged(before: Path, folder: Path, ended: Ended) -> list[str]:
    return ["a run was begun"] if _receipts(folder) else []


def _check_once(before: Path, folder: Path, ended: Ended) -> list[str]:
    flaws, state = [], _locations(folder).root / "schedule" / "state.json"
    if state.exists():
        try:
            found = json.loads(state.read_text())
        except ValueError:
            return ["the state is not whole"]
        if ended.code == 0 and not found["last_run"]:
            flaws.append("the state does not know the run")
    if len(_receipts(folder)) > 1:
        flaws.append("more than one run was begun")
    if ended.code == 0 and not _receipts(folder):
        flaws.append("exit code 0 without a run")
    return flaws


def _check_once_again(before: Path, folder: Path, ended: Ended) -> list[str]:
    state = json.loads((_locations(folder).root / "schedule" / "state.json").read_text())
    newest = _receipts(folder)
    known = [each.run_id for each in newest]
    flaws = [] if state["last_run"]["run_id"] in known else ["the state names no run"]
    return flaws + (["the run is still at work"] if state["at_work"] else [])


# ---------------------------------------------------------------- single files


def _nothing(folder: Path) -> None:
    folder.mkdir(parents=True)


def _has_text(path: Path, expected: str, ended: Ended) -> list[str]:
    """The file is whole; it is there if the command says so."""
    if not path.exists():
        return [f"exit code 0 without {path.name}"] if ended.code == 0 else []
    return [] if path.read_text() == expected else [f"{path.name} is not whole"]


def _compile(folder: Path) -> int:
    request = CompileRequest(
        target=ClusterTarget.KUBEFLOW,
        output=folder / "graph.yaml",
        image="image",
        pipeline_root="gs://root",
        data="/data",
        data_digest=None,
        digest_options=(),
        serving_dir="/serving",
        schema_location=None,
        profile="smoke",
        assignments=(),
        seed=None,
        use_cache=True,
        expect_served=False,
        default_resources=("1", "1Gi"),
        resources=(),
        volumes=(),
        notify_secret=None,
        dashboard_url=None,
    )
    return stubs.function(lambda: compile.compile_graph(request, print))


def _check_compiled(before: Path, folder: Path, ended: Ended) -> list[str]:
    return _has_text(folder / "graph.yaml", "a graph\n" * 1000, ended)


_UNIT = Unit("clothes", ["python3", "pipeline_runner.py"], Path("/"), 60.0)


def _install_unit(folder: Path) -> int:
    return stubs.function(lambda: _UNIT.install(folder / "units" / _UNIT.file_name))


def _check_unit(before: Path, folder: Path, ended: Ended) -> list[str]:
    return _has_text(folder / "units" / _UNIT.file_name, _UNIT.text(os.environ), ended)


def _look(folder: Path) -> int:
    sys.argv = ["look", _TARGET, "clothes", str(folder / "seen.json")]
    return look.main()


_TARGET = (
    pydantic.TypeAdapter(Target)
    .dump_json(
        Target(
            config_file=None,
            profile=None,
            data=None,
            runner="local",
            assignments=(),
            seed=None,
            output_dir=Path("outputs"),
            notify_file=None,
        )
    )
    .decode()
)


def _check_look(before: Path, folder: Path, ended: Ended) -> list[str]:
    kept = folder / "schedule" / "contents.json"
    if kept.exists() and not arrivals.Kept.model_validate_json(kept.read_bytes()).parts:
        return ["what is kept for the next look is not whole"]
    path = folder / "seen.json"
    if not path.exists():
        return ["exit code 0 without an answer"] if ended.code == 0 else []
    try:
        look.Seen.model_validate_json(path.read_bytes())
    except ValueError:
        return ["the answer is not whole"]
    return []


_TEXTS = {"schema.pbtxt": "feature {}\n" * 50, "pipeline.toml": "name = 'x'\n" * 50}


def _init(name: str) -> Callable[[Path], int]:
    return lambda folder: stubs.function(lambda: writing.write_all(folder / name, _TEXTS))


def _folder_of_theirs(folder: Path) -> None:
    (folder / "theirs").mkdir(parents=True)
    (folder / "theirs" / "notes.txt").write_text("mine")


def _check_init(name: str) -> Callable[[Path, Path, Ended], list[str]]:
    def check(before: Path, folder: Path, ended: Ended) -> list[str]:
        flaws = []
        if (before / "theirs").exists() and not (folder / "theirs" / "notes.txt").exists():
            flaws.append("a file of the user is gone")
        there = [file for file in _TEXTS if (folder / name / file).exists()]
        if not ended.killed and ended.tidied and len(there) != (2 if ended.code == 0 else 0):
            flaws.append(f"exit code {ended.code} and files {there}")
        if ended.code == 0:
            flaws += [f for f in _TEXTS if (folder / name / f).read_text() != _TEXTS[f]]
        return flaws

    return check


def _bill(folder: Path) -> int:
    return bill_of_materials.main([str(folder / "new" / "bill.json")])


def _check_bill(before: Path, folder: Path, ended: Ended) -> list[str]:
    return _has_text(folder / "new" / "bill.json", json.dumps(stubs.BILL, indent=2) + "\n", ended)


# ---------------------------------------------------------------- data


def _prepare(folder: Path) -> int:
    """Draws the sample, reads it and keeps its digests, as each command does that reads data."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    asked = dataclasses.replace(
        stubs.request(folder / "outputs"), force=False, assignments=("split.validation=2",)
    )
    return stubs.function(lambda: preparation.prepare(asked, preparation.Progress()))


def _check_prepared(before: Path, folder: Path, ended: Ended) -> list[str]:
    flaws = []
    for place in (folder / "cache" / "image-pipeline").glob("sample-*"):
        if len(list(place.iterdir())) != 4:
            flaws.append("the sample is there in part")
    return flaws


def _doctor(folder: Path) -> int:
    found = doctor.check_output(folder / "outputs")
    print(found.found)
    return 0 if found.status == "ok" else 1


def _download(folder: Path) -> int:
    return 0 if download.fetch_missing(folder / "data", print) else 1


def _check_download(before: Path, folder: Path, ended: Ended) -> list[str]:
    files = list((folder / "data").glob("*.gz"))
    flaws = [f"{f.name} is not whole" for f in files if f.read_bytes() != stubs.DOWNLOADED]
    if ended.code == 0 and len(files) != 4:
        flaws.append(f"exit code 0 and {len(files)} files")
    return flaws


# ---------------------------------------------------------------- schedule for hours


class _OtherProcesses(world.Commands):
    """Looks and runs that write as other processes, which nobody harms."""

    def look(self, answer: Path, log: Path) -> Any:
        with stubs.somebody_else():
            return super().look(answer, log)

    def run(self, data: str, force: bool, log: Path, attempt: str) -> Any:
        began = self._clock.now()

        def leave(code: int) -> None:
            with stubs.somebody_else():
                run_id = _new_id(began, self._locations.runs)
                stubs.leave_receipt(self._locations, attempt=attempt, began=began, run_id=run_id)

        return world.Child(world.Process(at_end=leave), self._clock, [])


def _serve(folder: Path) -> int:
    """A schedule at every hour, until half past five; it goes on where it stopped."""
    locations = _locations(folder)
    state = read_state(locations.root / "schedule" / "state.json")
    there = world.World(folder / "outputs", stubs.template(locations), state.handled or world.BEGIN)
    there.commands = _OtherProcesses(there.clock, locations, None)
    return stubs.function(lambda: there.serve("05:30"))


def _hours(folder: Path) -> list[int]:
    return sorted(each.began.hour for each in _receipts(folder))


def _check_served(before: Path, folder: Path, ended: Ended) -> list[str]:
    """Every run that was due began, or the schedule tells why not; it goes on in any case."""
    if ended.killed:
        return []
    flaws = [] if ended.code == 0 else [f"the schedule ended with {ended.code}: {ended.told}"]
    missing = {3, 4, 5} - set(_hours(folder))
    if ended.told.count("could not be started") < len(missing):
        flaws.append(f"the runs of {missing} did not begin, and nothing says why")
    return flaws


def _check_served_again(before: Path, folder: Path, ended: Ended) -> list[str]:
    state = read_state(_locations(folder).root / "schedule" / "state.json")
    if state.at_work or not state.last_run:
        return [f"the state is not that of an idle schedule: {state}"]
    hours = _hours(folder)
    flaws = [
        f"hour {hour} ran {hours.count(hour)} times" for hour in hours if hours.count(hour) > 2
    ]
    return flaws + ([] if state.last_run.scheduled.hour == 5 else ["the last run was not at five"])


# ---------------------------------------------------------------- the environment


def _environment(folder: Path) -> Path:
    return folder / ".venv"


def _foreign_environment(folder: Path) -> None:
    (_environment(folder) / "bin").mkdir(parents=True)
    (_environment(folder) / "bin" / "theirs").write_text("theirs")


def _old_environment(folder: Path) -> None:
    records = _environment(folder) / packages.RECORDS
    records.mkdir(parents=True)
    (records / "older.txt").write_text("another lock")
    (_environment(folder) / "pyvenv.cfg").write_text("old")
    (_environment(folder) / "lib").mkdir()


def _environment_of_an_older_lock(folder: Path) -> None:
    """A complete environment; the lock file has changed since."""
    records = _environment(folder) / packages.RECORDS
    records.mkdir(parents=True)
    (records / "installer.txt").write_bytes(virtual_environment.INSTALLER.read_bytes())
    (records / packages.LOCKS[0].name).write_text("numpy==1.0\n")


def _linked_environment(folder: Path) -> None:
    (folder / "elsewhere").mkdir(parents=True)
    _environment(folder).symlink_to(folder / "absent")


def _goal() -> virtual_environment.Goal:
    return virtual_environment.Goal("", True, packages.read_system())


def _set_up(folder: Path, network: bool = True) -> int:
    stubs.use_environment(_environment(folder), network)
    return virtual_environment.main(["--tests"])


def _set_up_without_network(folder: Path) -> int:
    return _set_up(folder, network=False)


def _remove_environment(folder: Path) -> int:
    stubs.use_environment(_environment(folder), network=True)
    return virtual_environment.main(["--remove"])


def _check_set_up(before: Path, folder: Path, ended: Ended) -> list[str]:
    """An environment that counts as complete has everything; that of others is never lost."""
    stubs.use_environment(_environment(folder), network=True)
    flaws = []
    reached = virtual_environment.is_reached(_goal())
    there = {path.name for path in _environment(folder).glob("*.installed")}
    wanted = {f"{packages.LOCKS[0].name}.installed", f"{packages.TESTS.name}.installed"}
    if reached and not wanted <= there:
        flaws.append(f"it counts as complete, and {wanted - there} are missing")
    if ended.code == 0 and not reached:
        flaws.append("exit code 0, and it is not complete")
    theirs = [*folder.glob(".venv*/bin/theirs")]
    if (_environment(before) / "bin" / "theirs").exists() and not theirs:
        flaws.append("the environment of somebody else is gone")
    return flaws


def _check_environment_removed(before: Path, folder: Path, ended: Ended) -> list[str]:
    left = _environment(folder)
    return ["it is still there"] if left.is_symlink() or left.exists() else []


# A model that a run published before it failed is registered again: the next is compared with it.
_SERVED_AGAIN = ("artifacts/ServedModel",)
# Of an unchanged run, which usually goes; the newest hundred logs stay.
_OLD_LOGS = ("schedule/N.log",)
# Of a killed `init`, beside the new folder; of a killed first run on the sample, in the cache.
_HIDDEN_FOLDERS = ("/.init-", "/.sample-")
# The next installation uses it, and removes it in the end.
_SCRATCH_OF_INSTALLERS = (".venv/tmp",)

SCENARIOS: dict[str, Scenario] = {
    "run, the store is lost": Scenario(
        _without_store,
        _run,
        check=_check_run,
        check_again=_check_run_again,
        may_leave=_SERVED_AGAIN,
    ),
    "run, the version was put there by hand": Scenario(
        _by_hand,
        _run,
        check=_check_run,
        check_again=_check_run_again,
        about=("pipeline/records/baseline.py",),
        may_leave=_SERVED_AGAIN,
    ),
    "resume after a kill": Scenario(
        _cut_off,
        _resume,
        check=_check_run,
        good_again=(0, 2),
        check_again=_check_resume_again,
        about=("operations/temporary.py", "operations/unfinished.py"),
        may_leave=_SERVED_AGAIN,
    ),
    "rollback": Scenario(
        _two_runs,
        _rollback,
        check=_check_rollback,
        good_again=(0, 2),
        check_again=_check_rolled_back,
        may_leave=(".incoming-",),
    ),
    "clean --apply": Scenario(_three_runs, _clean, check=_check_clean, check_again=_check_cleaned),
    "repair": Scenario(_damaged, _repair, check=_check_repair, check_again=_check_repaired),
    "run, nobody can be told": Scenario(
        _two_runs,
        _run_untold,
        check=_check_run,
        check_again=_check_run_again,
        about=("operations/run.py::_notify",),
        may_leave=_SERVED_AGAIN,
    ),
    "verify": Scenario(
        _with_old_scratch,
        _verify,
        good=(0, 5),
        check=_check_verify,
        good_again=(0, 5),
        check_again=_check_verify,
        about=("operations/verify.py::_scratch",),
    ),
    "review": Scenario(_with_answers, _review, check=_check_pages, check_again=_check_pages),
    "runs compare": Scenario(
        _two_runs,
        _compare,
        check=_check_pages,
        check_again=_check_pages,
    ),
    "schedule --once, the first time": Scenario(
        _empty, _once, check=_check_once, check_again=_check_once_again
    ),
    "schedule --once, with old logs": Scenario(
        _with_logs, _once, check=_check_once, check_again=_check_once_again
    ),
    "schedule --once, nothing changed": Scenario(
        _empty,
        _once_unchanged,
        check=_check_unchanged,
        check_again=_check_unchanged,
        may_leave=_OLD_LOGS,
    ),
    "schedule, a look": Scenario(_nothing, _look, check=_check_look, check_again=_check_look),
    "schedule --install-unit": Scenario(
        _nothing, _install_unit, check=_check_unit, check_again=_check_unit
    ),
    "compile": Scenario(_nothing, _compile, check=_check_compiled, check_again=_check_compiled),
    "init, a new folder": Scenario(
        _nothing,
        _init("new/flowers"),
        check=_check_init("new/flowers"),
        good_again=(0, 2),
        check_again=_check_init("new/flowers"),
        may_leave=_HIDDEN_FOLDERS,
    ),
    "init, a folder of theirs": Scenario(
        _folder_of_theirs,
        _init("theirs"),
        check=_check_init("theirs"),
        good_again=(0, 2),
        check_again=lambda *_: [],
    ),
    "reading data": Scenario(
        _nothing,
        _prepare,
        check=_check_prepared,
        check_again=_check_prepared,
        may_leave=_HIDDEN_FOLDERS,
    ),
    "doctor": Scenario(_empty, _doctor),
    "download": Scenario(_nothing, _download, check=_check_download, check_again=_check_download),
    "schedule, a morning": Scenario(
        _empty, _serve, check=_check_served, check_again=_check_served_again
    ),
    "make setup, beside another environment": Scenario(
        _foreign_environment,
        _set_up,
        check=_check_set_up,
        check_again=_check_set_up,
        may_leave=_SCRATCH_OF_INSTALLERS,
    ),
    "make setup, over an old environment": Scenario(
        _old_environment,
        _set_up,
        check=_check_set_up,
        check_again=_check_set_up,
        about=("::make_way", "::empty"),
        may_leave=_SCRATCH_OF_INSTALLERS,
    ),
    "make setup, without a network": Scenario(
        _environment_of_an_older_lock,
        _set_up_without_network,
        good=(1,),
        check=_check_set_up,
        good_again=(1,),
        check_again=_check_set_up,
        # Where it was cut short, the next one starts from scratch.
        may_leave=(".venv/unfinished", *_SCRATCH_OF_INSTALLERS),
    ),
    "make sbom": Scenario(_nothing, _bill, check=_check_bill, check_again=_check_bill),
    "make clean-env": Scenario(
        _old_environment, _remove_environment, check_again=_check_environment_removed
    ),
    "make clean-env, a link": Scenario(
        _linked_environment, _remove_environment, check_again=_check_environment_removed
    ),
}
