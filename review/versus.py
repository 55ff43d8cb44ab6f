"""Two runs side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.records.receipt import Code, Receipt
from review import classification, comparison
from review.album import Album
from review.answers import Predictions, read_predictions
from review.artifacts import AbsentError, FinishedRun, Gaps
from review.origin import NOT_KNOWN, lineage, run_of
from review.summary import Comparison, ImageRecord, Lineage, RunComparison, Sheet

_NO_LOCK = "none: installed by hand"
# More of them say only that the code is another one.
_MOST_FILES = 20


def compare(first: FinishedRun, second: FinishedRun) -> RunComparison:
    """Compares two runs, of the same pipeline or of two.

    Args:
      first: The baseline.
      second: The candidate.
    """
    gaps = Gaps()
    found = gaps.fill("comparison", lambda: _compared(first, second))
    compared, sheet, images = found or (None, None, [])
    one, other = lineage(first.receipt), lineage(second.receipt)
    return RunComparison(
        first=run_of(first.receipt),
        second=run_of(second.receipt),
        comparison=compared,
        missing=gaps.reasons.get("comparison"),
        accuracies=(
            classification.accuracy(first.receipt),
            classification.accuracy(second.receipt),
        ),
        parameters=_differing(_parameters(one), _parameters(other)),
        facts=_differing(_facts(first.receipt, one), _facts(second.receipt, other))
        | _changed_files(first.receipt.code, second.receipt.code),
        sheet=sheet,
        images=images,
    )


def _compared(
    first: FinishedRun, second: FinishedRun
) -> tuple[Comparison, Sheet | None, list[ImageRecord]]:
    before, now = _predictions(first), _predictions(second)
    same = (
        before.class_names == now.class_names
        and before.ids == now.ids
        and np.array_equal(before.labels, now.labels)
        and before.image_shape == now.image_shape
        and before.images_digest() == now.images_digest()
    )
    if not same:
        raise AbsentError(
            "The two runs were not tested on the same images with the same labels, so their "
            "answers cannot be compared one by one. Run one of them again on the data of the other."
        )
    album = Album(dataclasses.replace(now, baseline=before.candidate))
    compared = comparison.compare(
        album, before.candidate, second.receipt.run_id, first.receipt.run_id
    )
    return compared, album.sheet(), album.records()


def _predictions(run: FinishedRun) -> Predictions:
    try:
        return read_predictions(run)
    except AbsentError as absent:
        raise AbsentError(f"Run {run.receipt.run_id}: {absent}") from absent


def _parameters(origin: Lineage) -> dict[str, str]:
    # The seed is one of the facts, where people look for it.
    return {key: value for key, value in origin.parameters.items() if key != "seed"}


def _facts(receipt: Receipt, origin: Lineage) -> dict[str, str]:
    """Everything but its parameters that a run depends on, by name."""
    return {
        "data": receipt.data.description,
        **origin.data,
        "SHA-256 of the schema": receipt.data.schema_sha256,
        "weights at the start": _starting_weights(receipt),
        "SHA-256 of the code": receipt.code.sha256,
        "revision": origin.revision or NOT_KNOWN,
        "uncommitted changes": {True: "yes", False: "no", None: NOT_KNOWN}[origin.dirty],
        "lock": origin.lock or _NO_LOCK,
        "SHA-256 of the lock": origin.lock_sha256,
        "seed": str(origin.seed),
        "precision": origin.precision,
        **origin.machine,
        **origin.versions,
    }


def _starting_weights(receipt: Receipt) -> str:
    if receipt.warm_start_from:
        return f"those of the model {receipt.warm_start_from.digest}"
    return "random" if receipt.model_digest else NOT_KNOWN


def _changed_files(first: Code, second: Code) -> dict[str, tuple[str, str]]:
    """The source files that differ, as far as the receipts name them."""
    names = sorted(
        name
        for name in {**first.files, **second.files}
        if first.files.get(name) != second.files.get(name)
    )
    if not names:
        return {}
    return {"source files that differ": (_those_in(first, names), _those_in(second, names))}


def _those_in(code: Code, names: Sequence[str]) -> str:
    own = [name for name in names if name in code.files]
    more = [f"and {len(own) - _MOST_FILES} more"] if len(own) > _MOST_FILES else []
    return ", ".join([*own[:_MOST_FILES], *more]) or "none of them"


def _differing(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Both values of each name where they differ; a value that is missing is `not known`."""
    return {
        name: (first.get(name, NOT_KNOWN), second.get(name, NOT_KNOWN))
        for name in {**first, **second}
        if first.get(name) != second.get(name)
    }
