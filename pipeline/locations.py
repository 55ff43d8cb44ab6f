"""Folders and files of a pipeline."""

from __future__ import annotations

import dataclasses
import pathlib
import shlex

RECEIPT_FILE = "receipt.json"
REVIEW_PAGE = "review.html"
CHARTS_FILE = "charts.json"
INDEX_PAGE = "index.html"
LOG_FILE = "log.txt"
LOCK_FILE = "lock"
# Folder of temporary files in the folder of a run; it exists only during the run.
TEMPORARY_FOLDER = "tmp"
DEFAULT_OUTPUT_DIR = pathlib.Path("outputs")


@dataclasses.dataclass(frozen=True)
class RemoteLocations:
    """Locations of a pipeline on a cluster.

    Attributes:
      artifacts: URI of the root of all artifacts.
      serving: Folder of the served versions, as the nodes see it.
      metadata: None, since a cluster manages its metadata itself.
    """

    artifacts: str
    serving: str
    metadata: None = None


@dataclasses.dataclass(frozen=True)
class Locations:
    """Locations of a pipeline below the output folder.

    Attributes:
      root: Folder for all files of the pipeline.
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
    def database(self) -> pathlib.Path:
        """File that names the database of ML Metadata, if it is not the SQLite file."""
        return self.root / "metadata.json"

    @property
    def serving(self) -> pathlib.Path:
        """Folder of the served versions."""
        return self.root / "serving"

    @property
    def runs(self) -> pathlib.Path:
        """Folder with one folder per run, for receipt, log and review."""
        return self.root / "runs"

    @property
    def index(self) -> pathlib.Path:
        """Page with the list of all runs."""
        return self.root / INDEX_PAGE

    @property
    def comparisons(self) -> pathlib.Path:
        """Folder of the pages that compare two runs."""
        return self.root / "comparisons"

    @property
    def lock(self) -> pathlib.Path:
        """File that a command locks while it changes the pipeline."""
        return self.root / LOCK_FILE

    def command(self, *words: str) -> str:
        """A command for this pipeline, as a line for the shell."""
        place = ["--pipeline", self.root.name, *output_options(self.root.parent)]
        return shlex.join(["python3", "pipeline_runner.py", *words, *place])


def output_options(output_dir: pathlib.Path) -> list[str]:
    """Options of a command that name the output folder; none for the default one."""
    folder = output_dir.absolute()
    return [] if folder == DEFAULT_OUTPUT_DIR.absolute() else ["--output-dir", str(folder)]
