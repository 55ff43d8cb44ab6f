"""Frees disk space: removes what outdated runs made and nothing needs any more.

Receipts, pages and logs of all runs stay: they are the history, and small. ML Metadata marks an
artifact as deleted before its files go, so that no later run takes it from the cache. A process
that is killed in between leaves files that nothing refers to, and the next `clean` removes them.
Files that ML Metadata does not know go first: on a full disk, ML Metadata needs their space.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import pathlib
import re
from collections.abc import Sequence

from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import disk, features
from components.messages import shown
from components.object_store import ObjectStoreError
from components.pusher import bucket, versions
from operations import disk_usage, unfinished
from operations.retention import Artifacts
from pipeline.errors import OutputError, StoreError, StoreLockedError, UsageError
from pipeline.exclusion import exclusive
from pipeline.locations import TEMPORARY_FOLDER, Locations
from pipeline.nodes import TRAINER
from pipeline.records import history, metadata, served_version
from pipeline.records.outcomes import NodeStatus, Status
from pipeline.records.receipt import Receipt

_AGE = re.compile(r"([0-9]{1,5})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}

_SERVED = "served versions"
_RUN_FOLDERS = "receipts, pages and logs of all runs"
_ANSWERS = "answers beside the pages of outdated runs"
_CUT_SHORT = "working folders, and what was cut short"


@dataclasses.dataclass(frozen=True)
class Policy:
    """Rules for what is outdated: a run is outdated where every given rule says so.

    Attributes:
      keep_last: Number of newest runs that stay in each pipeline; None for no such rule.
      older_than: Age from which a run may go; None for no such rule.
      keep_versions: Number of newest served versions that stay, at least one, beside the version
        that the last completed run pushed; None keeps all.
    """

    keep_last: int | None
    older_than: datetime.timedelta | None
    keep_versions: int | None

    def outdated(self, receipts: Sequence[Receipt], now: datetime.datetime) -> set[str]:
        """The ids of the outdated runs among the runs of one pipeline, oldest first."""
        if self.keep_last is None and self.older_than is None:
            return set()
        beyond = receipts[: max(0, len(receipts) - (self.keep_last or 0))]
        began = _credible_beginnings(receipts, now)
        bound = now - (self.older_than or datetime.timedelta())
        return {run.run_id for run in beyond if began[run.run_id] <= bound}


@dataclasses.dataclass(frozen=True)
class CleanedPipeline:
    """What a policy frees in a pipeline, and what stays.

    Attributes:
      pipeline: Name of the pipeline.
      freed_bytes: Sum of what is freed.
      frees: Freed bytes by kind of file.
      keeps: Bytes that stay by the reason why they stay.
      outdated_runs: Ids of the outdated runs.
      staying_runs: Ids of all other runs.
      withdrawn_versions: Versions that are withdrawn from the serving folder.
    """

    pipeline: str
    freed_bytes: int
    frees: dict[str, int]
    keeps: dict[str, int]
    outdated_runs: list[str]
    staying_runs: list[str]
    withdrawn_versions: list[int]


@dataclasses.dataclass(frozen=True)
class Cleaned:
    """What a policy frees below an output folder.

    Attributes:
      applied: Whether it was removed; False where it only would be.
      freed_bytes: Sum over the pipelines.
      pipelines: Figures of each pipeline.
    """

    applied: bool
    freed_bytes: int
    pipelines: tuple[CleanedPipeline, ...]


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What to remove from a pipeline, and what stays.

    Attributes:
      locations: Folders of the pipeline.
      outdated: Ids of the outdated runs.
      staying: Ids of all other runs.
      artifacts: Artifacts to mark as deleted in ML Metadata.
      versions: Versions to withdraw from the serving folder.
      removed: Files and folders by kind.
      kept: Files and folders by the reason why they stay.
    """

    locations: Locations
    outdated: list[str]
    staying: list[str]
    artifacts: list[mlmd.Artifact]
    versions: list[int]
    removed: dict[str, list[pathlib.Path]]
    kept: dict[str, list[pathlib.Path]]


def clean(policy: Policy, pipeline: str | None, output_dir: pathlib.Path, apply: bool) -> Cleaned:
    """Finds what a policy frees, and removes it where asked to.

    Args:
      policy: Rules for what is outdated.
      pipeline: Name of the pipeline; None cleans all of them.
      output_dir: Folder of all pipelines.
      apply: Whether to remove anything.

    Raises:
      UnknownRunError: There is no such pipeline, or none at all.
      LockHeldError: One of the pipelines is at work; nothing was removed.
      UsageError: A folder has runs of another pipeline, or lacks its own, as where a disk is not
        mounted; nothing was removed.
      StoreError: The ML Metadata of one cannot be read; nothing was removed.
      StoreLockedError: Another process has locked it; nothing was removed.
      OutputError: Something cannot be removed.
      ServedModelError: The bucket refuses to remove a version.
      UnreachableError: It does not answer.
    """
    places = history.chosen(output_dir, pipeline)
    with contextlib.ExitStack() as locks:
        for locations in places:
            locks.enter_context(exclusive(locations, "clean"))
            _check_there(locations)
            _check_name(locations)
            if apply:
                unfinished.complete(locations)
        # All plans first: where one pipeline cannot be cleaned, none is.
        plans = [_make_plan(locations, policy) for locations in places]
        cleaned = tuple(_measured(plan) for plan in plans)
        for plan in plans if apply else ():
            _carry_out(plan)
    return Cleaned(apply, sum(each.freed_bytes for each in cleaned), cleaned)


