"""The names that splits go by in folders, files and columns."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence

from components import features
from components.example_gen.readers import base
from components.features import TEST, TRAIN, VALIDATION

_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
    "testing": TEST,
    "t10k": TEST,
}
EXPECTED = "train, val or test"
# First part of the ids of rows whose data names no split.
_UNSPLIT = "data"


def of_name(name: str) -> int | None:
    """The split that a folder or a value names, in any case; None if it names none."""
    return _NAMES.get(name.strip().lower())


def of_words(name: str) -> int | None:
    """The one split that a word of a name names, as in `fashion-mnist_train`; else None."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    named = {_NAMES[word] for word in words if word in _NAMES}
    return named.pop() if len(named) == 1 else None


def of_file(path: str) -> int:
    """The split that the name of a file, or else of its folder, names; else undecided."""
    folder, name = posixpath.split(path)
    named = of_words(name.rpartition(".")[0])
    if named is None:
        named = of_words(posixpath.basename(folder))
    return base.UNDECIDED if named is None else named


def of_tables(paths: Sequence[str], is_part: bool) -> list[int]:
    """The split of each table of a data set.

    If all of them are called after the test or the validation split, they hold all of the data,
    which is divided as a table for training is.

    Args:
      paths: The tables.
      is_part: Whether something else may give the other splits, such as another span.
    """
    splits = [of_file(path) for path in paths]
    if is_part or TRAIN in splits or len(set(splits)) > 1:
        return splits
    return [base.UNDECIDED] * len(splits)


def known(splits: Iterable[int]) -> frozenset[int]:
    """The distinct splits, without the undecided."""
    return frozenset(splits) - {base.UNDECIDED}


def first_part(split: int) -> str:
    """First part of the ids of rows of a split."""
    return _UNSPLIT if split == base.UNDECIDED else features.SPLITS[split]
