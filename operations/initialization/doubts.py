"""What may be wrong with data that can be read, for a person to decide."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence

from components import features
from components.messages import counted, listed, shown
from operations.initialization import channel_order
from operations.initialization.look import UNDECIDED_SPLIT, Look, Sample
from pipeline.config import Config, DataConfig, SplitConfig

# Images whose largest values lie below use a quarter of 0 to 255: 14 bits of 16, say.
_DIM = 64
_NEARLY_ALL = 0.95
# A whole number without zeros before it, and without a fraction of zeros.
_NUMBER = re.compile(r"0*(?P<value>[0-9]+?)(\.0*)?")
_FEWEST_IN_CLASS = 20
# How many times the smallest class the largest is where classes are uneven.
_UNEVEN = 5
# What programs write where a label is missing, in lower case.
_MISSING = frozenset(["nan", "none", "null", "na", "n/a", "<na>", "nat", "undefined", "(missing)"])


def warnings(look: Look, asked: Config) -> Iterator[str]:
    """Says what looks like a mistake or stops a run, and what to do about it, some sentences each.

    Args:
      look: What is known of the data.
      asked: Configuration that is asked for.
    """
    yield from _small_classes(look)
    yield from _missing_in_splits(look)
    yield from _missing_in_span(look)
    yield from _not_drawn(look, asked.split)
    yield from _bad_images(look, asked)
    yield from look.doubts
    yield from _narrow_pixels(look.sample)
    yield from _planes(look.sample)
    yield from _same_letters(look.class_names)
    yield from _same_numbers(look.class_names)
    yield from _missing_labels(look.class_names)


def _small_classes(look: Look) -> Iterator[str]:
    counts = look.per_class
    smallest, largest = min(counts), max(counts)
    small, large = (shown(look.class_names[counts.index(each)]) for each in (smallest, largest))
    if smallest < _FEWEST_IN_CLASS:
        yield (
            f"Class {small} has {counted(smallest, 'image')}; each class needs images in train, "
            f"val and test, and a model learns little from fewer than {_FEWEST_IN_CLASS}. Add "
            "images, or leave the class out."
        )
    if is_uneven(look):
        yield (
            f"Class {large} has {largest / smallest:.0f} times the images of class {small} "
            f"({largest:,} and {smallest:,}). Accuracy says little then: look at balanced accuracy "
            "and at the recall of each class."
        )


def _missing_in_splits(look: Look) -> Iterator[str]:
    train, undecided = look.counts[features.TRAIN_SPLIT], look.counts[UNDECIDED_SPLIT]
    # What is not drawn for another split is trained on.
    splits = {features.TRAIN_SPLIT: tuple(map(sum, zip(train, undecided, strict=True)))}
    if look.has_validation:
        splits[features.VALIDATION_SPLIT] = look.counts[features.VALIDATION_SPLIT]
    if look.has_test and look.tested.span is None:
        splits[features.TEST_SPLIT] = look.tested.counts
    for split, counts in splits.items():
        if missing := _without_images(look, counts):
            yield (
                f"Split {split} of the data has no images of {listed(missing)}; each class needs "
                "some. Add images, or leave out the class."
            )


def _missing_in_span(look: Look) -> Iterator[str]:
    span, whole_spans = look.tested.span, look.tested.whole_spans
    missing = _without_images(look, look.tested.counts)
    if span is None or not missing:
        return
    remedy = (
        f"Set spans.reference={whole_spans[0]}: that span has images of each class to test on."
        if whole_spans
        else f"Add images to span {span}, or remove the class from all spans."
    )
    yield (
        f"Models are tested on span {span}, which has no images of {listed(missing)} to test on; "
        f"each class needs some. {remedy}"
    )


def _without_images(look: Look, counts: Sequence[int]) -> list[str]:
    """The names of the classes of which there are none."""
    return [name for name, count in zip(look.class_names, counts, strict=True) if not count]


def _not_drawn(look: Look, asked: SplitConfig) -> Iterator[str]:
    if look.division.is_complete or (look.has_test and look.has_validation):
        return
    counts = look.per_class
    name = shown(look.class_names[counts.index(min(counts))])
    shares = _shares_set(look, asked)
    extent = f"with {' and '.join(shares)}" if shares else "whatever share is drawn"
    yield (
        f"The drawn splits leave a class without images in train, val or test, {extent}. The "
        f"smallest is {name}, with {counted(min(counts), 'image')}: "
        f"{'set another share, ' if shares else ''}add images, leave the class out, or choose the "
        "images of each split yourself."
    )


def _shares_set(look: Look, asked: SplitConfig) -> list[str]:
    """The shares of drawn splits that stay as they are set, with their values."""
    shares = []
    if not look.has_test and "test_share" in asked.model_fields_set:
        shares.append(f"split.test_share={asked.test_share}")
    if not look.has_validation and "validation" in asked.model_fields_set:
        shares.append(f"split.validation={asked.validation}")
    return shares


def _bad_images(look: Look, asked: Config) -> Iterator[str]:
    bad = look.sample.bad
    if bad:
        yield (
            f"{len(bad)} of {counted(look.sample.tried, 'image')} that were looked at cannot be "
            f"used. {_what_becomes_of_bad(look, asked.data)}"
        )


def _what_becomes_of_bad(look: Look, asked: DataConfig) -> str:
    limit = asked.max_bad_share
    if "bad_files" not in asked.model_fields_set:
        return (
            "A run stops at such images, unless data.bad_files is skip: repair or remove them, or "
            "see [data] in pipeline.toml."
        )
    if asked.bad_files == "stop":
        return "A run stops at such images, as data.bad_files=stop asks for: repair or remove them."
    if "max_bad_share" in asked.model_fields_set and look.bad_share > limit:
        return (
            f"A run stops, since they are more than data.max_bad_share={limit} allows: repair or "
            f"remove them, or set it to {skipped_share(look)}."
        )
    return "A run leaves such images out, as data.bad_files=skip asks for, and names them."


def bad_images(look: Look) -> str:
    """How many of the images cannot be used, and which, as a sentence."""
    bad, tried = look.sample.bad, look.sample.tried
    return (
        f"{len(bad)} of {counted(tried, 'image')} that were looked at ({len(bad) / tried:.1%}) "
        f"cannot be used: {listed([each.name for each in bad])}."
    )


def skipped_share(look: Look) -> float:
    """The share of bad images for a run to skip: of all images, there may be more than of some."""
    return min(math.ceil(200 * look.bad_share) / 100, 1.0)


def is_uneven(look: Look) -> bool:
    """Whether the largest class has so many more images that accuracy says little."""
    return max(look.per_class) >= _UNEVEN * min(look.per_class)


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
