"""Divides examples into train, val and test, the same in every run.

A split that the data gives is kept. Others are drawn by hashes of ids, so that further examples
move none: an example is in the test split where its hash is below a share, whatever the seed. The
validation split is drawn by a share likewise, or as a number of each class: the lowest hashes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from components import features, slices
from components.class_names import composed
from components.example_gen.readers.base import UNDECIDED, ReadingError
from components.features import TEST, TRAIN, VALIDATION
from components.messages import counted, listed, shown

if TYPE_CHECKING:
    import pyarrow as pa

# Of an example that belongs to no split.
NOT_TAKEN = -2
# Maximum number of classes in a message.
_NAMED = 10


class SplitError(ReadingError):
    """The examples cannot be divided, or a class has too few of them."""


class NoTestImagesError(SplitError):
    """A class has no test images."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How examples are divided (section `split` of the configuration).

    Attributes:
      validation: Number of validation examples of each class, or a share of all below 1.
      test_share: Share of the examples for the test split, where the data gives none.
      group: A column, or a regular expression on the id, with what stays in one split together;
        None without.
    """

    validation: int | float
    test_share: float
    group: str | None


@dataclasses.dataclass(frozen=True)
class Examples:
    """What the division depends on.

    Attributes:
      ids: Distinct ids.
      labels: Labels, integers of shape [count].
      given: Position in `features.SPLITS` of the split that the data gives, or `UNDECIDED`; int8
        [count].
      trains: Whether each example may be trained or validated on, bool [count].
      tests: Whether it may be tested on, bool [count].
      contents: SHA-256 of each example's own file, empty where it cannot be read; None where many
        share a file.
      columns: Further columns of the data, a row per example; None without any.
      ids_in_part: Each id without the name of its span; None where there are no spans.
    """

    ids: Sequence[str]
    labels: np.ndarray
    given: np.ndarray
    trains: np.ndarray
    tests: np.ndarray
    contents: Sequence[str] | None = None
    columns: pa.Table | None = None
    ids_in_part: Sequence[str] | None = None


def class_counts(labels: np.ndarray, class_count: int) -> list[int]:
    """Number of examples of each class, in label order."""
    return np.bincount(labels, minlength=class_count).tolist()


def assign(examples: Examples, settings: Settings, seed: int) -> np.ndarray:
    """Gives each example its split.

    Args:
      examples: All examples of the data set.
      settings: How to divide them.
      seed: Random seed of the validation split.

    Returns:
      Position of each example's split in `features.SPLITS`, int8 [count]; `NOT_TAKEN` where it
      belongs to none.

    Raises:
      SplitError: `settings.group` fits neither a column nor the ids.
    """
    splits = examples.given.astype(np.int8)
    # What is only trained on gives no test, and the reverse.
    splits[~examples.tests & (splits == TEST)] = NOT_TAKEN
    draws_test = not (splits == TEST).any()
    keys = _group_keys(examples, settings.group)
    if settings.group:
        _check_groups(examples, keys, splits, settings.group)
    # Data that gives its test split and a number of validation images is divided as it always was.
    together = draws_test or settings.group or isinstance(settings.validation, float)
    units = _units(keys, examples.contents) if together else None
    if draws_test:
        chosen = _below_share(keys, units, "test", settings.test_share)
        if units is not None:
            # Spans that are only trained on do not decide what is tested on.
            chosen &= ~_with_any(units, examples.tests & (splits == VALIDATION))
        splits[chosen & examples.tests & (splits != VALIDATION)] = TEST
    splits[~examples.trains & (splits != TEST)] = NOT_TAKEN
    if units is not None:
        # Other pictures of what is tested on, then of what validates. A split that the data gives
        # is kept, except beside a drawn test split.
        known = _with_any(units, splits == TEST) & (splits != TEST)
        splits[known & (draws_test | (splits == UNDECIDED))] = NOT_TAKEN
        splits[_with_any(units, splits == VALIDATION) & (splits == UNDECIDED)] = NOT_TAKEN
    if not (splits == VALIDATION).any():
        left = np.flatnonzero((splits == UNDECIDED) | (splits == TRAIN))
        splits[left[_validation(examples, keys, units, left, settings, seed)]] = VALIDATION
    splits[splits == UNDECIDED] = TRAIN
    return splits


def _with_any(units: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Which examples have a marked one in their unit, bool [count]."""
    return np.isin(units, units[marked])


