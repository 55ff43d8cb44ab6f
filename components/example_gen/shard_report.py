"""What a worker reports of each shard, and what the node makes of all reports."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Sequence

import numpy as np

from components import features, images
from components.example_gen import collection
from components.example_gen.readers.base import Reader, ReadingError
from components.example_gen.request import Request, names_of
from components.reading_report import MOST_NAMED, ReadingReport, SkippedFile

# Maximum number of skipped images in a message.
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class ShardReport:
    """What became of the images of a shard.

    Attributes:
      examples: Number of examples by split and label.
      skipped: Images that cannot be used, at most `MOST_NAMED`.
      skipped_counts: Number of all images that cannot be used, by split.
      dark: Number of training images with a dark border.
      bright: Number of training images with a bright border.
      border_sum: Sum of the mean brightness of the borders of the training images.
    """

    examples: dict[str, dict[str, int]]
    skipped: tuple[SkippedFile, ...]
    skipped_counts: dict[str, int]
    dark: int
    bright: int
    border_sum: float

    @property
    def skipped_count(self) -> int:
        """Number of all images that cannot be used."""
        return sum(self.skipped_counts.values())


class Counter:
    """Gathers the report of a shard."""

    def __init__(self) -> None:
        """Begins with nothing."""
        self._examples: dict[str, collections.Counter[str]] = {
            name: collections.Counter() for name in features.SPLITS
        }
        self._skipped: list[SkippedFile] = []
        self._skipped_counts = dict.fromkeys(features.SPLITS, 0)
        self._borders: list[float] = []

    def count(self, split: str, label: int, border: float) -> None:
        """Counts an example with the mean brightness of its border."""
        self._examples[split][str(label)] += 1
        if split == features.TRAIN_SPLIT:
            self._borders.append(border)

    def skip(self, split: str, name: str, reason: str) -> None:
        """Notes an image that cannot be used."""
        self._skipped_counts[split] += 1
        if len(self._skipped) < MOST_NAMED:
            self._skipped.append(SkippedFile(name, reason))

    def report(self) -> ShardReport:
        """The report."""
        return ShardReport(
            {split: dict(counts) for split, counts in self._examples.items()},
            tuple(self._skipped),
            self._skipped_counts,
            sum(border <= images.DARK_BORDER for border in self._borders),
            sum(border >= images.BRIGHT_BORDER for border in self._borders),
            sum(self._borders),
        )


def to_json(report: ShardReport) -> str:
    """The report as text."""
    return json.dumps(dataclasses.asdict(report))


def parse(text: str) -> ShardReport:
    """Reads a report from its text."""
    values = json.loads(text)
    skipped = tuple(SkippedFile(**entry) for entry in values.pop("skipped"))
    return ShardReport(skipped=skipped, **values)


def check(reports: Sequence[ShardReport], request: Request) -> None:
    """Checks that no more images were skipped than may be, and that each class has some left.

    Args:
      reports: Reports of all shards.
      request: What the node was asked for.

    Raises:
      ReadingError: Too many images cannot be used.
    """
    skipped = sum(report.skipped_count for report in reports)
    if not skipped:
        return
    count = skipped + sum(_examples(reports, split) for split in features.SPLITS)
    named = [f"{file.name}: {file.reason}" for report in reports for file in report.skipped]
    more = " | ... (log.txt of the run names them)" if skipped > _SHOWN else ""
    first = " | ".join(named[:_SHOWN]) + more
    if request.bad_files == "stop":
        raise ReadingError(
            f"{skipped:,} of {count:,} images cannot be used; expected none. {first} "
            "Fix or remove them, or leave them out with data.bad_files=skip."
        )
    if skipped > request.max_bad_share * count:
        raise ReadingError(
            f"{skipped:,} of {count:,} images cannot be used ({skipped / count:.1%}); expected at "
            f"most data.max_bad_share={request.max_bad_share}. {first} Fix or remove them, or set "
            "a larger share."
        )
    for split in features.SPLITS:
        _check_share(reports, split, request.max_bad_share, first)
    for split in (features.TRAIN_SPLIT, features.TEST_SPLIT):
        _check_classes(reports, split, request)
    if not _examples(reports, features.VALIDATION_SPLIT):
        raise ReadingError(
            "no usable image is a validation image, as all of them were skipped; expected some. "
            "Fix the files that the log of the run names."
        )


def _check_share(
    reports: Sequence[ShardReport], split: str, max_bad_share: float, first: str
) -> None:
    """Refuses a split that lost more than the share, though all data together did not.

    One image may always be left out: it can be more than the share of a small split.
    """
    skipped = sum(report.skipped_counts[split] for report in reports)
    count = skipped + _examples(reports, split)
    if skipped > max(1, max_bad_share * count):
        raise ReadingError(
            f"{skipped:,} of {count:,} images of the split {split} cannot be used "
            f"({skipped / count:.1%}); expected at most data.max_bad_share={max_bad_share} of each "
            f"split. {first} Fix or remove them, or set a larger share."
        )


def _check_classes(reports: Sequence[ShardReport], split: str, request: Request) -> None:
    for label, name in enumerate(names_of(request)):
        if not any(report.examples[split].get(str(label)) for report in reports):
            raise ReadingError(
                f"class {name} (label {label}) has no usable image in the split {split}, as all of "
                "them were skipped; expected some. Fix its files, which the log of the run names."
            )


def _examples(reports: Sequence[ShardReport], split: str) -> int:
    return sum(sum(report.examples[split].values()) for report in reports)


def joined(
    reports: Sequence[ShardReport], readers: Sequence[Reader], request: Request
) -> ReadingReport:
    """The report of the node.

    Args:
      reports: Reports of all shards.
      readers: Opened parts of the data.
      request: What the node was asked for.
    """
    trained = _examples(reports, features.TRAIN_SPLIT)
    dark = sum(report.dark for report in reports)
    bright = sum(report.bright for report in reports)
    skipped = [file for report in reports for file in report.skipped]
    kinds = np.repeat([0, 255, 128], [dark, bright, trained - dark - bright])
    return ReadingReport(
        form=readers[-1].form,
        summary=collection.summary(readers),
        ignored=tuple(line for reader in readers for line in reader.ignored),
        examples={split: _examples(reports, split) for split in features.SPLITS},
        skipped=tuple(skipped[:MOST_NAMED]),
        skipped_count=sum(report.skipped_count for report in reports),
        fit=request.fit,
        background=request.background,
        border=images.border_kind(kinds),
        border_brightness=sum(report.border_sum for report in reports) / max(trained, 1),
    )
