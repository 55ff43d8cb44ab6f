"""Turns labels, as the data writes them, into the numbers of the schema's classes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from components.class_names import composed
from components.example_gen.reading_error import ReadingError
from components.messages import listed, shown

# Longer numbers are no labels, and `int` refuses very long ones.
_NUMBER = re.compile(r"[0-9]{1,9}")
_MOST_NAMED = 10


def resolve(values: Sequence[str], class_names: Sequence[str]) -> dict[str, int]:
    """Gives each label its class: by name if all labels are names, else by number.

    Names are compared in Unicode's composed form, since macOS decomposes the names of folders.

    Args:
      values: The distinct labels of the whole data set.
      class_names: Names of the classes, in label order.

    Returns:
      The number of the class of each label.

    Raises:
      ReadingError: There are labels that are neither, or both with different meanings.
    """
    by_name = {composed(name): number for number, name in enumerate(class_names)}
    if all(composed(value) in by_name for value in values):
        return {value: by_name[composed(value)] for value in values}
    if all(_NUMBER.fullmatch(value) for value in values):
        _refuse_ambiguous(values, by_name)
        return by_number(values, len(class_names))
    unknown = [value for value in values if composed(value) not in by_name]
    raise ReadingError(
        f"{_unknown(unknown, class_names)}; expected names of classes of the schema "
        f"({listed(class_names)}), or else numbers from 0 to {len(class_names) - 1}. For images "
        "of your own: `init NAME --data PATH`, then `run --config NAME/pipeline.toml`. Else fix "
        "the labels, add the classes to the schema, or map names of class folders in classes.toml."
    )


def by_number(values: Sequence[str], class_count: int) -> dict[str, int]:
    """Gives each label its class where labels are numbers.

    Args:
      values: The distinct labels of the whole data set.
      class_count: Number of classes.

    Returns:
      The number of the class of each label.

    Raises:
      ReadingError: A label is not the number of a class.
    """
    numbers = {value: int(value) for value in values if _NUMBER.fullmatch(value)}
    outside = [value for value in values if numbers.get(value, class_count) >= class_count]
    if outside:
        noun = "label" if len(outside) == 1 else "labels"
        raise ReadingError(
            f"{noun} {listed(outside)}; expected labels from 0 to {class_count - 1}, as the schema "
            f"names {class_count} classes. Fix the labels, or add the class to the schema."
        )
    return numbers


def _refuse_ambiguous(values: Sequence[str], by_name: Mapping[str, int]) -> None:
    """Refuses numbers of which one is also the name of a class with another number."""
    ambiguous = [value for value in values if by_name.get(value, int(value)) != int(value)]
    if ambiguous:
        missing = [value for value in values if value not in by_name]
        value = ambiguous[0]
        raise ReadingError(
            f"label {value} is the name of class number {by_name[value]}, and it may also mean "
            f"class number {value}; expected every label to be the name of a class of the schema, "
            f"but {listed(missing)} {'is' if len(missing) == 1 else 'are'} not. Write the names of "
            "the classes as labels, add the missing names to the schema, or rename the classes so "
            "that no name is a number."
        )


def _unknown(unknown: Sequence[str], class_names: Sequence[str]) -> str:
    noun = "label" if len(unknown) == 1 else "labels"
    named = [_with_nearest(value, class_names) for value in unknown[:_MOST_NAMED]]
    more = len(unknown) - _MOST_NAMED
    return f"unknown {noun} {', '.join(named)}" + (f" and {more} more" if more > 0 else "")


def _with_nearest(value: str, class_names: Sequence[str]) -> str:
    lower = {name.lower(): name for name in class_names}
    # Comparing with a very long label takes minutes.
    close = difflib.get_close_matches(value[:100].lower(), list(lower), n=1)
    nearest = f" (nearest: {shown(lower[close[0]])})" if close else ""
    return f"{shown(value)!r}{nearest}"
