"""Slices of the test images by columns of the data, such as the shop or the camera.

The columns are in `features.COLUMNS_FILE`. TFMA is given each value with a prefix: where it selects
slices by value, it takes texts that are numbers for numbers, so that "7" passes for "07".
"""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from components import features
from components.class_names import is_showable
from components.messages import counted, listed, shown

if TYPE_CHECKING:
    import pyarrow as pa

# Value of images without one.
MISSING = "(missing)"
MOST_VALUES = 1_000
# Least number of test images for a gate, where the configuration says nothing.
MIN_IMAGES = 50
_LONGEST_VALUE = 200
_PREFIX = "="
# Names with a meaning in the files of Predictions and in the evaluations.
RESERVED = frozenset(
    {
        *(features.IMAGE, features.LABEL, features.EXAMPLE_ID),
        *(features.CORRUPTION, features.STRENGTH),
        *(features.CANDIDATE, features.BASELINE),
        *(features.PROBABILITIES, features.CLASS_ID, features.CLASS_NAME),
        *(features.CLASS_NAMES, features.IMAGE_SHAPE),
        # TFMA keeps the whole example in it.
        "__raw_record__",
    }
)


class SliceError(ValueError):
    """The data lacks the slices that the configuration asks for."""


@dataclasses.dataclass(frozen=True)
class Slicing:
    """Gates on the slices of one column.

    Attributes:
      column: Name of the column.
      threshold: Lowest accuracy that passes; None for no gates.
      min_images: Minimum number of test images for a gate.
      required: Values that must have so many images.
    """

    column: str
    threshold: float | None
    min_images: int
    required: tuple[str, ...] = ()

    @property
    def wanted_images(self) -> int:
        """Number of test images that the whole split must have; 0 where nothing is asked for."""
        asked = self.threshold is not None or self.min_images != MIN_IMAGES
        return self.min_images if asked else 0

    def is_judged(self, count: int) -> bool:
        """Whether a slice with this number of images has a gate."""
        return self.threshold is not None and count >= self.min_images


def slicings_to_json(slicings: Iterable[Slicing]) -> str:
    """Returns gates on slices as the parameter of a node."""
    return json.dumps([dataclasses.asdict(slicing) for slicing in slicings])


def slicings_from_json(text: str) -> list[Slicing]:
    """Returns what `slicings_to_json` wrote."""
    return [
        Slicing(**{**entry, "required": tuple(entry["required"])}) for entry in json.loads(text)
    ]


def is_column_name(name: str) -> bool:
    """Whether slices can be made by a column with this name.

    A gate is called `column=value`.
    """
    return bool(name) and name not in RESERVED and "=" not in name and is_value(name)


def is_value(text: str) -> bool:
    """Whether a text can be shown and written: one line, without half characters of UTF-16."""
    return is_showable(text) and text == text.encode(errors="replace").decode()


def name_of(column: str, value: str) -> str:
    """Name of a slice, as gates and `gates.required_slices` have it."""
    return f"{column}={value}"


def stored(value: str) -> str:
    """A value as TFMA is given it."""
    return f"{_PREFIX}{value}"


def value_of(stored_value: str) -> str:
    """A value as people see it."""
    return stored_value.removeprefix(_PREFIX)


def cleaned(text: str | None) -> str:
    """A text of the data as a value: without spaces around it, in one Unicode form, never empty."""
    return unicodedata.normalize("NFC", (text or "").strip()) or MISSING


def values(name: str, column: pa.ChunkedArray) -> list[str]:
    """The value of each row as people see it; `MISSING` for nulls, NaN and blank texts.

    Args:
      name: Name of the column.
      column: Texts, numbers, dates or booleans.

    Raises:
      SliceError: The column holds something else.
    """
    # Imported here: most data has no further columns.
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        absent = pc.is_null(column, nan_is_null=True)
        texts = pc.if_else(absent, None, column.cast(pa.string()))
    except pa.ArrowException as error:
        raise SliceError(
            f"gates.slices: the column {shown(name)} is of type {shown(str(column.type))}; "
            "expected text, numbers, dates or booleans. Convert the column, or leave it out of "
            "gates.slices."
        ) from error
    encoded = pc.dictionary_encode(texts, null_encoding="encode").combine_chunks()
    distinct = [cleaned(text) for text in encoded.dictionary.to_pylist()]
    return [distinct[place] for place in encoded.indices.to_pylist()]