def _validation(
    examples: Examples,
    keys: Sequence[str],
    units: np.ndarray | None,
    left: np.ndarray,
    settings: Settings,
    seed: int,
) -> np.ndarray:
    """Which of the examples that are left are validation examples, bool [left]."""
    kept_units = None if units is None else units[left]
    if isinstance(settings.validation, float):
        kept_keys = [keys[place] for place in left]
        return _below_share(kept_keys, kept_units, f"val:{seed}", settings.validation)
    ids = [examples.ids[place] for place in left]
    chosen = choose_validation(ids, examples.labels[left], settings.validation, seed)
    if kept_units is not None:
        # An example with a copy that is trained on would be known by heart.
        chosen &= ~np.isin(kept_units, kept_units[~chosen])
    return chosen


def choose_validation(
    ids: Sequence[str], labels: np.ndarray, per_class: int, seed: int
) -> np.ndarray:
    """Chooses `per_class` examples of each class by a seeded hash of their ids.

    Adding examples of one class does not change the choice in another.

    Args:
      ids: one id per example.
      labels: integer labels of shape [count].
      per_class: number of validation examples of each class.
      seed: random seed.

    Returns:
      bool of shape [count], True for validation.
    """
    hashes = _hashes(ids, str(seed))
    chosen = np.zeros(len(ids), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen[members[np.argsort(hashes[members], kind="stable")[:per_class]]] = True
    return chosen


def _below_share(
    keys: Sequence[str], units: np.ndarray | None, salt: str, share: float
) -> np.ndarray:
    """Which examples have a hash below a share; a unit takes the lowest hash of its members."""
    hashes = _hashes(keys, salt)
    if units is not None:
        lowest = np.full(int(units.max(initial=-1)) + 1, np.iinfo(np.uint64).max, np.uint64)
        np.minimum.at(lowest, units, hashes)
        hashes = lowest[units]
    return hashes < np.uint64(share * 2**64)


def _hashes(keys: Sequence[str], salt: str) -> np.ndarray:
    begun = hashlib.sha256(f"{salt}:".encode())
    found = bytearray()
    for key in keys:
        digest = begun.copy()
        digest.update(key.encode(errors="surrogateescape"))
        found += digest.digest()[:8]
    return np.frombuffer(bytes(found), ">u8").astype(np.uint64)


def _group_keys(examples: Examples, group: str | None) -> Sequence[str]:
    """What each example's hash is of: its group, or else its id."""
    if group is None:
        return examples.ids
    if examples.columns is not None and group in examples.columns.column_names:
        return _column_keys(examples.ids, examples.columns, group)
    return _pattern_keys(examples, group)


def _column_keys(ids: Sequence[str], columns: pa.Table, column: str) -> list[str]:
    keys = [_cleaned(value) for value in columns.column(column).to_pylist()]
    for name, key in zip(ids, keys, strict=True):
        if key == slices.MISSING:
            raise SplitError(
                f"split.group={shown(column)}: example {shown(name)} has no value in this "
                "column; expected one for each example, as examples of a group stay in one split. "
                "Fill in the column."
            )
    return keys


def _cleaned(value: object) -> str:
    """A value of a column, as slices have it."""
    is_missing = value is None or (isinstance(value, float) and math.isnan(value))
    return slices.cleaned(None if is_missing else str(value))


def _pattern_keys(examples: Examples, group: str) -> list[str]:
    columns = examples.columns.column_names if examples.columns is not None else []
    known = f" The columns are {listed(columns)}." if columns else ""
    try:
        pattern = re.compile(composed(group))
    except re.error as error:
        raise SplitError(
            f"split.group={shown(group)} is neither a column nor a regular expression "
            f"({shown(str(error))}); expected one of them. Quote special characters with a "
            f"backslash.{known}"
        ) from error
    keys = []
    for name in examples.ids_in_part or examples.ids:
        matched = pattern.search(composed(name))
        if matched is None:
            raise SplitError(
                f"split.group={shown(group)} fits no part of {shown(name)}; expected a "
                "column of the data, or a regular expression that fits the id of every example. "
                f"Change the expression.{known}"
            )
        key = matched.group(1) if pattern.groups else matched.group()
        if key is None:
            raise SplitError(
                f"split.group={group}: its first group fits no part of {name!r}; expected one that "
                "fits every example. Change the expression."
            )
        keys.append(composed(key))
    return keys


def _numbered(values: Sequence[str]) -> np.ndarray:
    """A number for each value, the same for equal ones, int64 [count]."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _check_groups(examples: Examples, keys: Sequence[str], splits: np.ndarray, group: str) -> None:
    """Checks that the splits that the data gives tear no group apart."""
    first: dict[str, int] = {}
    for number in np.flatnonzero(splits >= 0).tolist():
        other = first.setdefault(keys[number], number)
        if splits[other] != splits[number]:
            raise SplitError(
                f"split.group={group}: the data puts {examples.ids[other]} into "
                f"{features.SPLITS[splits[other]]} and {examples.ids[number]} of the same group "
                f"({keys[number]}) into {features.SPLITS[splits[number]]}; expected one split for "
                "each group. Fix the splits of the data, or leave split.group out."
            )


def check_group_count(examples: Examples, settings: Settings) -> None:
    """Checks that each split that is drawn, and train, can have a group.

    Raises:
      SplitError: There are too few groups, or `settings.group` fits neither a column nor the ids.
    """
    if settings.group is None:
        return
    given = examples.given
    keys = _group_keys(examples, settings.group)
    drawn = [features.SPLITS[each] for each in (TEST, VALIDATION) if not (given == each).any()]
    divisible = np.flatnonzero((given == UNDECIDED) | (given == TRAIN))
    divided = {keys[place] for place in divisible.tolist()}
    if drawn and len(divided) <= len(drawn):
        raise SplitError(
            f"split.group={shown(settings.group)} makes {counted(len(divided), 'group')} of the "
            f"images to divide into {', '.join([features.TRAIN_SPLIT, *drawn])}; expected at least "
            f"{len(drawn) + 1}, since a group stays in one split, and better dozens. Choose a "
            "column with more values, or an expression that tells more groups apart."
        )


def _units(keys: Sequence[str], contents: Sequence[str] | None) -> np.ndarray:
    """Number of each example's unit, int64 [count]: what has a key or a content in common."""
    # Imported here: most data gives its splits.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first = _numbered(keys)
    if contents is None:
        return first
    # An unreadable file equals no other.
    second = _numbered([content or f"none of {number}" for number, content in enumerate(contents)])
    size = int(first.max(initial=-1)) + int(second.max(initial=-1)) + 2
    edges = (np.ones(len(first), bool), (first, second + int(first.max(initial=-1)) + 1))
    _, units = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    return units[first]


def check_classes(
    splits: np.ndarray, labels: np.ndarray, settings: Settings, class_names: Sequence[str]
) -> None:
    """Checks that every class has examples in `train` and `test`, and that `val` has some.

    Otherwise a model would be tested on a class it could not learn, or learn a class that is never
    tested.

    Args:
      splits: Position of each example's split in `features.SPLITS`, int8 [count].
      labels: Labels, integers of shape [count].
      settings: How the examples were divided.
      class_names: Names of the classes, in label order.

    Raises:
      SplitError: A class has no example to train on, or no example validates.
      NoTestImagesError: A class has no example to test on.
    """
    trained, validated, tested = (
        np.array(class_counts(labels[splits == number], len(class_names)))
        for number in (TRAIN, VALIDATION, TEST)
    )
    both = trained + validated
    if not both.all():
        raise SplitError(
            f"{_listed(both == 0, both, 'training', class_names)}; expected some of every "
            "class of the schema. Add images, or remove the class from the schema."
        )
    if not trained.all():
        raise SplitError(
            f"{_listed(trained == 0, both, 'training or validation', class_names)}; expected some "
            "left to train on beside those for validation. Add training images; where the data "
            "gives no validation split, a smaller value than "
            f"split.validation={settings.validation} may do."
        )
    if not validated.any():
        raise SplitError(
            f"no image is a validation image; expected some, as the best epoch is chosen by them. "
            f"Add images, or set a larger split.validation than {settings.validation}."
        )
    if not tested.all():
        raise NoTestImagesError(
            f"{_listed(tested == 0, tested, 'test', class_names)}; expected some of every class of "
            "the schema, or no model can be judged on it. Add images, or remove the class from the "
            "schema; where the data gives no test split, a larger split.test_share may do."
        )


def _listed(chosen: np.ndarray, counts: np.ndarray, kind: str, class_names: Sequence[str]) -> str:
    """Names the chosen classes with their numbers of images."""
    labels = np.flatnonzero(chosen)
    names = [f"{shown(class_names[label])} (label {label})" for label in labels[:_NAMED]]
    if len(labels) == 1:
        return f"class {names[0]} has {counts[labels[0]] or 'no'} {kind} images"
    each = [f"{name} {counts[label]}" for name, label in zip(names, labels, strict=False)]
    more = ", ..." if len(labels) > _NAMED else ""
    return f"{len(labels)} classes have too few {kind} images: {', '.join(each)}{more}"
