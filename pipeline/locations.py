"""Where a pipeline keeps what it makes."""

from __future__ import annotations

import dataclasses
import os
import pathlib

RECEIPT_FILE = "receipt.json"
REVIEW_PAGE = "review.html"
CHARTS_FILE = "charts.json"
INDEX_PAGE = "index.html"
LOG_FILE = "log.txt"
LOCK_FILE = "lock"
# Below the folder of a run, while it is at work.
TEMPORARY_FOLDER = "tmp"
DEFAULT_OUTPUT_DIR = pathlib.Path("outputs")


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a text file whole or not at all: readers see the old one or the new one.

    So do those who come after a power failure: without the way to the disk first, a file may come
    back under its new name with nothing in it.

    Raises:
      OSError: where it cannot be written; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


@dataclasses.dataclass(frozen=True)
class RemoteLocations:
    """Where a pipeline keeps what it makes on a cluster.

    Attributes:
      artifacts: URI of the root of all artifacts.
      serving: folder of the served versions, as the nodes see it.
      metadata: None, since a cluster keeps its metadata itself.
    """

    artifacts: str
    serving: str
    metadata: None = None


@dataclasses.dataclass(frozen=True)
class Locations:
    """The folder of one pipeline below the output folder.

    Attributes:
      root: everything of this pipeline lies below it.
    """

    root: pathlib.Path

    @property
    def artifacts(self) -> pathlib.Path:
        """Root of all artifacts."""
        return self.root / "artifacts"

    @property
    def metadata(self) -> pathlib.Path:
        """SQLite file of ML Metadata."""
        return self.root / "metadata.db"

    @property
    def serving(self) -> pathlib.Path:
        """Folder of the served versions."""
        return self.root / "serving"

    @property
    def runs(self) -> pathlib.Path:
        """A folder per run: receipt, log and review."""
        return self.root / "runs"

    @property
    def index(self) -> pathlib.Path:
        """The page that lists the runs."""
        return self.root / INDEX_PAGE

    @property
    def comparisons(self) -> pathlib.Path:
        """Pages on which two runs are compared."""
        return self.root / "comparisons"

    @property
    def lock(self) -> pathlib.Path:
        """Held by the one run that is at work."""
        return self.root / LOCK_FILE
