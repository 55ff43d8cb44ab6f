"""Frees room: removes what outdated runs made, and nothing that is still needed.

Receipts, pages and logs of all runs stay: they are the history, and small. In ML Metadata an
artifact is marked as deleted before its files go, so that no later run takes it from the cache. A
process that is killed in between leaves files that nothing refers to, and the next `clean` removes
them. What ML Metadata knows nothing of goes first: on a full disk, that makes the room in which ML
Metadata can write at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import re
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich import filesize
from rich.console import Console
from rich.table import Table

from cli.render import runs
from components import features
from components.pusher import versions
from operations import unfinished
from operations.receipts import COMPLETED
from pipeline.errors import (
    OutputError,
    StoreError,
    StoreLockedError,
    UsageError,
)
from pipeline.locations import RECEIPT_FILE, TEMPORARY_FOLDER, Locations
from pipeline.lock import exclusive
from pipeline.nodes import TRAINER
from pipeline.records import baseline, history, metadata, served_version

_AGE = re.compile(r"([0-9]{1,5})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
# What the file system counts in, whatever the size of its own blocks.
_BLOCK = 512

_STAYING_RUNS = "artifacts of the runs that stay"
_PUSHED = "records of the pushes of served versions"
_COMPARED = "the model to compare with"
_ELSEWHERE = "artifacts in other folders"
_SERVED = "served versions"
_RUN_FOLDERS = "receipts, pages and logs of all runs"
_ANSWERS = "answers beside the pages of outdated runs"
_CUT_SHORT = "working folders, and what was cut short"


@dataclasses.dataclass(frozen=True)
class Policy:
    """What counts as outdated.

    A run is outdated where every rule that is given says so.

    Attributes:
      keep_last: the newest runs of a pipeline that stay; None has no say.
      older_than: the age from which on a run may go; None has no say.
      keep_versions: the newest served versions that stay, at least one, beside that of the last
        completed run; None keeps all.
    """

    keep_last: int | None
    older_than: datetime.timedelta | None
    keep_versions: int | None

    def outdated(self, receipts: list[dict[str, Any]], now: datetime.datetime) -> set[str]:
        """The ids of outdated runs, of those of one pipeline, oldest first."""
        if self.keep_last is None and self.older_than is None:
            return set()
        beyond = receipts[: max(0, len(receipts) - (self.keep_last or 0))]
        began = _credible_beginnings(receipts, now)
        bound = now - (self.older_than or datetime.timedelta())
        return {run["run_id"] for run in beyond if began[run["run_id"]] <= bound}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is removed of a pipeline, and what stays.

    Attributes:
      locations: of the pipeline.
      outdated: ids of the outdated runs.
      staying: ids of the others.
      artifacts: to be marked as deleted in ML Metadata.
      versions: to be withdrawn from the serving folder.
      removed: files and folders by kind.
      kept: files and folders by the reason why they stay.
    """

    locations: Locations
    outdated: list[str]
    staying: list[str]
    artifacts: list[mlmd.Artifact]
    versions: list[int]
    removed: dict[str, list[pathlib.Path]]
    kept: dict[str, list[pathlib.Path]]


def main(
    policy: Policy, pipeline: str | None, output_dir: pathlib.Path, apply: bool, as_json: bool
) -> None:
    """Says what a policy frees, and removes it where asked to.

    Args:
      policy: what counts as outdated.
      pipeline: its name; None cleans all of them.
      output_dir: of all pipelines.
      apply: whether to remove anything.
      as_json: whether to print one JSON document.

    Raises:
      UnknownRunError: where there is no such pipeline, or none at all.
      LockHeldError: where one of them is at work; nothing was removed.
      StoreError: where ML Metadata of one cannot be read; nothing was removed.
      StoreLockedError: where another process has locked it; nothing was removed.
      OutputError: where something cannot be removed.
    """
    places = history.chosen(output_dir, pipeline)
    with contextlib.ExitStack() as locks:
        for locations in places:
            locks.enter_context(exclusive(locations.lock, "clean"))
            if apply:
                unfinished.complete(locations)
        # All of them first: where one cannot be cleaned, none is.
        plans = [make_plan(locations, policy) for locations in places]
        reports = [_report(plan) for plan in plans]
        for plan in plans if apply else ():
            carry_out(plan)
    _print(reports, apply, as_json)


