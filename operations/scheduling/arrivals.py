"""Counts the arrivals of new data: what each look saw is kept, and the next one compares with it.

New is an image file that was not there before, whatever its name; a file of many images that is
new or was changed, unless it lost images; and a span with a number that no span had before. What
was deleted is no new data, and neither are older spans that a changed setting takes in.
"""

from __future__ import annotations

import contextlib
import pathlib

import pydantic

from components.disk import write_whole
from pipeline.datasets.dataset import DataSet, Holding

_DIGITS = 2 * Holding.DIGEST_BYTES


class Part(pydantic.BaseModel):
    """What a part of the data held, as `Holding` says.

    Attributes:
      images: Number of images.
      most: Their largest number so far.
      digests: Digests of files that are or were there, in hexadecimal form, one after the other.
      shared: Names of the files that hold many images each.
    """

    images: int
    most: int
    digests: str
    shared: frozenset[str]

    @property
    def known(self) -> frozenset[str]:
        """The digests, each by itself."""
        starts = range(0, len(self.digests), _DIGITS)
        return frozenset(self.digests[start : start + _DIGITS] for start in starts)


class Kept(pydantic.BaseModel):
    """What is kept from look to look.

    Attributes:
      arrivals: Number of looks that saw new data.
      location: Folder or file of the data.
      spans: Numbers of all spans that were there so far.
      parts: What is known of each part, by the number of its span; of data without spans, by 0.
    """

    arrivals: int = 0
    location: str = ""
    spans: frozenset[int] = frozenset()
    parts: dict[int, Part] = {}


def count(data: DataSet, file: pathlib.Path) -> int:
    """The number of looks so far that saw new data, with this one; 0 for the first.

    Args:
      data: What this look saw.
      file: Where that is kept for the next one.
    """
    before = _read(file)
    after = _after(before, data)
    if after != before:
        # Without room or permission, the next look counts the same again.
        with contextlib.suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            write_whole(file, after.model_dump_json())
    return after.arrivals


def _read(file: pathlib.Path) -> Kept:
    """What earlier looks kept; nothing where that cannot be read."""
    # A pipe would keep its reader waiting, and a device might have no end.
    if file.is_file():
        with contextlib.suppress(OSError, pydantic.ValidationError):
            return Kept.model_validate_json(file.read_bytes())
    return Kept()


def _after(before: Kept, data: DataSet) -> Kept:
    elsewhere = before.location != data.location
    known_spans = frozenset[int]() if elsewhere else before.spans
    numbers = [holding.span or 0 for holding in data.holdings]
    arrived = [
        _is_new(before.parts.get(number), holding, elsewhere or number not in known_spans)
        for number, holding in zip(numbers, data.holdings, strict=True)
    ]
    # The newest span may be gone, and come back with other content.
    newest = data.window.train[-1].number if data.window else 0
    parts = {number: part for number, part in before.parts.items() if number > newest}
    for number, holding in zip(numbers, data.holdings, strict=True):
        parts[number] = _with(before.parts.get(number), holding)
    return Kept(
        arrivals=before.arrivals + (bool(before.parts) and any(arrived)),
        location=data.location,
        spans=known_spans | (data.window.present if data.window else frozenset()),
        parts=parts,
    )


def _is_new(known: Part | None, holding: Holding, where_unknown: bool) -> bool:
    """Whether a part holds new data; of one that no look saw before, the caller knows."""
    if known is None:
        return where_unknown
    if holding.images < known.images and holding.shared and holding.shared <= known.shared:
        return False
    return not _part(holding).known <= known.known


def _with(known: Part | None, holding: Holding) -> Part:
    """What is known of a part, with what it holds now."""
    part = _part(holding)
    if known is None:
        return part
    part.most = max(part.most, known.most)
    gone = known.known - part.known
    # What was deleted may come back, as after a fault of its drive; not for ever, or it would be
    # more and more.
    if len(gone) <= part.most:
        part.digests += "".join(sorted(gone))
    return part


def _part(holding: Holding) -> Part:
    return Part(
        images=holding.images,
        most=holding.images,
        digests=holding.digests.hex(),
        shared=holding.shared,
    )
