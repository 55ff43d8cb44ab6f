"""Names of classes that people cannot tell apart."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from components.example_gen.readers.base import ReadingError

# Characters that show nothing: soft hyphens, joiners, marks of direction, variation selectors. Not
# all of category Cf: tags tell the flags of England and Scotland apart.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
# Forms of a character that differ in width alone. Others, such as a raised 2, are to be seen.
_WIDTHS = ("<wide>", "<narrow>")


def alike(names: Iterable[str]) -> list[str]:
    """The names that look like others, escaped.

    Such names differ in nothing but spaces, invisible characters, or the Unicode form or the width
    of their letters.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(seen(name), []).append(name)
    return [ascii(name) for group in groups.values() if len(group) > 1 for name in group]


def seen(name: str) -> str:
    """What people see of a name."""
    if not name.isascii():
        visible = _INVISIBLE.sub("", name)
        name = unicodedata.normalize("NFC", "".join(map(_usual_width, visible)))
    # No-break spaces are spaces, too.
    return " ".join(name.split())


def _usual_width(character: str) -> str:
    kind, _, code = unicodedata.decomposition(character).partition(" ")
    return chr(int(code, 16)) if kind in _WIDTHS else character


def refuse_alike(values: Iterable[str]) -> None:
    """Refuses labels that look equal; one class would become two.

    Raises:
      ReadingError: There are such labels.
    """
    if names := alike(values):
        shown = ", ".join(names[:4])
        raise ReadingError(
            f"several classes look alike ({shown}): their names differ in spaces, in characters "
            "that show nothing, or in the Unicode form or width of their letters; expected names "
            "that differ visibly. Write the name of a class the same way everywhere."
        )
