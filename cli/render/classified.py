"""Prints the answers of `predict`."""

from __future__ import annotations

import dataclasses
import json
import sys

from cli.render.tables import make_console
from components.messages import escaped
from operations.predict import Answer, Classified

# From so many images on, people want to see that something happens.
_MANY = 500


def print_progress(count: int) -> None:
    """Prints to stderr how many images are classified, if they are many."""
    if count > _MANY:
        print(f"{count:,} images classified", file=sys.stderr)


def print_classified(classified: Classified, as_json: bool) -> None:
    """Prints which model answered, and a line for each image; or all of it as JSON.

    The refused files go to stderr, and into the JSON.
    """
    for refused in classified.refused:
        print(escaped(f"error: {refused.file}: {refused.reason}"), file=sys.stderr)
    if as_json:
        print(json.dumps(dataclasses.asdict(classified), indent=1))
        return
    if not classified.answers:
        return
    console = make_console()
    model = f"Model version {classified.version} of {classified.pipeline} ({classified.model})"
    for line in (model, *map(_line, classified.answers)):
        console.print(escaped(line), soft_wrap=True, markup=False)


def _line(answer: Answer) -> str:
    choices = ", ".join(f"{each.class_name} {each.probability:.3f}" for each in answer.choices)
    notes = ["low confidence"] if answer.low_confidence else []
    notes += answer.notes
    return f"{answer.file}: {choices}" + (f"  ({'; '.join(notes)})" if notes else "")
