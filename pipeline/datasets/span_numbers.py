"""The spans of a run as numbers, as the record of the run has them."""

from __future__ import annotations

from collections.abc import Sequence


def describe(numbers: Sequence[int], reference: int) -> str:
    """Says in words which spans are trained and tested on."""
    spans = "span" if len(numbers) == 1 else "spans"
    return f"{spans} {', '.join(map(str, numbers))}; tested on span {reference}"


def assignments(numbers: Sequence[int], reference: int) -> list[str]:
    """What `run --set` takes for the same spans again when newer ones have come."""
    return [f"spans.newest={max(numbers)}", f"spans.reference={reference}"]
