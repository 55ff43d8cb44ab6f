"""The data of a run: counts, changes since the run before, DataGate's findings, suspects."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
import pydantic
from tensorflow_metadata.proto.v0 import statistics_pb2

from components import features
from pipeline.nodes import DATA_GATE
from pipeline.records.outcomes import Verdict
from pipeline.records.receipt import Receipt
from review import statistics
from review.album import Album, image_sheet, rounded
from review.answers import Predictions
from review.artifacts import (
    GATE_REPORT,
    STATISTICS,
    FinishedRun,
    Gaps,
    class_names,
    read,
    read_arrays,
)
from review.summary import (
    Data,
    Drift,
    Finding,
    Imbalance,
    LabelError,
    ReadData,
    Sheet,
    SimilarCount,
    SimilarPair,
    SkippedImage,
    SplitCounts,
    Suspects,
    stored_summary,
)

_LABEL_ERROR_CONFIDENCE = 0.95
# With more of them the model is wrong, not the labels; and the page stays small.
_LISTED_LABEL_ERRORS = 250
# The two of a pair side by side.
_PAIR_COLUMNS = 2
_MOST_BYTES_OF_PAIRS = 80_000
# How many times the smallest class the largest is where the page says that classes are uneven.
_UNEVEN = 2
# Name of DataGate's check of it.
_DRIFT = "drift"
_NO_DISTANCES = (
    "DataGate stopped the run, so it left no table of distances. The findings above are those that "
    "stopped it. Warnings, also of drift, are only in the log of the run."
)
# As after an update of this project.
_NO_REVIEW = (
    "No run before this one has a review that describes its data in the form that this version of "
    "the project reads, so there is none to compare with."
)
_Counts = dict[str, int]


class _Report(pydantic.BaseModel):
    """The report that DataGate writes."""

    findings: list[Finding]
    drifts: list[Drift]
    compared_with: str | None


class _Pair(pydantic.BaseModel):
    """A pair of similar images as DataGate writes it, with labels instead of names."""

    first: str
    second: str
    first_split: str
    second_split: str
    first_label: int
    second_label: int
    distance: float


class _Similar(pydantic.BaseModel):
    """The similar images that DataGate writes."""

    counts: list[SimilarCount]
    pairs: list[_Pair]
    searched: int
    images: int


def data(
    run: FinishedRun, earlier: Sequence[Receipt], runs_folder: pathlib.Path, gaps: Gaps
) -> Data:
    """The data of a run, and how it differs from that of the run before.

    Args:
      run: Run that has ended.
      earlier: Receipts of earlier runs of this pipeline, oldest first.
      runs_folder: Folder with the folder of each run, which has its review.
      gaps: Keeps why there is no run before, and no drift.

    Raises:
      AbsentError: where the run did not get to statistics of its data, or they are gone.
    """
    names = class_names(run)
    counts = {split: _class_counts(run, split, names) for split in features.SPLITS}
    last, before = _run_before(earlier, runs_folder)
    if earlier and last is None:
        gaps.reasons["data.run_before"] = _NO_REVIEW
    findings, drifts = _gate_report(run, gaps)
    return Data(
        reading=_reading(run.receipt),
        splits=[
            SplitCounts(name=split, count=sum(now.values()), classes=now, before=before.get(split))
            for split, now in counts.items()
        ],
        imbalance=_imbalance(counts[features.TRAIN_SPLIT]),
        run_before=last.run_id if last else None,
        class_distance=_distance(counts, before),
        same_files=last.data.sha256 == run.receipt.data.sha256 if last else None,
        findings=findings,
        drifts=drifts,
    )


def _reading(receipt: Receipt) -> ReadData | None:
    reading = receipt.reading
    if reading is None:
        return None
    return ReadData(
        summary=reading.summary,
        border=reading.border,
        border_brightness=reading.border_brightness,
        fit=reading.fit,
        skipped=[SkippedImage(name=file.name, reason=file.reason) for file in reading.skipped],
        skipped_count=reading.skipped_count,
    )


def _class_counts(run: FinishedRun, split: str, names: list[str]) -> _Counts:
    """Images of each class in a split, by name, as TFDV counted them."""
    path = run.path(STATISTICS, features.split_folder(split), features.STATISTICS_FILE)
    found = read(path, _label_counts)
    unknown = {f"label {label}": n for label, n in found.items() if label not in range(len(names))}
    return {**{name: found.get(label, 0) for label, name in enumerate(names)}, **unknown}


def _label_counts(content: bytes) -> dict[int, int]:
    # TFDV treats a categorical integer as a string, and orders the values by frequency.
    found = statistics_pb2.DatasetFeatureStatisticsList.FromString(content)
    label = next(f for f in found.datasets[0].features if f.path.step[0] == features.LABEL)
    ranks = label.string_stats.rank_histogram.buckets
    return {int(bucket.label): int(bucket.sample_count) for bucket in ranks}


def _imbalance(counts: _Counts) -> Imbalance | None:
    present = {name: count for name, count in counts.items() if count}
    if not present:
        return None
    largest, smallest = (choose(present, key=present.__getitem__) for choose in (max, min))
    ratio = present[largest] / present[smallest]
    if ratio < _UNEVEN:
        return None
    return Imbalance(
        largest=largest,
        largest_count=present[largest],
        smallest=smallest,
        smallest_count=present[smallest],
        ratio=ratio,
    )


def _run_before(
    earlier: Sequence[Receipt], runs_folder: pathlib.Path
) -> tuple[Receipt | None, dict[str, _Counts]]:
    """Receipt and counts by split of the last run whose review describes its data."""
    for receipt in reversed(earlier):
        stored = stored_summary(runs_folder / receipt.run_id)
        if stored and stored.data:
            return receipt, {split.name: split.classes for split in stored.data.splits}
    return None, {}


def _distance(counts: dict[str, _Counts], before: dict[str, _Counts]) -> float | None:
    now, then = (part.get(features.TRAIN_SPLIT, {}) for part in (counts, before))
    if not (any(now.values()) and any(then.values())):
        return None
    return statistics.total_variation(now, then)


def _gate_report(run: FinishedRun, gaps: Gaps) -> tuple[list[Finding], list[Drift] | None]:
    failure = run.receipt.failure
    if failure and run.receipt.verdict == Verdict.STOPPED:
        # A node that fails leaves no artifact: its findings are in its message.
        gaps.reasons["data.drifts"] = _NO_DISTANCES
        return _stopping_findings(failure.message), None
    path = run.path(GATE_REPORT, features.DATA_GATE_REPORT_FILE)
    report = read(path, _Report.model_validate_json)
    if not report.drifts:
        gaps.reasons["data.drifts"] = _why_no_drift(run.receipt, report)
    return report.findings, report.drifts or None


def _why_no_drift(receipt: Receipt, report: _Report) -> str:
    if report.compared_with is None:
        return (
            "The run began a new line of models, so there was nothing to compare with."
            if receipt.request.new_line
            else "No model was served when the run began, so there was nothing to compare with."
        )
    if any(finding.check == _DRIFT for finding in report.findings):
        return "No statistics are kept of the served model's training data, to compare with."
    return "Nothing was compared: the schema sets no bound for drift (drift_comparator)."


def _stopping_findings(message: str) -> list[Finding]:
    """The findings in DataGate's message, which has a line `check: finding` for each."""
    lines = [line.partition(": ") for line in message.splitlines()]
    return [
        Finding(check=check, line=line) if separator else Finding(check=DATA_GATE, line=check)
        for check, separator, line in lines
    ]


