"""Reviews of each kind of run, and their pages."""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import json
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components import features
from pipeline.records.outcomes import NodeStatus
from review import summary, versus
from review.page import charts_of, render

# Tries to leave every place that text can stand in.
MARKUP = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    '"\' onload="window.hacked = 1" & </title></style></script>]]>\u2028{{ 7 * 7 }} \\ a.b'
)


# --- Kinds of runs: each changes one whose review has everything. ---------------------------------


def _first_run(made: Any) -> None:
    """Pushed, with nothing before it, and without all that a run can do without."""
    made.baseline = None
    made.write_predictions()
    made.judge()
    config = made.receipt.config
    made.change(
        config={**config, "training": {**config["training"], "minutes": None}},
        settled_epochs=None,
        hyperparameters=None,
        warm_start_from=None,
        calibration={"temperature": None, "ece_before": None},
    )
    made.others = []
    trainer = made.nodes["Trainer"]
    made.nodes["Trainer"] = dataclasses.replace(trainer, status=NodeStatus.CACHED)
    report = {"findings": [], "drifts": [], "compared_with": None}
    made.file("DataGate.report", features.DATA_GATE_REPORT_FILE).write_text(json.dumps(report))
    made.file("DataGate.report", features.SIMILAR_FILE).unlink()
    made.file("Trainer.model_run", features.AUGMENTED_FILE).unlink()
    made.file("Trainer.model_run", features.FEATURE_MAPS_FILE).unlink()
    made.file("Corruption.examples", features.PREVIEW_FILE).unlink()


def _stopped(made: Any) -> None:
    made.end_in("DataGate", "drift: labels moved", verdict="stopped", robustness=None)


def _crashed(made: Any) -> None:
    message = "The loss is no number.\nLower the rate."
    made.end_in("Trainer", message, seconds=None, robustness=None)


def _killed(made: Any) -> None:
    """Killed before anything was recorded."""
    made.end_in("ImportSchemaGen", "killed", robustness=None)
    made.kill()
    made.nodes.clear()


def _sample(made: Any) -> None:
    made.change(data={"name": "sample"})


def _cleaned(made: Any) -> None:
    """A run whose artifacts were removed."""
    shutil.rmtree(made.folder)


_KINDS: dict[str, Callable[[Any], None]] = {
    "first run": _first_run,
    "stopped": _stopped,
    "crashed": _crashed,
    "killed": _killed,
    "sample": _sample,
    "cleaned": _cleaned,
}


def _hostile(review: summary.Summary) -> summary.Summary:
    """With markup in every name, path, message and key."""
    return summary.Summary.model_validate(_with_markup(review.model_dump()))


def _with_markup(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        # Fields have names of their own; other keys are classes, files, parameters.
        fields = set(value) <= _FIELDS
        return {
            name if fields else name + MARKUP: _with_markup(part, name)
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_with_markup(part, key) for part in value)
    return value + MARKUP if isinstance(value, str) and key not in _NOT_FREE else value


def _fields(model: type[summary.Part]) -> set[str]:
    return set(model.model_fields).union(*map(_fields, model.__subclasses__()))


_FIELDS = _fields(summary.Part)
# Not free text, but base64, a time, and words of a few.
_NOT_FREE = ("format", "content", "began", "status", "verdict")


@pytest.fixture(scope="session")
def review_of(full, build_full) -> Callable[[str], summary.Summary]:
    """The review of a kind of run, by the name of the kind."""

    @functools.cache
    def review(kind: str) -> summary.Summary:
        if kind == "full":
            return full
        if kind == "hostile":
            return _hostile(full)
        made = build_full()
        _KINDS[kind](made)
        return made.collect()

    return review


@pytest.fixture(scope="session")
def page_of(review_of) -> Callable[[str], str]:
    """The page of a kind of run."""

    @functools.cache
    def rendered(kind: str) -> str:
        review = review_of(kind)
        return render(review, charts_of(review))

    return rendered


@pytest.fixture(scope="session", params=["full", *_KINDS, "hostile"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


# --- Any data -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def wide_review(wide_run) -> Callable[[str], summary.Summary]:
    """The review of a run on data of a kind."""
    return functools.cache(lambda kind: wide_run(kind).collect())


@pytest.fixture(scope="session")
def wide_page(wide_review) -> Callable[[str], str]:
    """The page of a run on data of a kind."""

    @functools.cache
    def rendered(kind: str) -> str:
        review = wide_review(kind)
        return render(review, charts_of(review))

    return rendered


@pytest.fixture(scope="session")
def drawn_picture() -> Callable[[Any], np.ndarray]:
    """The picture of the matrix on a page: uint8 [classes, classes, 4]."""

    def found(document: Any) -> np.ndarray:
        (element,) = document.find_class("picture")
        content = element.get("style").partition("base64,")[2].partition("'")[0]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))

    return found


@pytest.fixture(scope="session")
def comparison(build_full) -> summary.RunComparison:
    """Two runs with different settings on the same images."""
    made = build_full()
    before = made.before
    before.change(config={"training": {"epochs": 20}}, code={"revision": "1157f0d2"})
    return versus.compare(before.finished, made.finished)


@pytest.fixture(scope="session")
def contrast() -> Callable[[Sequence[float], Sequence[float]], float]:
    """The contrast of two colours (red, green, blue, 0 to 1) as WCAG 2.2 defines it: 1 to 21."""

    def luminance(color: Sequence[float]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def of(first: Sequence[float], second: Sequence[float]) -> float:
        lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
        return (lighter + 0.05) / (darker + 0.05)

    return of
