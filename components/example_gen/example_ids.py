"""Ids of examples that share a file."""

from __future__ import annotations

# The index of all examples is held in memory; few bytes of a hostile file can announce many.
MOST_EXAMPLES = 10**7


def advice_on_count(count: int) -> str:
    """What to do about a file with no examples, or with more than `MOST_EXAMPLES`."""
    if count > MOST_EXAMPLES:
        return "Divide the data into spans."
    return "Use a file that holds examples."


def example_ids(name: str, count: int) -> list[str]:
    """Stable ids of the examples of a file of many: its name and the position in it."""
    return [f"{name}-{position:08d}" for position in range(count)]