def suspects(run: FinishedRun, album: Album, gaps: Gaps) -> Suspects:
    """Possible errors of the data: labels that the model contradicts, and images that are alike.

    Args:
      run: Run that has ended.
      album: Has the test images and the answers to them.
      gaps: Keeps why similar images are missing.
    """
    doubted = _doubted(album.predictions)
    contradicted = Suspects(
        label_errors=_label_errors(album.predictions, doubted[:_LISTED_LABEL_ERRORS]),
        label_error_count=len(doubted),
        label_error_confidence=_LABEL_ERROR_CONFIDENCE,
        similar_counts=None,
        similar_pairs=[],
        similar_searched=None,
        similar_of=None,
        similar_images=None,
    )
    alike = gaps.fill("suspects.similar", lambda: _with_similar(contradicted, run, album))
    return alike or contradicted


def _doubted(found: Predictions) -> np.ndarray:
    """Places of the images whose label the model contradicts, surest first."""
    confidence = found.candidate.confidence
    doubted = np.flatnonzero(~found.right & (confidence > _LABEL_ERROR_CONFIDENCE))
    return doubted[np.argsort(-confidence[doubted], kind="stable")]


def _label_errors(found: Predictions, places: np.ndarray) -> list[LabelError]:
    answers, names = found.candidate, found.class_names
    return [
        LabelError(
            example_id=found.ids[place],
            label=names[found.labels[place]],
            predicted=names[answers.choice[place]],
            probability=rounded(answers.confidence[place]),
        )
        for place in places
    ]


def _with_similar(suspects: Suspects, run: FinishedRun, album: Album) -> Suspects:
    similar = read(run.path(GATE_REPORT, features.SIMILAR_FILE), _Similar.model_validate_json)
    changes = {
        "similar_counts": similar.counts,
        "similar_pairs": [_named(pair, album.predictions.class_names) for pair in similar.pairs],
        "similar_searched": similar.searched,
        "similar_of": similar.images,
        "similar_images": _similar_images(run, album) if similar.pairs else None,
    }
    return suspects.model_copy(update=changes)


def _similar_images(run: FinishedRun, album: Album) -> Sheet:
    shape = album.predictions.image_shape
    arrays = read_arrays(run.path(GATE_REPORT, features.SIMILAR_IMAGES_FILE))
    images = np.stack([arrays["first"], arrays["second"]], axis=1).reshape(-1, *shape)
    return image_sheet(images, _PAIR_COLUMNS, _MOST_BYTES_OF_PAIRS)


def _named(pair: _Pair, names: list[str]) -> SimilarPair:
    return SimilarPair(
        first=pair.first,
        second=pair.second,
        first_split=pair.first_split,
        second_split=pair.second_split,
        first_label=names[pair.first_label],
        second_label=names[pair.second_label],
        distance=pair.distance,
    )