def check(columns: pa.Table | None, test_count: int, min_images: Mapping[str, int]) -> None:
    """Checks that the data has the slices that the configuration asks for.

    Args:
      columns: Further columns of the data, with a row per image; None without any.
      test_count: Number of test images.
      min_images: Number of test images that the split must have at least, by column.

    Raises:
      SliceError: A column is missing or cannot be used, or no slice could have so many images.
    """
    known = [] if columns is None else columns.column_names
    for name, least in min_images.items():
        if columns is None or name not in known:
            others = [other for other in known if other not in RESERVED]
            raise SliceError(_missing(name, others))
        if least > test_count:
            raise SliceError(
                f"gates.slices: found min_images={least} for the column {shown(name)}, but the "
                f"test split has {counted(test_count, 'image')}; expected at most that many. Lower "
                "min_images, or add test images."
            )
        _check_values(name, dict.fromkeys(values(name, columns[name])))


def check_tested(name: str, tested: Collection[str]) -> None:
    """Checks that the test images have values in a column.

    A part of the data may lack the column, for example by a mistyped heading; its images would all
    be one slice, and the gates of the others would be gone.

    Args:
      name: Name of the column.
      tested: Value of each test image.

    Raises:
      SliceError: No test image has a value.
    """
    if set(tested) == {MISSING}:
        raise SliceError(
            f"gates.slices: found no value of the column {shown(name)} in any of "
            f"{counted(len(tested), 'test image')}; expected values there, since a missing value "
            "is a slice of its own. Fill them in, or correct the heading of the column where the "
            "test images are listed."
        )


def doubts(slicing: Slicing, tested: Iterable[str]) -> list[str]:
    """What will not be judged, or will refuse every model, in words.

    Args:
      slicing: Gates on the slices of a column.
      tested: Value of each test image in the column.
    """
    if slicing.threshold is None:
        return []
    counts, least = Counter(tested), slicing.min_images
    found = [
        f"the required slice {shown(name_of(slicing.column, value))} has "
        f"{counted(counts[value], 'test image')}; expected at least {least}. Every model will be "
        "refused. Add test images, lower min_images of gates.slices, or correct "
        "gates.required_slices."
        for value in slicing.required
        if counts[value] < least
    ]
    if counts and max(counts.values()) < least:
        largest = max(sorted(counts), key=counts.__getitem__)
        found.append(
            f"no slice by {shown(slicing.column)} has {least} test images (the largest, "
            f"{shown(largest)}, has {counts[largest]}); expected at least one, since smaller ones "
            "are not judged. Lower min_images of gates.slices, or add test images."
        )
    return found


def _missing(name: str, known: list[str]) -> str:
    held = f"its further columns are {listed(known)}" if known else "it has no further columns"
    return (
        f"gates.slices: found the column {shown(name)}, which the data does not have: {held}; "
        "expected a column of a manifest, other than those for path, label, id and split. Correct "
        "the name, or add the column to the manifest."
    )


def _check_values(name: str, distinct: Iterable[str]) -> None:
    found = list(distinct)
    if len(found) > MOST_VALUES:
        raise SliceError(
            f"gates.slices: the column {shown(name)} has {len(found):,} different values; expected "
            f"at most {MOST_VALUES:,}, each a slice with many images. Leave the column out of "
            "gates.slices, or group its values in another column."
        )
    for value in found:
        if len(value) > _LONGEST_VALUE or not is_value(value):
            raise SliceError(
                f"gates.slices: the column {shown(name)} has the value {shown(ascii(value))}; "
                f"expected one line of at most {_LONGEST_VALUE} characters, without control "
                "characters. Change the value, or leave the column out of gates.slices."
            )
