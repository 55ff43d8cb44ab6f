"""The evaluation page of a run: renders the summary as one HTML file that needs nothing else.

Rendering is pure: equal summaries give equal bytes. Nothing is computed here. Numbers are
formatted, and each carries its exact value and its place in `review.json`, so that the page can be
checked against it. Names, paths and messages are always text: templates escape everything.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import functools
import hashlib
import json
import pathlib
import unicodedata
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

import jinja2
from altair.typing import ChartType
from markupsafe import Markup
from pydantic import JsonValue

from components import quality_gates
from components.quality_gates import OF_ALL_IMAGES
from pipeline.records.outcomes import Status, Verdict
from review import figures, heatmap, summary, worst

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
# Approximate sizes of images in CSS pixels; each is shown in a whole multiple of its own size.
_IMAGE_SIZE = 84
_STRIP_SIZE = 42
# Shares of its row from which a cell of the confusion matrix is a shade darker.
_SHADES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
# Classes whose change is shown; that of the others is smaller.
_MOST_CHANGES = 50
# Of names that are longer, captions have the beginning and the end, and tables several lines.
_LONG_NAME = 40
_WIDE_NAME = 24
# Classes of characters that are written from right to left (Unicode, annex 9).
_RIGHT_TO_LEFT = {"R", "AL", "RLE", "RLO", "RLI"}
_ISOLATE, _END_OF_ISOLATE = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"
_MINUTE = 60
_HOUR = 60 * _MINUTE


@dataclasses.dataclass(frozen=True)
class Number:
    """A number of the summary, with its place there.

    Attributes:
      value: The number.
      path: Keys and positions, such as `report.classes.3.recall.value`; a dot within a key has a
        backslash before it. A long key is told by its position in its object, such as `#12`.
    """

    value: int | float
    path: str


# A JSON value whose numbers know their places.
Located: TypeAlias = "Number | str | bool | list[Located] | dict[str, Located] | None"


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
      name: Name of its anchor and its template.
      heading: Heading.
      sentence: Sentence below the heading, which says what the section is for.
      part: Field of the summary that it shows; None where it shows more than one.
    """

    name: str
    heading: str
    sentence: str
    part: str | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Outcome of a run: a symbol, a word, and the role of its colour in `figures.PALETTE`."""

    symbol: str
    word: str
    role: str


@dataclasses.dataclass(frozen=True)
class Tiles:
    """A sheet of images as CSS shows it.

    Attributes:
      rule: CSS rule of its images.
      columns: Number of images in a row of the sheet.
      count: Number of images in the sheet.
    """

    rule: Markup
    columns: int
    count: int


@dataclasses.dataclass(frozen=True)
class GateGroup:
    """Gates that stand in one table.

    Attributes:
      heading: What the fold says that hides them; None where they are open.
      gates: Their positions in `Summary.gates`, in the order of the table.
    """

    heading: str | None
    gates: list[int]


@dataclasses.dataclass(frozen=True)
class Listed:
    """Rows and columns of the confusion matrix, in the order of the page.

    Attributes:
      order: Labels.
      shown: Predicted classes by label.
      places: Where in its row the cell of each predicted class is, by label.
      picture: The matrix as a picture, for CSS; None where all of its cells are shown.
    """

    order: list[int]
    shown: list[list[int]]
    places: list[dict[int, int]]
    picture: Markup | None


class _Image(TypedDict):
    """An image behind the confusion matrix, as the script reads it.

    Classes are positions in the list of names. Each choice has the class, its probability, and the
    text of the probability.
    """

    id: str
    label: int
    choices: list[tuple[int, float, str]]


class _MatrixCell(TypedDict):
    """A cell of the confusion matrix, as the script reads it."""

    count: int
    images: list[int]


class _Matrix(TypedDict):
    """The images behind the confusion matrix, as the script reads them.

    Attributes:
      columns: Number of images in a row of the sheet.
      names: Names of the classes, as captions show them.
      cells: The cells with images, by label and predicted class, such as `3-0`.
      images: The images of the sheet.
    """

    columns: int
    names: list[str]
    cells: dict[str, _MatrixCell]
    images: list[_Image]


SECTIONS = (
    Section(
        "verdict",
        "Verdict",
        "What the run decided about this model, so that you know whether to read further.",
        None,
    ),
    Section(
        "gates",
        "Gates",
        "Which thresholds decided, so that you can tell a real failure from noise.",
        "gates",
    ),
    Section(
        "comparison",
        "Against the served model",
        "How the model does on the same images as the one it would replace, to decide whether to "
        "promote it.",
        "comparison",
    ),
    Section(
        "classes",
        "Per class",
        "How well the model recognises each class, to find where it is weak.",
        "report",
    ),
    Section(
        "slices",
        "Slices",
        "How well the model does by what is known of an image, such as the shop, to find where it "
        "is weak.",
        "slices",
    ),
    Section(
        "confusion",
        "Confusion matrix",
        "Which classes the model confuses, to see whether the model or the data is wrong.",
        "confusion",
    ),
    Section(
        "calibration",
        "Calibration",
        "How far the model's scores can be trusted as probabilities.",
        "calibration",
    ),
    Section(
        "robustness",
        "Robustness",
        "How much accuracy the model loses on worse images, to judge what to expect outside of the "
        "test split.",
        "robustness",
    ),
    Section(
        "data",
        "Data",
        "What the model learned from and was tested on, to decide whether this run can be compared "
        "with the one before.",
        "data",
    ),
    Section(
        "suspects",
        "Suspects",
        "Images and labels that may be wrong, to check before you blame the model.",
        "suspects",
    ),
    Section(
        "training",
        "Training",
        "How training went, to decide whether training again would help.",
        "training",
    ),
    Section(
        "inside",
        "Inside",
        "What the model sees and answers, to check by eye that it makes sense.",
        "inside",
    ),
    Section(
        "history",
        "History",
        "How the runs of this pipeline compare, to see whether they get better.",
        None,
    ),
    Section(
        "lineage",
        "Lineage",
        "Where the model comes from, to make exactly the same one again.",
        None,
    ),
)

_OUTCOMES: dict[str, Outcome] = {
    Verdict.PUSHED: Outcome("✓", "Pushed", "good"),
    Verdict.REFUSED: Outcome("✗", "Refused", "bad"),
    Verdict.STOPPED: Outcome("■", "Stopped", "bad"),
    Status.FAILED: Outcome("!", "Failed", "bad"),
    Status.INTERRUPTED: Outcome("‖", "Interrupted", "second"),
}


def render(review: summary.Summary, charts: Mapping[str, ChartType], alone: bool = False) -> str:
    """Renders the page of a run as HTML.

    Args:
      review: Summary of the run.
      charts: Charts of its sections by name, as `charts_of` makes them.
      alone: Whether there is no page of all runs to link to.

    Raises:
      ValueError: where an image sheet is not base64.
    """
    sections = [part for part in SECTIONS if part.part != "slices" or _has_slices(review)]
    return fill(
        "review.html",
        **_located(review),
        alone=alone,
        sections=sections,
        gate_groups=_gate_groups(review.gates or []),
        drawn_gates=_drawn_gates(review.gates or []),
        gates_in_slices=len(review.gates or []) - len(worst.positions(review.gates or [])),
        listed=review.confusion and _listed(review.confusion),
        empty=[part for part in sections if part.part and getattr(review, part.part) is None],
        counted=_counted(review),
        charts={name: draw(chart) for name, chart in charts.items()},
        sheets=_sheets(review),
        matrix=_matrix(review),
    )


def _has_slices(review: summary.Summary) -> bool:
    return review.slices is not None or "slices" in review.missing


def render_comparison(comparison: summary.RunComparison) -> str:
    """Renders the page that shows two runs side by side as HTML.

    Raises:
      ValueError: where an image sheet is not base64.
    """
    sheet = comparison.sheet
    sheets = {"images": _tiles("images", sheet, _IMAGE_SIZE)} if sheet else {}
    return fill("runs.html", **_located(comparison), sheets=sheets)


def fill(template: str, **context: object) -> str:
    """Fills one of the templates, with the style and the script that every page has."""
    script = _source("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(
            **context,
            style=Markup(_source("page.css")),
            script=Markup(script),
            script_digest=digest,
            palette=figures.PALETTE,
            confidence=f"{summary.CONFIDENCE:.0%}".replace("%", " %"),
        )
    )


def _located(part: summary.Part) -> dict[str, Located]:
    return {key: locate(value, key) for key, value in part.model_dump(mode="json").items()}


def locate(value: JsonValue, path: str) -> Located:
    """Makes a `Number` of every number of a JSON value, which knows its place.

    Args:
      value: JSON value.
      path: Place of the value itself.
    """
    if isinstance(value, dict):
        return {
            key: locate(part, _join(path, key if len(key) <= _LONG_NAME else f"#{number}"))
            for number, (key, part) in enumerate(value.items())
        }
    if isinstance(value, list):
        return [locate(part, _join(path, str(number))) for number, part in enumerate(value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Number(value, path)
    return value


def draw(chart: ChartType) -> Markup:
    """Draws a chart for a page."""
    return Markup(figures.to_svg(chart))


def _join(path: str, key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace(".", "\\.")
    return f"{path}.{escaped}"


# --- What templates take ------------------------------------------------------------------------


def charts_of(review: summary.Summary) -> dict[str, ChartType]:
    """Makes the charts of a summary's sections, by name."""
    drawn: dict[str, ChartType] = {}
    if review.gates:
        chosen = [review.gates[number] for number in _drawn_gates(review.gates)]
        drawn["gates"] = figures.gate_panels(chosen)
    if review.report:
        drawn["classes"] = figures.class_scores(review.report, review.gates or [])
    if review.calibration:
        drawn["reliability"] = figures.reliability_diagram(review.calibration)
        drawn["coverage"] = figures.coverage_curve(review.calibration)
    if review.robustness:
        drawn["robustness"] = figures.robustness_curves(review.robustness)
    if review.training:
        drawn["loss"] = figures.loss_curves(review.training)
        drawn["accuracy"] = figures.accuracy_curves(review.training)
        drawn["learning_rate"] = figures.learning_rate_curve(review.training)
    if any(run.accuracy for run in review.history):
        drawn["history"] = figures.accuracy_history(review.history)
    return drawn


