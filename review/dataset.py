"""What was learned from and tested on: counts, the run before, what DataGate found."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from components import features
from pipeline.nodes import DATA_GATE
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
    read_json,
)
from review.summary import (
    Data,
    Drift,
    Finding,
    LabelError,
    Sheet,
    SimilarCount,
    SimilarPair,
    SplitCounts,
    Suspects,
    stored_summary,
)

_STATISTICS_FILE = "FeatureStats.pb"
_LABEL_ERROR_CONFIDENCE = 0.95
# More than that are no suspects, but a model that is at fault; and the page stays small.
_LISTED_LABEL_ERRORS = 1_000
# The two of a pair side by side.
_PAIR_COLUMNS = 2
_Counts = dict[str, int]


def data(run: FinishedRun, earlier: list[dict[str, Any]], runs_folder: pathlib.Path) -> Data:
    """What the data of the run was, and how it differs from that of the run before.

    Args:
      run: what it left behind.
      earlier: receipts of the runs of this pipeline before it, oldest first.
      runs_folder: has the folder of each run, with its review.

    Raises:
      AbsentError: where the run did not come to statistics of its data, or they are gone.
    """
    names = class_names(run)
    counts = {split: _class_counts(run, split, names) for split in features.SPLITS}
    receipt, before = _run_before(earlier, runs_folder)
    findings, drifts = _gate_report(run)
    return Data(
        splits=[
            SplitCounts(name=split, count=sum(now.values()), classes=now, before=before.get(split))
            for split, now in counts.items()
        ],
        run_before=receipt["run_id"] if receipt else None,
        class_distance=_distance(counts, before),
        same_files=_files(receipt) == _files(run.receipt) if receipt else None,
        findings=findings,
        drifts=drifts,
    )


def _class_counts(run: FinishedRun, split: str, names: list[str]) -> _Counts:
    """Images of each class in a split, by name, as TFDV counted them."""
    path = run.path(STATISTICS, f"Split-{split}", _STATISTICS_FILE)
    found = read(path, _label_counts)
    unknown = {f"label {label}": n for label, n in found.items() if label not in range(len(names))}
    return {**{name: found.get(label, 0) for label, name in enumerate(names)}, **unknown}


def _label_counts(content: bytes) -> dict[int, int]:
    # TFDV treats a categorical integer as a string, and gives the values by their frequency.
    found = statistics_pb2.DatasetFeatureStatisticsList.FromString(content)
    label = next(f for f in found.datasets[0].features if f.path.step[0] == features.LABEL)
    ranks = label.string_stats.rank_histogram.buckets
    return {int(bucket.label): int(bucket.sample_count) for bucket in ranks}


def _run_before(
    earlier: list[dict[str, Any]], runs_folder: pathlib.Path
) -> tuple[dict[str, Any] | None, dict[str, _Counts]]:
    """The last run whose review tells of its data: its receipt, and its counts by split."""
    for receipt in reversed(earlier):
        found = stored_summary(runs_folder / receipt["run_id"])
        if found and found.data:
            return receipt, {split.name: split.classes for split in found.data.splits}
    return None, {}


def _distance(counts: dict[str, _Counts], before: dict[str, _Counts]) -> float | None:
    now, then = (part.get(features.TRAIN_SPLIT, {}) for part in (counts, before))
    if not (any(now.values()) and any(then.values())):
        return None
    return statistics.total_variation(now, then)


def _files(receipt: dict[str, Any]) -> dict[str, str]:
    return receipt["data"]["sha256"]


def _gate_report(run: FinishedRun) -> tuple[list[Finding], list[Drift]]:
    if run.receipt["verdict"] == "stopped":
        # A node that fails leaves no artifact: what it found stands in its message.
        return stopping_findings(run.receipt), []
    report = read_json(run.path(GATE_REPORT, features.DATA_GATE_REPORT_FILE))
    findings = [Finding(**entry) for entry in report["findings"]]
    # Reports from before distances were kept have no such key.
    return findings, [Drift(**entry) for entry in report.get("drifts", [])]


def stopping_findings(receipt: dict[str, Any]) -> list[Finding]:
    """What DataGate stopped a run for, from its message of a line each: `check: what was found`."""
    lines = [line.partition(": ") for line in receipt["failure"]["message"].splitlines()]
    return [
        Finding(check=check, line=line) if separator else Finding(check=DATA_GATE, line=check)
        for check, separator, line in lines
    ]


def suspects(run: FinishedRun, album: Album, gaps: Gaps) -> Suspects:
    """What may be wrong with the data: labels that the model contradicts, images that are alike.

    Args:
      run: what it left behind.
      album: takes the images.
      gaps: keeps why similar images are missing.
    """
    similar = gaps.fill("suspects.similar", lambda: _similar(run, album))
    errors = _label_errors(album.predictions)
    return Suspects(
        label_errors=errors[:_LISTED_LABEL_ERRORS],
        label_error_count=len(errors),
        label_error_confidence=_LABEL_ERROR_CONFIDENCE,
        **(similar or {"similar_counts": None, "similar_pairs": [], "similar_images": None}),
    )


def _label_errors(found: Predictions) -> list[LabelError]:
    answers, names = found.candidate, found.class_names
    doubted = np.flatnonzero(~found.right & (answers.confidence > _LABEL_ERROR_CONFIDENCE))
    return [
        LabelError(
            example_id=found.ids[place],
            label=names[found.labels[place]],
            predicted=names[answers.choice[place]],
            probability=rounded(answers.confidence[place]),
        )
        for place in doubted[np.argsort(-answers.confidence[doubted], kind="stable")]
    ]


def _similar(run: FinishedRun, album: Album) -> dict[str, Any]:
    found = read_json(run.path(GATE_REPORT, features.SIMILAR_FILE))
    names = album.predictions.class_names
    pairs = [SimilarPair(**_named(entry, names)) for entry in found["pairs"]]
    return {
        "similar_counts": [SimilarCount(**entry) for entry in found["counts"]],
        "similar_pairs": pairs,
        "similar_searched": found["searched"],
        "similar_of": found["images"],
        "similar_images": _similar_images(run, album) if pairs else None,
    }


def _similar_images(run: FinishedRun, album: Album) -> Sheet:
    shape = album.predictions.images.shape[1:]
    arrays = read_arrays(run.path(GATE_REPORT, features.SIMILAR_IMAGES_FILE))
    images = np.stack([arrays["first"], arrays["second"]], axis=1).reshape(-1, *shape)
    return image_sheet(images, _PAIR_COLUMNS)


def _named(entry: dict[str, Any], names: list[str]) -> dict[str, Any]:
    labels = ("first_label", "second_label")
    return {**entry, **{key: names[entry[key]] for key in labels}}
