"""Prints the answers of `predict`."""

from __future__ import annotations

import dataclasses
import json

from cli.render.tables import make_console
from operations.predict import Answer, Classified


def print_classified(classified: Classified, as_json: bool) -> None:
    """Prints which model answered, and a line for each image; or all of it as JSON."""
    if as_json:
        print(json.dumps(dataclasses.asdict(classified), indent=1))
        return
    console = make_console()
    model = f"Model version {classified.version} of {classified.pipeline} ({classified.model})"
    for line in (model, *map(_line, classified.answers)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _line(answer: Answer) -> str:
    choices = ", ".join(f"{each.class_name} {each.probability:.3f}" for each in answer.choices)
    notes = ["low confidence"] if answer.low_confidence else []
    notes += answer.notes
    return f"{answer.file}: {choices}" + (f"  ({'; '.join(notes)})" if notes else "")
