"""The report of ExampleGen on what it read, kept in the artifact of examples.

Trainer puts into the export what a program needs to prepare further images alike.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Literal

from components import features

# The border of the training images, one-channel or not: uniformly dark, uniformly bright, or not.
Border = Literal["dark", "bright", "mixed"]
FitName = Literal["pad", "crop", "stretch"]
BadFiles = Literal["stop", "skip"]
# Maximum number of skipped files that are named.
MOST_NAMED = 10_000


@dataclasses.dataclass(frozen=True)
class SkippedFile:
    """An image that was left out.

    Attributes:
      name: Relative path, or source and row.
      reason: What is wrong with it.
    """

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class ReadingReport:
    """What ExampleGen read.

    Attributes:
      form: Form of the data, as `readers.base.Form` names it.
      summary: What was recognised, in words.
      ignored: What lies in the data folder and was not read, a line each.
      examples: Number of examples by split.
      skipped: Images that were left out, at most `MOST_NAMED`.
      skipped_count: Number of all images that were left out.
      fit: How an image of another size becomes one of the schema's: `pad`, `crop` or `stretch`.
      background: Brightness of padding and of what is transparent, 0 to 255.
      border: Border of the training images.
      border_brightness: Mean brightness of the borders of the training images, 0 to 255.
    """

    form: str
    summary: str
    ignored: tuple[str, ...]
    examples: dict[str, int]
    skipped: tuple[SkippedFile, ...]
    skipped_count: int
    fit: FitName
    background: int
    border: Border
    border_brightness: float


def write(report: ReadingReport, examples_uri: str) -> None:
    """Writes the report into the artifact of examples."""
    # Imported here: the review reads reports without TFX.
    from tfx.dsl.io import fileio

    with fileio.open(os.path.join(examples_uri, features.READING_REPORT_FILE), "w") as file:
        file.write(json.dumps(dataclasses.asdict(report), indent=1))


def read(examples_uri: str) -> ReadingReport:
    """Reads the report of an artifact of examples."""
    from tfx.dsl.io import fileio

    with fileio.open(os.path.join(examples_uri, features.READING_REPORT_FILE), "r") as file:
        return parse(file.read())


def parse(text: str) -> ReadingReport:
    """Reads a report from its JSON form."""
    values = json.loads(text)
    skipped = tuple(SkippedFile(**entry) for entry in values["skipped"])
    return ReadingReport(**{**values, "ignored": tuple(values["ignored"]), "skipped": skipped})
