"""Where a served model comes from, and what became of it: from receipts and ML Metadata."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from cli.render import runs
from components.pusher import versions
from operations import rollback
from pipeline import config, paths
from pipeline.datasets import data
from pipeline.errors import ConfigurationError, UnknownRunError
from pipeline.locations import Locations
from pipeline.nodes import TRAINER
from pipeline.records import history, metadata

_MODEL_FILE = "saved_model.pb"
_METRICS = (
    "test_accuracy",
    "test_count",
    "cross_entropy",
    "top_2_accuracy",
    "calibration",
    "per_class",
    "macro_avg",
    "weighted_avg",
    "confusion",
    "robustness",
)
_ORIGIN = (
    "model_digest",
    "data",
    "code",
    "lock",
    "lock_sha256",
    "versions",
    "config",
    "hyperparameters",
    "warm_start_from",
    "gates",
)
_RUN = ("run_id", "command", "host", "user", "began", "seconds", "status", "verdict")
AS_PUSHED, CHANGED, REMOVED = "as it was pushed", "changed since it was pushed", "removed"
_SHOWN_DIGEST = 16


@dataclasses.dataclass(frozen=True)
class _Model:
    """A model that was found.

    Attributes:
      locations: of its pipeline.
      version: under which it was served; None where it never was.
      digest: of its export; None where that is gone, and no receipt tells.
      run: the run that pushed it, or else the first that had it; None where no receipt tells.
    """

    locations: Locations
    version: int | None
    digest: str | None
    run: dict[str, Any] | None


def main(subject: str, pipeline: str | None, output_dir: pathlib.Path, as_json: bool) -> None:
    """Prints where a version, or the model in a folder, comes from.

    Args:
      subject: the number of a version, or a path to an export or into one.
      pipeline: its name; None looks in all of them.
      output_dir: of all pipelines.
      as_json: whether to print one JSON document.

    Raises:
      UnknownRunError: where no record knows of it.
    """
    found = lineage(subject, pipeline, output_dir)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _print(found)


def lineage(subject: str, pipeline: str | None, output_dir: pathlib.Path) -> dict[str, Any]:
    """All that is known of a model, as `lineage --json` prints it; see `main`.

    Raises:
      UnknownRunError: where no record knows of it.
    """
    named = [history.find_pipeline(output_dir, pipeline)] if pipeline else None
    places = named or history.pipelines(output_dir)
    if subject.isascii() and subject.isdigit():
        return _told(_of_version(int(subject), places, output_dir))
    export = _export_of(pathlib.Path(subject))
    return _told(_of_served(export) or _of_content(export, places, output_dir))


def _of_version(version: int, places: list[Locations], output_dir: pathlib.Path) -> _Model:
    known: set[int] = set()
    for locations in places:
        receipts, rollbacks = history.receipts_of(locations), rollback.recorded(locations)
        here = {run["pushed_version"] for run in receipts if run["pushed_version"]}
        here |= {done.new_version for done in rollbacks}
        here |= set(versions.served_versions(locations.serving))
        if version in here:
            run = rollback.pushing_run(rollback.origin(version, rollbacks), receipts)
            return _served_model(locations, version, run, receipts)
        known |= here
    raise rollback.unknown_version(version, sorted(known), output_dir)


def _served_model(
    locations: Locations,
    version: int,
    run: dict[str, Any] | None,
    receipts: list[dict[str, Any]],
) -> _Model:
    folder = locations.serving / str(version)
    digest = run["export_digest"] if run else None
    if digest is None and folder.is_dir():
        # Put there by somebody, or by a run without a receipt: known by its content alone.
        digest = versions.content_digest(folder)
        run = next(iter(_with_content(digest, receipts)), None)
    return _Model(locations, version, digest, run)


def _of_served(export: pathlib.Path) -> _Model | None:
    """The model in a folder of versions, whatever the output folder is; None where it is none."""
    locations, name = Locations(export.parent.parent), export.name
    served = map(str, versions.served_versions(locations.serving))
    if export.parent != locations.serving or name not in served:
        return None
    return _of_version(int(name), [locations], locations.root.parent)


def _of_content(export: pathlib.Path, places: list[Locations], output_dir: pathlib.Path) -> _Model:
    digest = versions.content_digest(export)
    for locations in places:
        same = _with_content(digest, history.receipts_of(locations))
        pushed = [run for run in same if run["pushed_version"]]
        if same:
            run = (pushed or same)[0]
            return _Model(locations, run["pushed_version"], digest, run)
    raise UnknownRunError(
        f"no run below {output_dir} made the model in {export}; expected one that they made. "
        "Its runs may have another --output-dir, or its files were changed."
    )


def _with_content(digest: str | None, receipts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [run for run in receipts if digest and run["export_digest"] == digest]


def _export_of(path: pathlib.Path) -> pathlib.Path:
    """The folder of the model that a path lies in."""
    resolved = paths.resolved(path, "lineage")
    for folder in (resolved, *resolved.parents):
        if resolved.exists() and (folder / _MODEL_FILE).is_file():
            return folder
    raise UnknownRunError(
        f"{path} is neither the number of a version nor a path in a model; expected one such as "
        f"1763866000 or outputs/fashion-mnist/serving/1763866000/{_MODEL_FILE}."
    )


def _told(model: _Model) -> dict[str, Any]:
    """What there is to say of a model."""
    # Without a receipt, a value is null.
    run = model.run or {}
    return {
        "pipeline": model.locations.root.name,
        "version": model.version,
        "export_digest": model.digest,
        **_standing(model),
        **_runs_with(model),
        "run": {key: run.get(key) for key in _RUN} if run else None,
        **{key: run.get(key) for key in _ORIGIN},
        "config_changes": _changes(run) if run else None,
        "metrics": {key: run.get(key) for key in _METRICS} if run else None,
        "nodes": _nodes(model.locations, run) if run else None,
    }


def _standing(model: _Model) -> dict[str, Any]:
    """Whether it is served, as what, and how rollbacks changed that."""
    served = versions.served_versions(model.locations.serving)
    rollbacks = [
        dataclasses.asdict(done)
        for done in rollback.recorded(model.locations)
        if model.version in (done.rolled_back_from, done.rolled_back_to, done.new_version)
    ]
    return {
        "path": str(model.locations.serving / str(model.version)) if model.version else None,
        "content": _content(model),
        "served": served[-1:] == [model.version],
        "served_version": max(served, default=None),
        "rollbacks": rollbacks,
    }


def _content(model: _Model) -> str | None:
    """Whether the files below the serving folder are those that were pushed."""
    if model.version is None:
        return None
    folder = model.locations.serving / str(model.version)
    if not folder.is_dir():
        return REMOVED
    return AS_PUSHED if versions.content_digest(folder) == model.digest else CHANGED


def _runs_with(model: _Model) -> dict[str, Any]:
    """Which runs trained the model, pushed it, and took it again."""
    receipts = history.receipts_of(model.locations)
    pushed = rollback.recorded(model.locations)
    origin = rollback.origin(model.version, pushed) if model.version else None
    named = [run["run_id"] for run in receipts if origin and run["pushed_version"] == origin]
    trained = [
        run["run_id"]
        for run in _with_content(model.digest, receipts)
        if run["nodes"].get(TRAINER, {}).get("status") == metadata.COMPLETE
    ]
    return {
        "trained_by": next(iter(trained), None),
        "pushed_by": next(iter(named), None),
        "reused_by": named[1:],
    }


def _changes(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The values that are not the profile's own, by dotted key: the value and the default."""
    values = dict(_flat(run["config"], ""))
    try:
        sample = run["data"]["name"] == data.SAMPLE
        profile = config.load(values.pop("profile"), sample=sample)
    except ConfigurationError:
        # A profile that is no more had its own values; here are all of them.
        profile = None
    defaults = dict(_flat(profile.model_dump(mode="json"), "")) if profile else {}
    # Where the checkout lay changes nothing; `data` has the digest of what the schema said.
    values.pop("schema_file", None)
    return {
        key: {"value": value, "default": defaults.get(key)}
        for key, value in values.items()
        if value != defaults.get(key)
    }


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _nodes(locations: Locations, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """How each node ended, and what it made: digest, and where that lies or lay."""
    nodes: dict[str, metadata.NodeRecord] = {}
    if locations.metadata.exists():
        store = metadata.open_store(locations.metadata)
        nodes = metadata.read_nodes(store, run["run_id"], list(run["nodes"]))
    return {
        name: {**entry, "artifacts": _artifacts(run, name, nodes.get(name))}
        for name, entry in run["nodes"].items()
    }


def _artifacts(
    run: dict[str, Any], name: str, node: metadata.NodeRecord | None
) -> dict[str, dict[str, Any]]:
    paths = {key: artifacts[0].uri for key, artifacts in node.outputs.items()} if node else {}
    digests = {
        key: digest
        for of_node, _, key, digest in (
            (*artifact.partition("."), digest) for artifact, digest in run["digests"].items()
        )
        if of_node == name
    }
    return {
        key: {
            "digest": digests.get(key),
            "path": paths.get(key),
            "there": key in paths and pathlib.Path(paths[key]).exists(),
        }
        for key in {**digests, **paths}
    }


def _print(found: dict[str, Any]) -> None:
    console = runs.make_console()
    lines = [*_standing_lines(found), *_runs_lines(found)]
    if found["run"]:
        lines += _origin_lines(found)
    width = max(len(label) for label, _ in lines) + 2
    text = "\n".join(f"{label:<{width}}{told}" for label, told in lines)
    console.print(text, soft_wrap=True, highlight=False, markup=False)
    if found["gates"]:
        console.print(_gate_table(found["gates"]))
    if found["nodes"]:
        console.print(_artifact_table(found["nodes"]))


def _standing_lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("Pipeline", found["pipeline"])]
    if found["version"]:
        standing = "served now" if found["served"] else f"served is {found['served_version']}"
        lines.append(("Version", f"{found['version']}, {standing}"))
        lines.append(("Folder", f"{found['path']}, {found['content']}"))
    else:
        lines.append(("Version", "never pushed"))
    lines.append(("Export", found["export_digest"] or "not known"))
    for done in found["rollbacks"]:
        told = (
            f"{done['time']} by {done['user']}: from {done['rolled_back_from']} back to "
            f"{done['rolled_back_to']}, served again as {done['new_version']}"
        )
        lines.append(("Rollback", told))
    return lines