def _counted(review: summary.Summary) -> list[str]:
    """Names of the classes of which a split has images, in this run or in the run before."""
    splits = review.data.splits if review.data else []
    return list(
        dict.fromkeys(name for split in splits for name in [*split.classes, *(split.before or {})])
    )


def _sheets(review: summary.Summary) -> dict[str, Tiles]:
    """The image sheets of the summary, by their names in the templates."""
    found = {
        "images": (review.sheet, _IMAGE_SIZE),
        "corrupted": (review.robustness and review.robustness.examples, _IMAGE_SIZE),
        "similar": (review.suspects and review.suspects.similar_images, _IMAGE_SIZE),
        "augmented": (review.training and review.training.augmented, _STRIP_SIZE),
    }
    for number, maps in enumerate(review.inside.feature_maps if review.inside else []):
        found[f"input-{number}"] = (maps.image, _IMAGE_SIZE)
        for block, sheet in enumerate(maps.blocks.values()):
            found[f"maps-{number}-{block}"] = (sheet, _STRIP_SIZE)
    return {name: _tiles(name, sheet, size) for name, (sheet, size) in found.items() if sheet}


def _tiles(name: str, sheet: summary.Sheet, size: int) -> Tiles:
    # Decoded and encoded again: what is not base64 must not reach a style sheet.
    picture = base64.b64encode(base64.b64decode(sheet.content, validate=True)).decode()
    scale = max(1, round(size / max(sheet.height, sheet.width)))
    rule = (
        f".sheet-{name}{{--width:{sheet.width};--height:{sheet.height};--columns:{sheet.columns};"
        f'--scale:{scale};background-image:url("data:image/{sheet.format};base64,{picture}")}}'
    )
    return Tiles(Markup(rule), sheet.columns, sheet.count)