def policy(keep_last: int | None, older_than: str | None, keep_versions: int | None) -> Policy:
    """The policy of these rules.

    Args:
      keep_last: see `Policy`.
      older_than: a number of hours, days or weeks, such as `12h`, `30d` or `4w`.
      keep_versions: see `Policy`.

    Raises:
      UsageError: where no rule is given, or the age is none.
    """
    if keep_last is None and older_than is None and keep_versions is None:
        raise UsageError(
            "no rule says what is outdated; expected --keep-last N, --older-than AGE, "
            "--keep-versions N or several of them."
        )
    return Policy(keep_last, None if older_than is None else _age(older_than), keep_versions)


def _age(text: str) -> datetime.timedelta:
    found = _AGE.fullmatch(text)
    if not found:
        raise UsageError(f"{text!r} is no age; expected hours, days or weeks: 12h, 30d or 4w.")
    return datetime.timedelta(**{_UNITS[found[2]]: int(found[1])})


def make_plan(locations: Locations, policy: Policy) -> Plan:
    """Decides what goes and what stays; to be called by the holder of the pipeline's lock."""
    receipts = history.receipts_of(locations)
    outdated = policy.outdated(receipts, datetime.datetime.now(datetime.UTC))
    known = {run["run_id"] for run in receipts}
    # Nothing is known of runs whose receipts are left out, so nothing of them goes.
    unknown = {path.parent.name for path in locations.runs.glob(f"*/{RECEIPT_FILE}")} - known
    staying = [run["run_id"] for run in receipts if run["run_id"] not in outdated]
    staying += sorted(unknown)
    served = versions.served_versions(locations.serving)
    if policy.keep_versions:
        # Where the newest cannot be read, the others may be needed.
        served_version.read(locations)
    beyond = served[: -policy.keep_versions] if policy.keep_versions else []
    withdrawn = [version for version in beyond if version != _last_pushed(receipts)]
    stay = [version for version in served if version not in withdrawn]
    artifacts = _Artifacts(locations, staying, stay)
    removed = {
        _SERVED: _folders(locations, withdrawn),
        **artifacts.removed(),
        _ANSWERS: _answers(locations, outdated),
        _CUT_SHORT: [*artifacts.unknown(), *_cut_short(locations, receipts, staying)],
    }
    gone = {path for paths in removed.values() for path in paths}
    kept = {
        **artifacts.kept(),
        _SERVED: _folders(locations, stay),
        _RUN_FOLDERS: [path for path in locations.runs.glob("*/*") if path not in gone],
    }
    return Plan(locations, sorted(outdated), staying, artifacts.outdated, withdrawn, removed, kept)


def _folders(locations: Locations, served: list[int]) -> list[pathlib.Path]:
    """The folders of versions, and what is kept for them."""
    kept = (versions.kept_folder(locations.serving, version) for version in served)
    return [
        *(locations.serving / str(version) for version in served),
        *(folder for folder in kept if folder.exists()),
    ]


def _credible_beginnings(
    receipts: list[dict[str, Any]], now: datetime.datetime
) -> dict[str, datetime.datetime]:
    """When runs began; where a clock was set to the future then, when the run after it did."""
    found, after = {}, now
    for receipt in reversed(receipts):
        began = datetime.datetime.fromisoformat(receipt["began"])
        after = began if began <= now else after
        found[receipt["run_id"]] = after
    return found


def _last_pushed(receipts: list[dict[str, Any]]) -> int | None:
    """The version of the last completed run; None where that pushed none.

    It may have been rolled back from since. Without it an unchanged run would push it once more.
    """
    completed = [run["pushed_version"] for run in receipts if run["status"] == COMPLETED]
    return completed[-1] if completed else None


def carry_out(plan: Plan) -> None:
    """Removes what the plan says; to be called by the holder of the pipeline's lock.

    Raises:
      OutputError: where something cannot be removed, or ML Metadata cannot note it; calling it
        again goes on from there.
    """
    artifacts = [kind for kind in plan.removed if kind not in (_SERVED, _ANSWERS, _CUT_SHORT)]
    try:
        _remove(plan, [_CUT_SHORT, _ANSWERS])
        for version in plan.versions:
            versions.withdraw(plan.locations.serving, version)
        _mark_deleted(plan)
        _remove(plan, artifacts)
    except OSError as error:
        raise OutputError(
            f"{error.filename} cannot be removed ({error.strerror}); expected leave to remove all "
            f"below {plan.locations.root}. What is gone stays gone: mend that, and clean again."
        ) from error


