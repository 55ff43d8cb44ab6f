"""Names of classes: their Unicode form, and which of them can be shown."""

from __future__ import annotations

import unicodedata

# Control characters and line ends, and marks that turn the direction of the text behind them.
_CATEGORIES = frozenset(["Cc", "Zl", "Zp"])
_DIRECTIONS = frozenset(["LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"])


def is_showable(name: str) -> bool:
    """Whether a name is one line of text that cannot command a terminal."""
    return not any(
        unicodedata.category(character) in _CATEGORIES
        or unicodedata.bidirectional(character) in _DIRECTIONS
        for character in name
    )


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): macOS decomposes the names of folders."""
    return unicodedata.normalize("NFC", name)