def _matrix(review: summary.Summary) -> _Matrix | None:
    if not (review.confusion and review.sheet):
        return None
    numbers = {name: number for number, name in enumerate(review.confusion.class_names)}
    return {
        "columns": review.sheet.columns,
        "names": [_short(name) for name in review.confusion.class_names],
        "cells": {
            f"{label}-{choice}": {"count": row[place].count, "images": row[place].gallery.images}
            for label, (row, shown, places) in enumerate(
                zip(
                    review.confusion.rows,
                    review.confusion.shown,
                    review.confusion.places(),
                    strict=True,
                )
            )
            for choice, place in places.items()
            if row[place].count and choice in shown
        },
        "images": [_image_data(record, numbers) for record in review.images],
    }


def _image_data(record: summary.ImageRecord, numbers: Mapping[str, int]) -> _Image:
    return {
        "id": record.example_id,
        "label": numbers[record.label],
        "choices": [
            (numbers[choice.name], choice.probability, _probability_text(choice.probability))
            for choice in record.choices
        ],
    }


def _description(label: str, choices: Sequence[summary.Choice], example_id: str) -> str:
    answers = [
        f"{_short(choice.name)} {_probability_text(choice.probability)}" for choice in choices
    ]
    return f"true {_short(label)}, predicted {', then '.join(answers)}; example {example_id}"