def _mark_deleted(plan: Plan) -> None:
    if not plan.artifacts:
        return
    for artifact in plan.artifacts:
        artifact.state = mlmd.Artifact.DELETED
    try:
        store = metadata.open_store(plan.locations.metadata)
        store.put_artifacts(plan.artifacts, field_mask_paths=["state"])
    except (StoreError, StoreLockedError) as error:
        raise OutputError(
            f"{plan.locations.metadata} cannot note which artifacts go ({error}); expected leave "
            "and room to write there. The artifacts themselves are untouched: free a little room "
            "by hand, and clean again."
        ) from error


def _remove(plan: Plan, kinds: list[str]) -> None:
    for path in (path for kind in kinds for path in plan.removed[kind]):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


class _Artifacts:
    """The artifacts of a pipeline that have not been removed, and why some of them must stay.

    They are told apart by their place, not by their id: a folder may be registered several times.

    Attributes:
      outdated: those that nothing needs.
    """

    def __init__(self, locations: Locations, staying: list[str], served: list[int]):
        self._root = locations.artifacts
        self._live: list[mlmd.Artifact] = []
        self._needed: dict[str, str] = {}
        if locations.metadata.exists():
            store = metadata.open_store(locations.metadata)
            self._live = [a for a in store.get_artifacts() if a.state == mlmd.Artifact.LIVE]
            self._need(_of_runs(store, staying), _STAYING_RUNS)
            self._need(_compared_with(store, locations.root.name), _COMPARED)
        self._need(_pushes(self._live, served), _PUSHED)
        uris = (artifact.uri for artifact in self._live)
        self._need((u for u in uris if not pathlib.Path(u).is_relative_to(self._root)), _ELSEWHERE)
        self.outdated = [a for a in self._live if a.uri not in self._needed]

    def removed(self) -> dict[str, list[pathlib.Path]]:
        """The folders of outdated artifacts, by kind: the node that made them."""
        found: dict[str, list[pathlib.Path]] = {}
        for path in _existing(artifact.uri for artifact in self.outdated):
            node = path.relative_to(self._root).parts[0]
            found.setdefault(f"artifacts of {node}", []).append(path)
        return dict(sorted(found.items()))

    def kept(self) -> dict[str, list[pathlib.Path]]:
        """The folders of all others, by reason."""
        return {
            reason: _existing(uri for uri, why in self._needed.items() if why == reason)
            for reason in dict.fromkeys(self._needed.values())
        }

    def unknown(self) -> list[pathlib.Path]:
        """Folders of outputs of which ML Metadata knows nothing, or that they are deleted."""
        # Those of a folder of results that was moved are known: by the end of their paths.
        known = {pathlib.Path(artifact.uri).parts[-3:] for artifact in self._live}
        return [
            path
            for path in sorted(self._root.glob("*/*/*"))
            if (path.name.isdigit() or path.parts[-3] == baseline.SERVED_FOLDER)
            and path.parts[-3:] not in known
            and str(path) not in self._needed
        ]

    def _need(self, uris: Iterable[str], reason: str) -> None:
        for uri in uris:
            self._needed.setdefault(uri, reason)


def _existing(uris: Iterable[str]) -> list[pathlib.Path]:
    return [path for path in map(pathlib.Path, dict.fromkeys(uris)) if path.exists()]


def _of_runs(store: metadata.Store, run_ids: list[str]) -> list[str]:
    """All that runs took or made, from the cache or anew: what their cache entries need."""
    contexts = [store.get_context_by_type_and_name("pipeline_run", run) for run in run_ids]
    executions = [
        execution.id
        for context in contexts
        if context is not None
        for execution in store.get_executions_by_context(context.id)
    ]
    events = store.get_events_by_execution_ids(executions) if executions else []
    artifacts = store.get_artifacts_by_id(sorted({event.artifact_id for event in events}))
    return [artifact.uri for artifact in artifacts]


def _compared_with(store: metadata.Store, pipeline: str) -> list[str]:
    """The model that the next run is compared with, and its blessings."""
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    if context is None:
        return []
    seen = baseline.blessed_models(store, context.id)
    latest = seen.latest()
    return [artifact.uri for artifact in [latest, *seen.of(latest)]] if latest else []


def _pushes(live: list[mlmd.Artifact], served: list[int]) -> list[str]:
    """What notes that these versions were pushed."""
    names = {str(version) for version in served}
    noted = ((a.uri, a.custom_properties.get("pushed_version")) for a in live)
    return [uri for uri, value in noted if value and value.string_value in names]