def make_policy(keep_last: int | None, older_than: str | None, keep_versions: int | None) -> Policy:
    """Makes a policy from the options of the command.

    Args:
      keep_last: See `Policy`.
      older_than: Number of hours, days or weeks, such as `12h`, `30d` or `4w`.
      keep_versions: See `Policy`.

    Raises:
      UsageError: No rule is given, or the age is not an age.
    """
    if keep_last is None and older_than is None and keep_versions is None:
        raise UsageError(
            "no rule says what is outdated; expected --keep-last N, --older-than AGE, "
            "--keep-versions N or several of them."
        )
    return Policy(keep_last, None if older_than is None else _age(older_than), keep_versions)


def _age(text: str) -> datetime.timedelta:
    matched = _AGE.fullmatch(text)
    if not matched:
        raise UsageError(f"{text!r} is no age; expected hours, days or weeks: 12h, 30d or 4w.")
    return datetime.timedelta(**{_UNITS[matched[2]]: int(matched[1])})


def _make_plan(locations: Locations, policy: Policy) -> _Plan:
    """Decides what goes and what stays; only the holder of the pipeline's lock may call it."""
    receipts = history.receipts_of(locations)
    outdated = policy.outdated(receipts, datetime.datetime.now(datetime.UTC))
    staying = _staying(locations, receipts, outdated)
    withdrawn, served = _versions(locations, receipts, policy.keep_versions)
    artifacts = Artifacts(locations, staying, served)
    if artifacts.outdated and not (staying or outdated):
        raise UsageError(
            f"{shown(str(locations.runs))} has no run, though ML Metadata knows what runs made; "
            "expected their folders, which say what is still needed. Mount the disk, or put them "
            f"back. If they are lost, remove {shown(str(locations.artifacts))} by hand."
        )
    removed = {
        _SERVED: _folders(locations, withdrawn),
        **artifacts.removed(),
        _ANSWERS: _answers(locations, outdated),
        _CUT_SHORT: [*artifacts.unknown(), *_cut_short(locations, receipts, staying)],
    }
    gone = {path for paths in removed.values() for path in paths}
    kept = {
        **artifacts.kept(),
        _SERVED: _folders(locations, served),
        _RUN_FOLDERS: [path for path in locations.runs.glob("*/*") if path not in gone],
    }
    return _Plan(locations, sorted(outdated), staying, artifacts.outdated, withdrawn, removed, kept)


def _check_there(locations: Locations) -> None:
    """Refuses links that lead nowhere: what needs the artifacts may be on a disk that is not there.

    Raises:
      UsageError: There is such a link, or a file in the place of the folder of runs.
    """
    for path in (locations.runs, locations.metadata, locations.database):
        if path.is_symlink() and not path.exists():
            raise UsageError(
                f"{shown(str(path))} is a link that leads nowhere; expected what it led to, since "
                "that says which files are still needed. Mount its disk, or remove the link."
            )
    if locations.runs.exists() and not locations.runs.is_dir():
        raise UsageError(
            f"{shown(str(locations.runs))} is no folder; expected the folders of the runs. Put it "
            "back."
        )


def _check_name(locations: Locations) -> None:
    """Refuses a folder with runs of another name: ML Metadata knows all they made by that name.

    Raises:
      UsageError: The folder was renamed, or a run was copied into it.
    """
    others = sorted(history.names_in(locations) - {locations.root.name})
    if others:
        raise UsageError(
            f"{shown(str(locations.root))} has runs of the pipeline {shown(others[0])}; expected "
            "only its own, since what others made could not be told from leftovers. Give the "
            f"folder its name {shown(others[0])} back, or remove these runs from "
            f"{shown(str(locations.runs))}."
        )


def _staying(locations: Locations, receipts: list[Receipt], outdated: set[str]) -> list[str]:
    """The ids of the runs that stay: also those whose receipts were left out as unreadable."""
    known = [run.run_id for run in receipts]
    # Not with `glob`, which passes over in silence what may not be read.
    folders = locations.runs.iterdir() if locations.runs.exists() else ()
    unread = {folder.name for folder in folders} - {*known}
    return [*(run_id for run_id in known if run_id not in outdated), *sorted(unread)]


def _versions(
    locations: Locations, receipts: list[Receipt], keep: int | None
) -> tuple[list[int], list[int]]:
    """The versions to withdraw, and those that stay."""
    served = versions.served_versions(locations.serving)
    if keep is None:
        return [], served
    # Where the newest version cannot be read, an older one may be needed.
    served_version.read(locations)
    withdrawn = [version for version in served[:-keep] if version != _last_pushed(receipts)]
    return withdrawn, [version for version in served if version not in withdrawn]


