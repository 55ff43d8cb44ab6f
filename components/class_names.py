"""Which names of classes can be shown in a terminal and on a page."""

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