def _answers(locations: Locations, outdated: set[str]) -> list[pathlib.Path]:
    paths = [locations.runs / run / features.PREDICTIONS_FILE for run in sorted(outdated)]
    return [path for path in paths if path.exists()]


def _cut_short(
    locations: Locations, receipts: list[dict[str, Any]], staying: list[str]
) -> list[pathlib.Path]:
    """What runs and pushes left that were killed, but for what a run that stays may go on from."""
    goes_on = any(run["run_id"] in staying and _may_go_on(run) for run in receipts)
    snapshots = (path for path in locations.artifacts.glob("*/backups/*") if not goes_on)
    return [
        *locations.artifacts.glob("*/.system/*/*"),
        *snapshots,
        *locations.runs.glob(f"*/{TEMPORARY_FOLDER}"),
        *versions.unfinished(locations.serving),
    ]


def _may_go_on(run: dict[str, Any]) -> bool:
    """Whether a run was cut off in its training, so that its snapshots may be wanted."""
    # Whose they are does not stand in them, and no clock is to be trusted with it.
    status = run["nodes"].get(TRAINER, {"status": metadata.INTERRUPTED})["status"]
    return run["status"] != COMPLETED and status in (metadata.FAILED, metadata.INTERRUPTED)


def _statuses(paths: Iterable[pathlib.Path]) -> Iterator[os.stat_result]:
    """What the file system says of files and folders, and of all below them."""
    for path in paths:
        yield path.lstat()
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                yield pathlib.Path(folder, name).lstat()


def freed_bytes(kinds: dict[str, list[pathlib.Path]]) -> dict[str, int]:
    """What the removal of files and folders gives back to the file system, by kind.

    A file counts once, however many names it has, and only where all of them are removed.
    """
    found = dict.fromkeys(kinds, 0)
    names: Counter[tuple[int, int]] = Counter()
    for kind, paths in kinds.items():
        for status in _statuses(paths):
            names[status.st_dev, status.st_ino] += 1
            seen = names[status.st_dev, status.st_ino]
            if stat.S_ISDIR(status.st_mode) or seen == status.st_nlink:
                found[kind] += status.st_blocks * _BLOCK
    return found


def kept_bytes(kinds: dict[str, list[pathlib.Path]]) -> dict[str, int]:
    """The room that files and folders take, by kind; each counts once, where it comes first."""
    found = dict.fromkeys(kinds, 0)
    seen: set[tuple[int, int]] = set()
    for kind, paths in kinds.items():
        for status in _statuses(paths):
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                found[kind] += status.st_blocks * _BLOCK
    return found


def _report(plan: Plan) -> dict[str, Any]:
    frees = {kind: size for kind, size in freed_bytes(plan.removed).items() if plan.removed[kind]}
    return {
        "pipeline": plan.locations.root.name,
        "freed_bytes": sum(frees.values()),
        "frees": frees,
        "keeps": kept_bytes(plan.kept),
        "outdated_runs": plan.outdated,
        "staying_runs": plan.staying,
        "withdrawn_versions": plan.versions,
    }


def _print(reports: list[dict[str, Any]], applied: bool, as_json: bool) -> None:
    total = sum(report["freed_bytes"] for report in reports)
    if as_json:
        found = {"applied": applied, "freed_bytes": total, "pipelines": reports}
        print(json.dumps(found, indent=1))
        return
    console = runs.make_console()
    for report in reports:
        _print_report(console, report)
    size = filesize.decimal(total)
    if applied:
        console.print(f"Freed {size}.", highlight=False)
    elif total:
        console.print(
            f"Would free {size}; nothing was removed. Do it with --apply.", highlight=False
        )
    else:
        console.print("There is nothing to free.", highlight=False)


def _print_report(console: Console, report: dict[str, Any]) -> None:
    outdated, staying = len(report["outdated_runs"]), len(report["staying_runs"])
    console.print(
        f"{report['pipeline']}: {outdated} of {outdated + staying} runs are outdated",
        highlight=False,
        markup=False,
    )
    table = Table(box=None, padding=(0, 2, 0, 2), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for label, entries in (("frees", report["frees"]), ("keeps", report["keeps"])):
        for name, size in entries.items():
            table.add_row(label, name, filesize.decimal(size))
    console.print(table)