# --- What is folded where there is much -----------------------------------------------------------


def _listed(confusion: summary.Confusion) -> Listed:
    many = summary.has_many(confusion.class_names)
    picture = Markup(f"url('data:image/png;base64,{heatmap.picture(confusion)}')") if many else None
    return Listed(confusion.order, confusion.shown, confusion.places(), picture)


def _gate_groups(gates: Sequence[summary.Gate]) -> list[GateGroup]:
    """The gates to show, those that failed first; of many, those that passed clearly are folded."""
    every = worst.positions(gates)
    if not summary.has_many(every):
        return [GateGroup(None, sorted(every, key=lambda number: gates[number].passed))]
    clear = [number for number in every if _is_clear(gates[number])]
    others = [number for number in every if not _is_clear(gates[number])]
    others.sort(key=lambda number: worst.urgency(gates[number]))
    more = len(others) - figures.MOST_ROWS
    groups = [
        GateGroup(None, others[: figures.MOST_ROWS]),
        GateGroup(f"The other {more:,} that failed or may be noise", others[figures.MOST_ROWS :]),
        GateGroup(f"The {len(clear):,} that passed clearly", clear),
    ]
    return [group for group in groups if group.gates]


def _is_clear(gate: summary.Gate) -> bool:
    return gate.passed and gate.noise is False and gate.metric not in OF_ALL_IMAGES


def _drawn_gates(gates: Sequence[summary.Gate]) -> list[int]:
    """Positions of the gates in the chart."""
    shown = worst.positions(gates)
    return _gate_groups(gates)[0].gates if summary.has_many(shown) else shown


# --- Forms of values ----------------------------------------------------------------------------


def _marked(number: Number, text: str) -> Markup:
    # A hyphen is not a minus sign.
    return Markup('<span class="n" data-value="{}" data-path="{}">{}</span>').format(
        json.dumps(number.value), number.path, text.replace("-", "\N{MINUS SIGN}")
    )


def _decimal(number: Number, digits: int) -> Markup:
    return _marked(number, f"{number.value:,.{digits}f}")


def _decimals(value: Number | None, threshold: Number | None, passed: bool, least: int) -> int:
    """Decimals that show why a value failed; as few as may be where it did not."""
    if value is None or threshold is None:
        return least
    return quality_gates.decimals(value.value, threshold.value, passed, least)