def _folders(locations: Locations, numbers: list[int]) -> list[pathlib.Path]:
    """The folders of versions, and the folders of what is kept beside them."""
    kept = (versions.kept_folder(locations.serving, number) for number in numbers)
    return [
        *(locations.serving / str(number) for number in numbers),
        *(folder for folder in kept if folder.exists()),
    ]


def _credible_beginnings(
    receipts: Sequence[Receipt], now: datetime.datetime
) -> dict[str, datetime.datetime]:
    """When each run began; a time in the future is replaced by the time of the run after it."""
    beginnings, after = {}, now
    for receipt in reversed(receipts):
        after = receipt.began if receipt.began <= now else after
        beginnings[receipt.run_id] = after
    return beginnings


def _last_pushed(receipts: list[Receipt]) -> int | None:
    """The version that the last completed run pushed; None where it pushed none.

    A rollback may have replaced it. Without it, an unchanged run would push its model once more.
    """
    completed = [run.pushed_version for run in receipts if run.status == Status.COMPLETED]
    return completed[-1] if completed else None


def _carry_out(plan: _Plan) -> None:
    """Removes what the plan says; only the holder of the pipeline's lock may call it.

    Raises:
      OutputError: Something cannot be removed, or ML Metadata cannot record it; another call
        continues from there.
      ServedModelError: The bucket refuses to remove a version, or holds those of others.
      UnreachableError: It does not answer.
    """
    artifacts = [kind for kind in plan.removed if kind not in (_SERVED, _ANSWERS, _CUT_SHORT)]
    try:
        _remove(plan, [_CUT_SHORT, _ANSWERS])
        address = bucket.address_of(plan.locations.serving)
        if address and plan.versions:
            # The newest may not be there yet, and readers need one.
            bucket.catch_up(plan.locations.serving, address)
        for version in plan.versions:
            if address:
                bucket.withdraw(address, version)
            versions.withdraw(plan.locations.serving, version)
        _mark_deleted(plan)
        _remove(plan, artifacts)
    except ObjectStoreError as error:
        raise served_version.in_bucket(error) from error
    except OSError as error:
        raise OutputError(
            f"{shown(str(error.filename))} cannot be removed ({error.strerror}); expected write "
            f"permission for everything below {plan.locations.root}. What is gone stays gone: fix "
            "that, and clean again."
        ) from error


def _mark_deleted(plan: _Plan) -> None:
    if not plan.artifacts:
        return
    for artifact in plan.artifacts:
        artifact.state = mlmd.Artifact.DELETED
    place = metadata.place_of(plan.locations)
    try:
        store = metadata.open_store(place)
        store.put_artifacts(plan.artifacts, field_mask_paths=["state"])
    except (StoreError, StoreLockedError) as error:
        raise OutputError(
            f"{metadata.shown_place(place)} cannot note which artifacts go ({error}); expected "
            "write permission and free disk space there. The artifacts themselves are untouched: "
            "free a little space by hand, and clean again."
        ) from error


def _remove(plan: _Plan, kinds: list[str]) -> None:
    for path in (path for kind in kinds for path in plan.removed[kind]):
        disk.remove(path)


def _answers(locations: Locations, outdated: set[str]) -> list[pathlib.Path]:
    paths = [locations.runs / run_id / features.PREDICTIONS_FILE for run_id in sorted(outdated)]
    return [path for path in paths if path.exists()]


def _cut_short(
    locations: Locations, receipts: list[Receipt], staying: list[str]
) -> list[pathlib.Path]:
    """What killed runs and pushes left, except snapshots that a staying run may resume from."""
    resumable = any(run.run_id in staying and _may_resume(run) for run in receipts)
    snapshots = () if resumable else locations.artifacts.glob("*/backups/*")
    return [
        *locations.artifacts.glob("*/.system/*/*"),
        *snapshots,
        *locations.runs.glob(f"*/{TEMPORARY_FOLDER}"),
        *versions.unfinished(locations.serving),
    ]


def _may_resume(run: Receipt) -> bool:
    """Whether a run was cut off in its training, so that a resumed run may want its snapshots."""
    # A snapshot does not say whose it is, and clocks cannot be trusted with that.
    trainer = run.nodes.get(TRAINER)
    cut_off = trainer is None or trainer.status in (NodeStatus.FAILED, NodeStatus.INTERRUPTED)
    return cut_off and run.status != Status.COMPLETED


def _measured(plan: _Plan) -> CleanedPipeline:
    frees = disk_usage.freed_bytes(plan.removed)
    return CleanedPipeline(
        pipeline=plan.locations.root.name,
        freed_bytes=sum(frees.values()),
        frees=frees,
        keeps=disk_usage.kept_bytes(plan.kept),
        outdated_runs=plan.outdated,
        staying_runs=plan.staying,
        withdrawn_versions=plan.versions,
    )
