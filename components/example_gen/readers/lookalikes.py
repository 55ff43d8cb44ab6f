"""Names of classes that people cannot tell apart."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from components.example_gen.readers.base import ReadingError


def alike(names: Iterable[str]) -> list[str]:
    """The names that look like others, escaped.

    Such names differ in nothing but the spaces around them or the Unicode form of their letters.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(unicodedata.normalize("NFC", name.strip()), []).append(name)
    return [ascii(name) for group in groups.values() if len(group) > 1 for name in group]


def refuse_alike(values: Iterable[str]) -> None:
    """Refuses labels that look equal; one class would become two.

    Raises:
      ReadingError: There are such labels.
    """
    if names := alike(values):
        shown = ", ".join(names[:4])
        raise ReadingError(
            f"several classes look alike ({shown}): their names differ in spaces, or in the "
            "Unicode form of their letters; expected names that differ visibly. Write the name of "
            "a class the same way everywhere."
        )
