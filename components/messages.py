"""Parts of messages: names are escaped and cut, so that data cannot break a terminal or a page.

This module uses only the standard library and Python 3.8 syntax.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from components.class_names import is_showable
from components.redaction import redacted

_LONGEST_NAME = 300
_MOST_NAMES = 10
# Category of the characters that UTF-8 cannot say.
_UNDECODED = "Cs"
# Errors whose text may be no more than what was looked for.
_LOOKUPS = (KeyError.__name__, IndexError.__name__)
# What to do where an output from the cache does not fit the others.
AGAIN_WITHOUT_CACHE = "Run again with --no-cache; on a cluster, compile with it."
# Where a word begins in a name such as OSError or MemoryError.
_NEXT_WORD = re.compile("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def escaped(text: str) -> str:
    """A text that cannot break a terminal or a page.

    Control characters, line breaks, characters that change the direction of the text and bytes
    that are not UTF-8 are escaped. All others stay, such as a wide space or the joiners of emoji:
    commands and paths in messages are copied.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def escaped_lines(text: str) -> str:
    """A text of several lines, of which none can break a terminal or a page."""
    return "\n".join(map(escaped, text.split("\n")))


def shown(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name as a message may show it: without secrets, escaped, and not longer than a line or two.

    Args:
      name: Name, or another text that is not of this project.
      longest: Number of characters from which on the middle is left out.
    """
    # Before a part is left out: of half an address, nobody would see that it has a password.
    text = escaped(redacted(name))
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}[...]{text[-half:]}"


def shown_value(value: object) -> str:
    """A value of a document as a message may show it: as Python writes it, escaped and cut."""
    try:
        return shown(repr(value))
    except RecursionError:
        return f"a {type(value).__name__} that is nested too deeply"


def told(error: BaseException) -> str:
    """The text of an error as a message may show it, without the name of its class."""
    return with_kind(type(error).__name__, shown(str(error)))


def with_kind(kind: str, text: str) -> str:
    """The text of an error; with its kind in words if the text is empty or may be a mere key.

    Args:
      kind: Name of the class.
      text: Text of the error.
    """
    if text and kind not in _LOOKUPS:
        return text
    words = _NEXT_WORD.sub(" ", kind).lower()
    return f"{words}: {text}" if text else words


def _escaped(character: str) -> str:
    if is_showable(character) and unicodedata.category(character) != _UNDECODED:
        return character
    # Python stands such characters in for bytes that are not UTF-8.
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def listed(names: Sequence[str]) -> str:
    """The first names, escaped, and how many more there are."""
    more = len(names) - _MOST_NAMES
    text = ", ".join(shown(name) for name in names[:_MOST_NAMES])
    return f"{text} and {more} more" if more > 0 else text


def counted(count: int, noun: str) -> str:
    """A count with its noun: "1 image", "2 images", "2 classes"."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun}{'es' if noun.endswith('s') else 's'}"


def by(sizes: Sequence[int]) -> str:
    """Sizes as 28x28x1."""
    return "x".join(map(str, sizes))


def is_utf8(name: str) -> bool:
    """Whether a name can be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
