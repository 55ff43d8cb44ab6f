"""Verifies a run: repeats it from its receipt, and compares the digests of all artifacts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import shutil
import socket
import tempfile
import zlib
from collections.abc import Iterator, Mapping

from operations import resume
from operations.notifications.notifying import Notifier
from operations.preparation import Progress, writable
from operations.run import run
from pipeline.errors import ConfigurationError, ExitCode, VerificationError
from pipeline.lock import exclusive
from pipeline.records import history
from pipeline.records.outcomes import Status
from pipeline.records.receipt import Code, DataRecord, Environment, Receipt

# In the output folder: on the disk that has room for a run.
_LOCK = ".verify.lock"
# Told elsewhere: by the digest of the schema, by those of the data, and by the seed. Where the
# metadata is, and where versions are copied to, says nothing of the results.
_TOLD_ELSEWHERE = ("schema_file", "spans", "seed", "metadata", "serving")
# The database belongs to the folder of the run, and others serve from its bucket: the repetition
# keeps its metadata in a file, and its versions to itself.
_ALONE = ("metadata.uri=null", "serving.bucket=null")


@dataclasses.dataclass(frozen=True)
class Verification:
    """How a run compares with its repetition.

    Attributes:
      run_id: Id of the verified run.
      artifacts: Whether each artifact is identical, by its name, in the order of the graph.
      reasons: Whatever else differs between the runs and may explain other artifacts.
    """

    run_id: str
    artifacts: dict[str, bool]
    reasons: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether all artifacts are identical."""
        return all(self.artifacts.values())

    @property
    def first_difference(self) -> str | None:
        """Name of the first artifact that differs; None where none does."""
        return next((name for name, same in self.artifacts.items() if not same), None)

    @property
    def exit_code(self) -> int:
        """Exit code of the command that verified it."""
        return 0 if self.identical else ExitCode.DIFFERENT


def verify(run_id: str, output_dir: pathlib.Path, progress: Progress) -> Verification:
    """Repeats a run in a scratch folder and compares the results.

    Args:
      run_id: Id of the run, beginning of its id, or `latest`.
      output_dir: Folder of all pipelines.
      progress: Shows how far the repetition is.

    Raises:
      UnknownRunError: where no run, or more than one, fits.
      ConfigurationError: where the run cannot be verified.
      VerificationError: where it cannot be repeated.
      LockHeldError: where another verification is at work in the same output folder.
    """
    receipt = history.find(output_dir, run_id)
    _check_verifiable(receipt, output_dir)
    with _scratch(output_dir) as scratch:
        return compare(receipt, _repeat(receipt, scratch, progress))


def _check_verifiable(receipt: Receipt, output_dir: pathlib.Path) -> None:
    if receipt.status != Status.COMPLETED:
        raise ConfigurationError(
            f"run {receipt.run_id} is {receipt.status}; expected a complete one. Go on "
            f"first, with: {receipt.command_to_go_on(output_dir)}"
        )
    if receipt.warm_start_from:
        raise ConfigurationError(
            f"run {receipt.run_id} used training.warm_start; expected a run that began at "
            "random weights. Verify a run without it."
        )
    training = receipt.config.get("training")
    if isinstance(training, dict) and training.get("deterministic") is False:
        raise ConfigurationError(
            f"run {receipt.run_id} was trained with --no-deterministic, so no other training has "
            "the same bits; expected one without it. Verify another run."
        )


def scratch_prefix() -> str:
    """How the names of the scratch folders of this machine begin.

    Others may see the output folder, too, and locks on files may not reach them. A name of a host
    may be long, and may begin with that of another one; its checksum does neither.
    """
    return f".verify-{zlib.crc32(socket.gethostname().encode()):08x}_"


