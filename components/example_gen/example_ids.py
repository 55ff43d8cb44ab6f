"""Ids of examples that share a file."""

from __future__ import annotations

# The index of all examples is held in memory; few bytes of a hostile file can announce many.
MOST_EXAMPLES = 10**7


def example_ids(name: str, count: int) -> list[str]:
    """Stable ids of the examples of a file of many: its name and the position in it."""
    return [f"{name}-{position:08d}" for position in range(count)]
