"""What may be wrong with data that can be read, for a person to decide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from components.messages import listed, shown
from operations.initialization import channel_order
from operations.initialization.look import Look, Sample

# Images whose largest values lie below use a quarter of 0 to 255: 14 bits of 16, say.
_DIM = 64
_NEARLY_ALL = 0.95
# A whole number without zeros before it, and without a fraction of zeros.
_NUMBER = re.compile(r"0*(?P<value>[0-9]+?)(\.0*)?")
# What programs write where a label is missing, in lower case.
_MISSING = frozenset(["nan", "none", "null", "na", "n/a", "<na>", "nat", "undefined", "(missing)"])


def doubts(look: Look) -> Iterator[str]:
    """Says what looks like a mistake, and what to do about it, some sentences each."""
    yield from look.doubts
    yield from _narrow_pixels(look.sample)
    yield from _planes(look.sample)
    yield from _same_letters(look.class_names)
    yield from _same_numbers(look.class_names)
    yield from _missing_labels(look.class_names)


def _narrow_pixels(sample: Sample) -> Iterator[str]:
    """Pixels of 0 and 1, say. Dark images look alike, so they are not refused."""
    dim = sample.brightest[sample.brightest < _DIM]
    if len(dim) < _NEARLY_ALL * len(sample.brightest):
        return
    sixteen_bits = " Of 16 bits, only the upper 8 count: scale such files to 0 to 65,535."
    yield (
        f"In {len(dim)} of {len(sample.brightest)} images that were looked at, no pixel is above "
        f"{dim.max()}; expected values up to 255. A model that learns from them answers wrongly on "
        "ordinary images. Unless the images are meant to be so dark, scale their values to 0 to "
        f"255.{'' if sample.pixel_shape else sixteen_bits}"
    )


def _planes(sample: Sample) -> Iterator[str]:
    if sample.pixel_shape is None or not channel_order.are_planes(sample.roughness):
        return
    height, width, channels = sample.pixel_shape
    yield (
        "The images look scrambled: they are read with red, green and blue of each pixel together, "
        "and are clearly smoother if all red values come first, then all green, then all blue. If "
        "the data was written in that order, turn it around, or the model fails on ordinary "
        f"images. In NumPy: x.reshape(-1, {channels}, {height}, {width}).transpose(0, 2, 3, 1)."
    )


def _same_letters(names: Sequence[str]) -> Iterator[str]:
    """Cat and cat, say. A and a may be two classes of letters."""
    if clashes := _clashes((name.lower(), name) for name in names):
        yield (
            f"Some names of classes differ in upper and lower case alone: {listed(clashes)}. If "
            "they mean the same, write them alike in the data: they are classes of their own now."
        )


def _same_numbers(names: Sequence[str]) -> Iterator[str]:
    """1, 01 and 1.0, say, as programs write a column of numbers in different files."""
    numbers = ((_NUMBER.fullmatch(name), name) for name in names)
    if clashes := _clashes((match["value"], name) for match, name in numbers if match):
        yield (
            f"Some names of classes are the same number: {listed(clashes)}. If they mean the "
            "same, write them alike in the data: they are classes of their own now."
        )


def _clashes(names: Iterable[tuple[str, str]]) -> list[str]:
    """The names that have a key in common, joined in words; each comes after its key."""
    groups: dict[str, list[str]] = {}
    for key, name in names:
        groups.setdefault(key, []).append(name)
    return [" and ".join(map(shown, group)) for group in groups.values() if len(group) > 1]


def _missing_labels(names: Sequence[str]) -> Iterator[str]:
    if missing := [name for name in names if name.lower() in _MISSING]:
        yield (
            f"A class is called {' or '.join(map(shown, missing))}, as programs write a missing "
            "label. If that is what it is, correct or remove these images: they are a class now."
        )