@contextlib.contextmanager
def _scratch(output_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder for the repetition; also removes what a killed verification left behind."""
    with exclusive(writable(output_dir) / _LOCK, "verify"):
        # A verification at work on this machine would hold the lock.
        prefix = scratch_prefix()
        for left in output_dir.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=output_dir) as scratch:
            yield pathlib.Path(scratch)


def _repeat(receipt: Receipt, scratch: pathlib.Path, progress: Progress) -> Receipt:
    # Nothing is served in the scratch folder: there is no model to replace.
    asked = resume.request_again(receipt, scratch, verbose=False)
    # Today's speed would settle another number of epochs.
    assignments = (*asked.assignments, *receipt.settled_assignments, *_ALONE)
    request = dataclasses.replace(asked, new_line=False, assignments=assignments)
    # Nobody is notified: what it pushes is served to no one.
    again = run(request, progress, Notifier([], None))
    if again.status != Status.COMPLETED:
        reason = again.failure.message if again.failure else again.status
        raise VerificationError(
            f"run {receipt.run_id} cannot be run again: {reason}. Expected the same data, code "
            "and libraries as then; the receipt names them."
        )
    return again


def compare(receipt: Receipt, again: Receipt) -> Verification:
    """Compares the digests of a run and its repetition, and what they depend on."""
    nodes = [*receipt.nodes, *again.nodes]
    # Other code, or another configuration, may have other nodes.
    names = sorted(
        {*receipt.digests, *again.digests},
        key=lambda name: (nodes.index(name.partition(".")[0]), name),
    )
    same = {name: receipt.digests.get(name) == again.digests.get(name) for name in names}
    return Verification(receipt.run_id, same, tuple(_reasons(receipt, again)))


def _reasons(receipt: Receipt, again: Receipt) -> Iterator[str]:
    yield from _data_reasons(receipt.data, again.data)
    yield from _code_reasons(receipt, again)
    yield from _differences("configuration", _configuration(receipt), _configuration(again))
    before, now = _dependencies(receipt), _dependencies(again)
    for name in before:
        yield from _differences(name, before[name], now[name])


def _configuration(receipt: Receipt) -> dict[str, object]:
    config: dict[str, object] = {
        key: value for key, value in receipt.config.items() if key not in _TOLD_ELSEWHERE
    }
    training = config.get("training")
    if receipt.settled_epochs is not None and isinstance(training, dict):
        config["training"] = {**training, "minutes": None, "epochs": receipt.settled_epochs}
    return {key: _without_nulls(value) for key, value in config.items()}


def _without_nulls(value: object) -> object:
    """A key that an earlier version did not know is as one that is not set."""
    if not isinstance(value, Mapping):
        return value
    return {key: _without_nulls(part) for key, part in value.items() if part is not None}


def _dependencies(receipt: Receipt) -> dict[str, object]:
    """What results depend on beside data, code and configuration, by its name for people."""
    environment = receipt.environment
    return {
        "seed": receipt.seed,
        "precision": receipt.precision,
        "hyperparameters that the Tuner chose": receipt.hyperparameters,
        "lock": environment.lock,
        "content of the lock": environment.lock_sha256,
        "installed versions": environment.versions,
        "features of the processor": environment.cpu_features,
        "threads": environment.threads,
        "oneDNN": environment.onednn,
    }


def _differences(name: str, before: object, now: object) -> list[str]:
    return [] if before == now else [f"{name}: {_both(before, now)}"]


def _both(before: object, now: object) -> str:
    """Both values; where they have parts, those parts that differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return "; ".join(f"{key}: {_both(before.get(key), now.get(key))}" for key in keys)
    return f"{json.dumps(before)} then, {json.dumps(now)} now"


def _data_reasons(before: DataRecord, now: DataRecord) -> Iterator[str]:
    for name in sorted({*before.sha256, *now.sha256}):
        if before.sha256.get(name) != now.sha256.get(name):
            yield f"data: {name} holds something else than then"
    if before.schema_sha256 != now.schema_sha256:
        yield "schema: the file holds something else than then"


def _code_reasons(receipt: Receipt, again: Receipt) -> list[str]:
    before, now = receipt.code, again.code
    files = _file_reasons(before, now)
    if not files and before.sha256 == now.sha256:
        return []
    dirty = [when for when, code in (("then", before), ("now", now)) if code.dirty]
    changes = f"; with uncommitted changes {' and '.join(dirty)}" if dirty else ""
    revision = f"code: revision {before.revision} then, {now.revision} now{changes}"
    return [*files, *_first_node_concerned(receipt, again), revision]


def _file_reasons(before: Code, now: Code) -> list[str]:
    return [
        f"code: {path} {_fate(path, before, now)}"
        for path in sorted({*before.files, *now.files})
        if before.files.get(path) != now.files.get(path)
    ]


def _fate(path: str, before: Code, now: Code) -> str:
    if path not in now.files:
        return "is there no more"
    return "holds something else than then" if path in before.files else "was not there then"


def _first_node_concerned(receipt: Receipt, again: Receipt) -> list[str]:
    """The first node that runs other code; none where fingerprints cover other changes, too."""
    if _in_fingerprints(receipt.environment) != _in_fingerprints(again.environment):
        return []
    for name, node in again.nodes.items():
        before = receipt.nodes.get(name)
        if before and before.code_fingerprint not in (None, node.code_fingerprint):
            return [f"code: {name} is the first node that runs other code"]
    return []


def _in_fingerprints(environment: Environment) -> tuple[object, ...]:
    """What the fingerprint of a node covers beside its code."""
    return (
        environment.lock_sha256,
        environment.threads,
        environment.cpu_features,
        environment.onednn,
        environment.python_minor,
    )
