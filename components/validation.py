"""Tells what is wrong with a record that was read from a file."""

from __future__ import annotations

import pydantic

from components.messages import shown

# A damaged record may have a fault in every field.
_MOST_FAULTS = 3


def faults_of(error: pydantic.ValidationError) -> str:
    """Returns what is wrong with a record, field by field."""
    faults = [
        ": ".join(shown(part) for part in (".".join(map(str, fault["loc"])), fault["msg"]) if part)
        for fault in error.errors(include_url=False)
    ]
    more = f"; {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
    return "; ".join(faults[:_MOST_FAULTS]) + more