def _runs_lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    labels = {"trained_by": "Trained by", "pushed_by": "Pushed by"}
    lines = [(label, found[key] or "no run that is known") for key, label in labels.items()]
    if found["reused_by"]:
        lines.append(("Taken again", ", ".join(found["reused_by"])))
    return lines


def _origin_lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    run, taken, code = found["run"], found["data"], found["code"]
    dirty = ", with changes that were not committed" if code["dirty"] else ""
    lines = [
        ("Run", f"{run['run_id']}, {run['verdict']}: {run['command']}"),
        ("Data", taken["name"]),
        *((f"  {name}", digest) for name, digest in taken["sha256"].items()),
        *([("  spans", ", ".join(map(str, taken["spans"])))] if taken["spans"] else []),
        ("Code", f"{code['revision'] or 'of no known revision'}{dirty}"),
        ("Lock", f"{found['lock'] or 'none'}, {found['lock_sha256']}"),
        ("Python", _python(found["versions"])),
        ("Profile", found["config"]["profile"]),
    ]
    for key, change in found["config_changes"].items():
        value, default = json.dumps(change["value"]), json.dumps(change["default"])
        lines.append((f"  {key}", f"{value} in place of {default}"))
    accuracy, count = found["metrics"]["test_accuracy"], found["metrics"]["test_count"]
    if accuracy is not None:
        lines.append(("Accuracy", f"{accuracy:.4f} on {count:,} test images"))
    return lines


def _python(versions: dict[str, str]) -> str:
    system = f", on glibc {versions['glibc']}" if "glibc" in versions else ""
    return f"{versions['python']}{system}"


def _gate_table(gates: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("gate", "of", "value", "least", ""):
        table.add_column(heading, justify="right" if heading in ("value", "least") else "left")
    for gate in gates:
        outcome = "passed" if gate["passed"] else "refused"
        value = "not measured" if gate["value"] is None else f"{gate['value']:.4f}"
        values = (value, f"{gate['threshold']:.4f}")
        table.add_row(gate["metric"], escape(gate["slice"]), *values, outcome)
    return table


def _artifact_table(nodes: dict[str, dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("node", "status", "output", "sha256", "where"):
        table.add_column(heading, overflow="fold")
    for name, node in nodes.items():
        made = [
            (key, (artifact["digest"] or "")[:_SHOWN_DIGEST], _where(artifact))
            for key, artifact in node["artifacts"].items()
        ]
        for row in made or [("", "", "")]:
            table.add_row(name, node["status"], *map(escape, row))
    return table


def _where(artifact: dict[str, Any]) -> str:
    path = artifact["path"] or "not known to ML Metadata"
    return path if artifact["there"] or not artifact["path"] else f"removed: {path}"
