"""Prints what `init` found and wrote."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator

from rich.markup import escape

from cli.render.tables import make_console, plain_table
from components.messages import counted, listed, shown
from operations.initialization import texts
from operations.initialization.command import Initialized
from operations.initialization.look import UNDECIDED_SPLIT, Look, percentiles
from operations.initialization.suggestion import Suggestion
from pipeline.locations import DEFAULT_OUTPUT_DIR

_MOST_CLASSES = 30
_MOST_BAD = 10


def print_initialized(made: Initialized) -> None:
    """Prints the look at the data, the suggestions, and the next command."""
    console = make_console()
    _print_classes(made.look)
    for line in _lines(made):
        console.print(line, soft_wrap=True, markup=False)


def _print_classes(look: Look) -> None:
    console = make_console()
    splits = [split for split, counts in look.counts.items() if sum(counts)]
    headings = ["images" if split == UNDECIDED_SPLIT else split for split in splits]
    table = plain_table("class", *headings, right=tuple(headings), fold=True)
    for position, name in enumerate(look.class_names[:_MOST_CLASSES]):
        counts = (f"{look.counts[split][position]:,}" for split in splits)
        table.add_row(escape(shown(name)), *counts)
    console.print(table)
    left = len(look.class_names) - _MOST_CLASSES
    if left > 0:
        console.print(f"and {left:,} more classes")


def _lines(made: Initialized) -> Iterator[str]:
    look, suggestion = made.look, made.suggestion
    height, width, channels = suggestion.shape
    yield f"\nData        {look.data}: {look.summary}"
    yield from (f"Ignored     {line}" for line in look.ignored)
    if look.lacking:
        yield f"Spans       the newest {look.window} are trained on, so that each class has images"
    yield f"Split       {_split(look)}"
    yield f"Sizes       {_sizes(look)}"
    yield f"Image size  {height}x{width}: {suggestion.size_reason}"
    yield f"Channels    {channels}: {suggestion.channels_reason}"
    yield f"Borders     {look.sample.border}; {_background(suggestion)}"
    yield f"Balance     {_balance(look)}"
    if look.columns:
        columns = listed([f"{name} ({count} values)" for name, count in look.columns.items()])
        yield f"Columns     {columns}; docs/your-data.md says how to look at slices by them"
    yield f"Training    {_training(look, suggestion)}"
    yield from (
        f"Bad         {shown(each.name)}: {each.reason}" for each in look.sample.bad[:_MOST_BAD]
    )
    if len(look.sample.bad) > _MOST_BAD:
        yield f"Bad         and {len(look.sample.bad) - _MOST_BAD} more"
    yield from (f"Warning     {warning}" for warning in suggestion.warnings)
    results = DEFAULT_OUTPUT_DIR / made.pipeline
    yield f"Pipeline    {made.pipeline}: a run writes its results to {results}"
    yield f"Wrote       {', '.join(str(made.folder / name) for name in texts.FILES)}"
    file = shlex.quote(str(made.folder / texts.CONFIGURATION))
    yield f"\nNext, train on them:\n\n  python3 pipeline_runner.py run --config {file}"


def _split(look: Look) -> str:
    if look.has_test and look.has_validation:
        return "train, val and test are given by the data"
    if look.has_test:
        return "the test images are given by the data; the images for val are drawn"
    if look.has_validation:
        return "the validation images are given by the data; the images for test are drawn"
    return "train, val and test are drawn, since the data names no test images"


def _sizes(look: Look) -> str:
    parts = []
    for name, values in (("height", look.sample.heights), ("width", look.sample.widths)):
        low, middle, high = percentiles(values)
        parts.append(f"{name} {low}, {middle}, {high}")
    number = len(look.sample.heights)
    return f"{'; '.join(parts)} (5th, 50th, 95th percentile of {number:,} images)"


def _balance(look: Look) -> str:
    counts = look.per_class
    if min(counts) == max(counts):
        return f"{counts[0]:,} images in each class"
    ratio = max(counts) / max(min(counts), 1)
    return f"{min(counts):,} to {max(counts):,} images per class, {ratio:.1f} to 1"


def _background(suggestion: Suggestion) -> str:
    brightness = suggestion.value("images.background", None)
    if brightness is None:
        return "images keep their size, so that nothing is padded"
    named = {0: "0 (black)", 255: "255 (white)"}.get(brightness, str(brightness))
    return f"padding and transparent parts become {named}"


def _training(look: Look, suggestion: Suggestion) -> str:
    duration = _duration(suggestion.training_seconds)
    faster = "" if look.pixel_shape else "; a smaller --size is faster"
    return (
        f"at most {suggestion.epochs} epochs of about {suggestion.training_images:,} images, "
        f"roughly {duration} on two cores{faster}"
    )


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return counted(minutes, "minute") if minutes < 90 else f"{seconds / 3600:.0f} hours"