def _signed(number: Number, digits: int) -> Markup:
    text = f"{number.value:+.{digits}f}"
    # Zero has no sign.
    return _marked(number, text if float(text) else text[1:])


def _share(number: Number) -> Markup:
    return _marked(number, _share_text(number.value))


def _share_text(value: float) -> str:
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def _count(number: Number) -> Markup:
    return _marked(number, f"{number.value:,}")


def _general(number: Number) -> Markup:
    return _marked(number, f"{number.value:.3g}")


def _whole(number: Number) -> Markup:
    """A number that is a name, such as a version or a seed: without separators."""
    return _marked(number, str(number.value))


def _probability(number: Number) -> Markup:
    return _marked(number, _probability_text(number.value))


def _probability_text(value: float) -> str:
    # 1.00 means certain, 0.00 impossible.
    if 0.995 <= value < 1:
        return "> 0.99"
    if 0 < value < 0.005:
        return "< 0.01"
    return f"{value:.2f}"


def _p_value(number: Number) -> Markup:
    text = "p < 0.001" if number.value < 0.001 else f"p = {number.value:.3f}"
    return _marked(number, text)


def _duration(number: Number) -> Markup:
    return _marked(number, _duration_text(number.value))


def _duration_text(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def _interval(interval: dict[str, Number], digits: int) -> Markup:
    return Markup("{} to {}").format(
        _decimal(interval["low"], digits), _decimal(interval["high"], digits)
    )


def _signed_interval(interval: dict[str, Number], digits: int) -> Markup:
    return Markup("{} to {}").format(
        _signed(interval["low"], digits), _signed(interval["high"], digits)
    )


def _time(iso: str) -> Markup:
    moment = datetime.datetime.fromisoformat(iso)
    return Markup('<time datetime="{}">{}</time>').format(iso, f"{moment:%Y-%m-%d %H:%M %Z}")


def _shade(share: Number) -> int:
    return sum(share.value >= step for step in _SHADES)


def _outcome(run: dict[str, Any]) -> Outcome:
    word = run["status"] if run["verdict"] == Verdict.NONE else run["verdict"]
    return _OUTCOMES.get(word, Outcome("\N{EN DASH}", word.capitalize(), "quiet"))


def _short(name: str) -> str:
    return _isolated(figures.shortened(name, _LONG_NAME))


def _isolated(name: str) -> str:
    """A name that leaves what stands beside it in its order, also where it runs to the left."""
    runs_left = any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in name)
    return f"{_ISOLATE}{name}{_END_OF_ISOLATE}" if runs_left else name


def _wrapped(name: str) -> Markup:
    """A name for tables, in several lines where it is long."""
    text = _isolated(name)
    if len(name) <= _WIDE_NAME:
        return Markup.escape(text)
    kind = "wide" if len(name) <= _LONG_NAME else "long"
    return Markup('<span class="{}">{}</span>').format(kind, text)


def _image_description(record: dict[str, Any]) -> str:
    choices = [
        summary.Choice(name=choice["name"], probability=choice["probability"].value)
        for choice in record["choices"]
    ]
    return _description(record["label"], choices, record["example_id"])


def _address(run_id: str) -> str:
    return urllib.parse.quote(run_id, safe="")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "address": _address,
        "count": _count,
        "decimal": _decimal,
        "description": _image_description,
        "duration": _duration,
        "general": _general,
        "interval": _interval,
        "isolated": _isolated,
        "outcome": _outcome,
        "p_value": _p_value,
        "probability": _probability,
        "shade": _shade,
        "share": _share,
        "short": _short,
        "signed": _signed,
        "signed_interval": _signed_interval,
        "time": _time,
        "whole": _whole,
        "wrapped": _wrapped,
    }
    environment.globals["decimals"] = _decimals
    environment.globals["shades"] = [_share_text(step) for step in _SHADES]
    environment.globals["most_changes"] = _MOST_CHANGES
    environment.globals["most_rows"] = figures.MOST_ROWS
    environment.tests["many"] = summary.has_many
    return environment


def _source(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
