"""What holds after a command that went wrong, whatever went wrong in it."""

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import NamedTuple

from components.pusher import served, versions

RECEIPTS = "runs/*/receipt.json"


class Ended(NamedTuple):
    """How a command ended: its exit code, negative after a signal, and what it wrote."""

    code: int
    output: str
    errors: str


def run(words):
    """Runs a command."""
    ended = subprocess.run(words, capture_output=True, text=True)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """A pipeline as it is now.

    Attributes:
      root: its folder.
      receipts: the text of each receipt, by the id of its run.
      versions: the digest of each served version, by its number.
    """

    root: Path
    receipts: dict[str, str]
    versions: dict[int, str]

    @property
    def newest(self):
        """The version that is served."""
        return max(self.versions)


def read(root):
    """Reads a pipeline; a receipt or a version that is not whole fails."""
    receipts = {path.parent.name: path.read_text("utf-8") for path in root.glob(RECEIPTS)}
    for text in receipts.values():
        json.loads(text)
    numbers = versions.served_versions(root / "serving")
    # Raises where files are missing, or are not those that were published.
    found = {number: served.read_version(root / "serving", number).digest for number in numbers}
    return Pipeline(root, receipts, found)


def check(before, outcome, codes, keeps_all=True):
    """What a command leaves behind, before anything is done about it.

    Args:
      before: the pipeline before the command.
      outcome: of the command.
      codes: exit codes that it may have.
      keeps_all: whether versions stay that are no longer served.

    Returns:
      The pipeline after it.
    """
    told = outcome.output + outcome.errors
    assert outcome.code in codes, f"ended with {outcome.code}:\n{told}"
    assert "Traceback" not in told, told
    after = read(before.root)
    # What was served is there, to the byte, and is served unless a whole new version is.
    stay = before.versions if keeps_all else {before.newest: before.versions[before.newest]}
    assert after.versions.items() >= stay.items()
    new = after.receipts.keys() - before.receipts.keys()
    assert len(new) <= 1
    assert after.receipts.keys() >= before.receipts.keys()
    if outcome.code > 0:
        assert says_why(outcome, [json.loads(after.receipts[run]) for run in new]), told
    return after


def says_why(outcome, receipts):
    """Whether one line, or the receipt of the run, says what went wrong."""
    lines = [line for line in outcome.errors.splitlines() if line.startswith("error: ")]
    failures = [receipt["failure"]["message"] for receipt in receipts if receipt["failure"]]
    told = outcome.output + outcome.errors
    # A message that wraps in the terminal is still there.
    shown = [text for text in failures if words(text)[:40] in words(told)]
    return len(lines) == 1 if lines else bool(shown)


def words(text):
    """A text without the spaces in which it may be broken."""
    return "".join(text.split())


def check_next(root, outcome):
    """What holds after the next command, which has to go well."""
    told = outcome.output + outcome.errors
    assert outcome.code == 0, f"the next command ended with {outcome.code}:\n{told}"
    assert "Traceback" not in told, told
    pipeline = read(root)
    receipts = [json.loads(text) for text in pipeline.receipts.values()]
    # The others say how they ended, by now.
    assert [r["run_id"] for r in receipts if r["status"] != "completed" and not r["failure"]] == []
    assert versions.unfinished(root / "serving") == []
    return pipeline
