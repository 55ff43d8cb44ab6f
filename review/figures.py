"""Charts of a review: makes Altair charts from parts of the summary, and SVG from the charts.

A chart is complete by itself, for notebooks too. `to_svg` draws it for a page: as text without
scripts, whose colours are CSS variables, so that one drawing serves light and dark. No information
depends on colour alone: dashes, shapes and labels say the same.
"""

from __future__ import annotations

import collections
import datetime
import errno
import functools
import json
import mmap
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import altair as alt
import vl_convert
from altair.typing import ChartType
from pydantic import JsonValue

from review import summary

# The colours of charts and pages by role, in light and in dark. Charts are drawn in the light ones,
# all of which differ, since `to_svg` finds the role by its light colour.
PALETTE = {
    "paper": ("#fdfdfc", "#15181c"),
    "ink": ("#1d2329", "#e6e7e8"),
    "quiet": ("#59626c", "#a3abb4"),
    "line": ("#d8dce0", "#363d45"),
    "accent": ("#1f5fa6", "#7fb2ee"),
    "second": ("#a8500c", "#eda05a"),
    "good": ("#0c6b5c", "#56c4b0"),
    "bad": ("#b0281f", "#ff8d80"),
}
_LIGHT = {role: light for role, (light, _) in PALETTE.items()}
_ROLES = {light: role for role, light in _LIGHT.items()}

# Width of a chart in pixels: it fits a phone without becoming too small to read.
WIDTH = 312
_HEIGHT = 200
# Of more classes or gates, a chart draws those that need a look.
MOST_ROWS = 20
# About as long as an axis has room for.
_LONG_LABEL = 20
# vl-convert carries the first of these with it: the text has the same width on every machine.
_FONT = "Liberation Sans, Arial, sans-serif"
_SVG = "http://www.w3.org/2000/svg"
# The mark of a threshold: a thin upright bar.
_BAR = "M-0.12,-1.1H0.12V1.1H-0.12Z"
# Colours and dashes of the series of a chart.
_SERIES = ("accent", "second")
_DASHES = ([1, 0], [5, 3])

# Characters that names may have and XML may not (XML 1.0, 2.2).
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_UNSEEN = {
    "aria-hidden",
    "aria-label",
    "aria-roledescription",
    "class",
    "pointer-events",
    "role",
}

# Addresses that V8, with which vl-convert draws, reserves, and some for its threads.
_RESERVED_BYTES = 66 * 2**30

Rows = list[dict[str, Any]]


def to_svg(chart: ChartType) -> str:
    """Draws a chart as SVG: equal charts give equal bytes.

    Colours of `PALETTE` become CSS variables, with the light colour where a page defines none. The
    drawing is one image to a screen reader, named by the chart's title and description.

    Raises:
      ValueError: where the chart refers to data at an address; a chart must contain its data.
      OSError: where the process may not reserve the addresses that drawing needs.
    """
    _check_address_space()
    specification = _without_controls(specification_of(chart))
    drawn = vl_convert.vegalite_to_svg(specification, allowed_base_urls=[])
    root = ElementTree.fromstring(drawn)
    _drop_what_is_not_seen(root)
    # Hundredths of a pixel are enough.
    for element in root.iter():
        element.attrib.update({name: _rounded(value) for name, value in element.attrib.items()})
    _name(root, specification["title"], specification["description"])
    ElementTree.register_namespace("", _SVG)
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub("|".join(_ROLES), lambda found: _variable(found[0]), text)


@functools.cache
def _check_address_space() -> None:
    """Refuses what would end the process without a word: V8 aborts where it gets no addresses.

    It reserves them once, whatever it draws, and they cost no memory.
    """
    try:
        # Without the right to read or write them, they do not count as memory.
        mmap.mmap(-1, _RESERVED_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0).close()
    except OSError as error:
        raise OSError(
            errno.ENOMEM,
            "charts need 66 GiB of addresses, though hardly any memory; lift the limit with: "
            "ulimit -v unlimited",
        ) from error


def specification_of(chart: ChartType) -> dict[str, JsonValue]:
    """A chart as Vega-Lite: a JSON value."""
    # Altair checks most parts of a chart when they are made. Checking the whole takes three times
    # as long as making it, and only names and numbers differ from run to run: tests check it.
    return chart.to_dict(validate=False)


def loss_curves(training: summary.Training) -> ChartType:
    """Loss on training and validation images over the epochs, with the chosen epoch."""
    values = [(epoch.loss, epoch.validation_loss) for epoch in training.epochs]
    return _both_splits(training, "Loss", values)


def accuracy_curves(training: summary.Training) -> ChartType:
    """Accuracy on training and validation images over the epochs, with the chosen epoch."""
    values = [(epoch.accuracy, epoch.validation_accuracy) for epoch in training.epochs]
    return _both_splits(training, "Accuracy", values)


def _both_splits(
    training: summary.Training, title: str, values: Sequence[tuple[float, float]]
) -> ChartType:
    """Values on training and validation images, a pair per epoch."""
    rows = [
        {"epoch": epoch.epoch, "of": of, "value": value}
        for epoch, pair in zip(training.epochs, values, strict=True)
        for of, value in zip(("training", "validation"), pair, strict=True)
    ]
    return _finished(
        _curves(rows, training.chosen_epoch),
        title,
        f"{title} on training and validation images after each epoch; the chosen epoch is marked.",
    )


def learning_rate_curve(training: summary.Training) -> ChartType:
    """The learning rate over the epochs, with the chosen epoch."""
    rows = [
        {"epoch": epoch.epoch, "of": "learning rate", "value": epoch.learning_rate}
        for epoch in training.epochs
    ]
    return _finished(
        _curves(rows, training.chosen_epoch),
        "Learning rate",
        "Learning rate of each epoch; the chosen epoch is marked.",
    )


def reliability_diagram(calibration: summary.Calibration) -> ChartType:
    """Accuracy against confidence, bin by bin, above the number of images in each bin."""
    rows = [
        {
            "low": bin.low,
            "high": bin.high,
            "confidence": bin.confidence,
            "accuracy": bin.accuracy.value,
            "accuracy low": bin.accuracy.interval.low,
            "accuracy high": bin.accuracy.interval.high,
            "images": bin.accuracy.total,
        }
        for bin in calibration.bins
    ]
    return _finished(
        alt.vconcat(_reliability(rows), _confidence_histogram(rows), spacing=12),
        "Confidence and accuracy",
        "Above, the accuracy of the images in each bin of confidence with its interval; on the "
        "dashed diagonal both are equal. Below, the number of images in each bin.",
    )


def coverage_curve(calibration: summary.Calibration) -> ChartType:
    """Accuracy among the answered images, against the share of images that are answered."""
    rows = [{"coverage": p.coverage, "accuracy": p.accuracy} for p in calibration.coverage]
    drawn = _line(_chart(rows)).encode(
        x=alt.X("coverage:Q", title="share of images answered, surest first").axis(
            format="%", tickCount=5
        ),
        y=alt.Y("accuracy:Q", title=None).scale(zero=False),
        order="coverage:Q",
    )
    return _finished(
        _sized(_layers(drawn)),
        "Accuracy among the answered",
        "Accuracy if only the surest share of the images is answered, by that share.",
    )


def class_scores(report: summary.Report, gates: Sequence[summary.Gate]) -> ChartType:
    """Recall and precision of each class with their intervals, and the gate of its recall.

    Classes without test images have no recall, and those that are never predicted no precision.

    Args:
      report: Classification report.
      gates: Gates of the run; those of the classes' recalls are drawn.
    """
    many = summary.has_many(report.classes)
    drawn = [scores for scores in report.classes[:MOST_ROWS] if scores.support]
    names = _labels([scores.name for scores in drawn])
    rows = [
        {"class": names[scores.name], "lane": kind, "is": kind, **_with_interval(proportion)}
        for scores in drawn
        for kind, proportion in (("recall", scores.recall), ("precision", scores.precision))
        if proportion.total
    ]
    rows += [
        {"class": names[gate.slice], "lane": "recall", "is": "gate", "value": gate.threshold}
        for gate in gates
        if gate.metric == "recall" and gate.slice in names
    ]
    return _finished(
        _sized(_class_scores(rows), height=26 * len(names) + 70),
        f"The {len(names)} classes of lowest recall" if many else "Recall and precision by class",
        "Recall and precision of each class with their intervals, the lowest recall first, and the "
        "gate that the recall has to reach.",
    )


def shortened(name: str, most: int) -> str:
    """The beginning and the end of a long name: many begin alike."""
    if len(name) <= most:
        return name
    kept = (most - 1) // 2
    return f"{name[:kept].rstrip()}\N{HORIZONTAL ELLIPSIS}{name[-kept:].lstrip()}"


def _labels(names: Sequence[str]) -> dict[str, str]:
    """Names as axes show them; whole where short ones would be equal."""
    short = {name: shortened(name, _LONG_LABEL) for name in names}
    counts = collections.Counter(short.values())
    return {name: label if counts[label] == 1 else name for name, label in short.items()}


def gate_panels(gates: Sequence[summary.Gate]) -> ChartType:
    """Value, interval and threshold of each gate; a panel for each metric, in its own scale."""
    panels = [
        _gate_panel(metric, [gate for gate in gates if gate.metric == metric])
        for metric in dict.fromkeys(gate.metric for gate in gates)
    ]
    return _finished(
        alt.vconcat(*panels, spacing=14).resolve_scale(x="independent", y="independent"),
        "Gates",
        "Each gate's value with its interval, beside the threshold that it has to reach.",
    )


def accuracy_history(runs: Sequence[summary.PastRun]) -> ChartType:
    """Accuracy with its interval and the verdict of each evaluated run, oldest first."""
    measured = [run for run in runs if run.accuracy]
    rows = [
        {"run": number, "verdict": run.verdict, **_with_interval(run.accuracy)}
        for number, run in enumerate(measured)
        if run.accuracy
    ]
    dates = [began(run).strftime("%Y-%m-%d") for run in measured]
    return _finished(
        _sized(_history(rows, dates)),
        "Accuracy of the runs",
        "Accuracy of each run on its test images, with its interval, from the oldest run to the "
        "newest; the shape of the mark is the verdict.",
    )


def robustness_curves(robustness: summary.Robustness) -> ChartType:
    """Accuracy by strength of each corruption, a panel each; strength 0 is the clean test split."""
    rows: Rows = []
    for number, name in enumerate(dict.fromkeys(each.corruption for each in robustness.scores)):
        panel = {"corruption": name, "panel": number}
        rows.append({**panel, "strength": 0, **_with_interval(robustness.clean)})
        rows += [
            {**panel, "strength": scores.strength, **_with_interval(scores.accuracy)}
            for scores in robustness.scores
            if scores.corruption == name
        ]
    return _finished(
        _robustness(rows, robustness.clean.value),
        "Accuracy under corruption",
        "Accuracy with its interval by strength, a panel for each corruption; the dashed line is "
        "the accuracy on the clean images.",
    )


def began(run: summary.PastRun) -> datetime.datetime:
    """Time of the start of a run."""
    return datetime.datetime.fromisoformat(run.began)


# --- Parts of charts ----------------------------------------------------------------------------


def _chart(rows: Rows) -> alt.Chart:
    # Inline, not a data frame: the specification then has exactly what is drawn.
    return alt.Chart(alt.InlineData(values=rows))


def _layers(*charts: alt.Chart | alt.LayerChart) -> alt.LayerChart:
    return alt.LayerChart(layer=charts)


def _line(chart: alt.Chart) -> alt.Chart:
    color = _LIGHT["accent"]
    line: alt.Chart = chart.mark_line(color=color, point={"color": color, "size": 34})
    return line


def _with_interval(proportion: summary.Proportion) -> dict[str, float]:
    interval = proportion.interval
    return {"value": proportion.value, "low": interval.low, "high": interval.high}


def _curves(rows: Rows, chosen_epoch: int) -> alt.LayerChart:
    series = list(dict.fromkeys(row["of"] for row in rows))
    chosen = f"epoch {chosen_epoch}, chosen"
    roles = dict(zip([*series, chosen], [*_SERIES[: len(series)], "ink"], strict=True))
    dashes = [*_DASHES[: len(series)], [1, 2]]
    legend = alt.Legend(symbolType="stroke", symbolSize=300)
    styled = _chart([*rows, {"epoch": chosen_epoch, "of": chosen}]).encode(
        x=_epoch_axis(rows),
        color=_color("of", roles, legend),
        strokeDash=alt.StrokeDash("of:N", legend=legend, title=None, sort=None).scale(
            domain=list(roles), range=dashes
        ),
    )
    lines = styled.transform_filter(alt.datum.of != chosen).mark_line(point={"size": 20})
    y = alt.Y("value:Q", title=None).scale(zero=False).axis(tickCount=5)
    return _sized(
        _layers(
            styled.transform_filter(alt.datum.of == chosen).mark_rule(strokeWidth=1.5),
            lines.encode(y=y),
        )
    )


def _epoch_axis(rows: Rows) -> alt.X:
    epochs = sorted({row["epoch"] for row in rows})
    step = -(-len(epochs) // 9)
    axis = alt.Axis(values=[epoch for epoch in epochs if epoch % step == 0], format="d", grid=False)
    return alt.X("epoch:Q", title="epoch", axis=axis).scale(nice=False, zero=False)


def _color(field: str, roles: dict[str, str], legend: alt.Legend | None) -> alt.Color:
    colors = [_LIGHT[role] for role in roles.values()]
    return alt.Color(f"{field}:N", title=None, legend=legend, sort=None).scale(
        domain=list(roles), range=colors
    )


def _shape(field: str, shapes: dict[str, str]) -> alt.Shape:
    return alt.Shape(f"{field}:N", title=None, sort=None).scale(
        domain=list(shapes), range=list(shapes.values())
    )


def _reliability(rows: Rows) -> alt.LayerChart:
    share = alt.Scale(domain=[0, 1])
    ideal = _chart([{"at": 0}, {"at": 1}]).mark_line(color=_LIGHT["quiet"], strokeDash=[4, 3])
    filled = _chart([row for row in rows if row["images"]]).encode(
        x=alt.X("confidence:Q", title=None).scale(share).axis(tickCount=5)
    )
    return _layers(
        ideal.encode(x=alt.X("at:Q"), y=alt.Y("at:Q")),
        filled.mark_rule(color=_LIGHT["accent"], strokeWidth=1.5).encode(
            y="accuracy low:Q", y2="accuracy high:Q"
        ),
        _line(filled).encode(y=alt.Y("accuracy:Q", title=None).scale(share).axis(_aligned(5))),
    ).properties(width=WIDTH - 60, height=_HEIGHT, title=_subtitle("accuracy"))


def _confidence_histogram(rows: Rows) -> alt.Chart:
    x = alt.X("low:Q", title="confidence of the first choice").scale(domain=[0, 1], padding=0)
    bars: alt.Chart = _chart(rows).mark_bar(color=_LIGHT["quiet"], orient="vertical")
    return bars.encode(
        x=x.axis(tickCount=5),
        x2="high:Q",
        y=alt.Y("images:Q", title=None).axis(_aligned(3)),
        y2=alt.datum(0),
    ).properties(width=WIDTH - 60, height=60, title=_subtitle("images"))


def _aligned(ticks: int) -> alt.Axis:
    # Room for the labels of both panels, so that one is exactly above the other.
    return alt.Axis(tickCount=ticks, minExtent=40)


def _subtitle(text: str) -> alt.TitleParams:
    return alt.TitleParams(
        text, fontWeight="normal", fontSize=11, color=_LIGHT["quiet"], anchor="start", offset=6
    )


def _class_scores(rows: Rows) -> alt.LayerChart:
    roles = {"recall": "accent", "precision": "second", "gate": "ink"}
    base = _chart(rows).encode(
        y=alt.Y("class:N", title=None, sort=None).axis(grid=False),
        yOffset=alt.YOffset("lane:N", sort=["recall", "precision"]).scale(paddingInner=0.2),
        color=_color("is", roles, alt.Legend()),
    )
    return _layers(
        base.mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, opacity=1, size=46).encode(
            x=alt.X("value:Q", title=None).scale(zero=False, padding=8),
            shape=_shape("is", {"recall": "circle", "precision": "diamond", "gate": _BAR}),
        ),
    )


def _gate_panel(metric: str, gates: Sequence[summary.Gate]) -> alt.LayerChart:
    names = _labels([gate.slice for gate in gates])
    rows: Rows = []
    for gate in sorted(gates, key=lambda gate: gate.passed):
        outcome = "passed" if gate.passed else "failed"
        ends = {"low": gate.interval.low, "high": gate.interval.high} if gate.interval else {}
        if gate.value is not None:
            rows.append({"slice": names[gate.slice], "is": outcome, "value": gate.value, **ends})
        rows.append({"slice": names[gate.slice], "is": "threshold", "value": gate.threshold})
    roles = {"passed": "good", "failed": "bad", "threshold": "ink"}
    base = _chart(rows).encode(
        y=alt.Y("slice:N", title=None, sort=None).axis(grid=False, minExtent=76),
        color=_color("is", roles, alt.Legend()),
    )
    return _layers(
        base.mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, opacity=1, size=52).encode(
            x=alt.X("value:Q", title=None)
            .scale(zero=False, padding=8)
            .axis(tickCount=4, labelOverlap="greedy", labelSeparation=4),
            shape=_shape("is", {"passed": "circle", "failed": "cross", "threshold": _BAR}),
        ),
    ).properties(
        width=WIDTH - 110,
        height=22 * len(gates),
        title=_subtitle(metric),
    )


def _history(rows: Rows, dates: list[str]) -> alt.LayerChart:
    roles = {"pushed": "good", "refused": "bad", "stopped": "quiet", "none": "quiet"}
    shapes = {"pushed": "circle", "refused": "cross", "stopped": "square", "none": "diamond"}
    found = {row["verdict"] for row in rows}
    axis = alt.Axis(
        values=list(range(len(rows))),
        labelExpr=f"{json.dumps(dates)}[datum.value]",
        labelOverlap="greedy",
        labelSeparation=16,
        grid=False,
    )
    base = _chart(rows).encode(
        x=alt.X("run:Q", title=None, axis=axis).scale(nice=False, padding=14)
    )
    color = _color("verdict", {v: r for v, r in roles.items() if v in found}, alt.Legend())
    return _layers(
        base.mark_line(color=_LIGHT["line"], strokeWidth=1.5).encode(y="value:Q"),
        base.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q", color=color),
        base.mark_point(filled=True, opacity=1, size=52).encode(
            y=alt.Y("value:Q", title=None).scale(zero=False),
            color=color,
            shape=_shape("verdict", {v: s for v, s in shapes.items() if v in found}),
        ),
    )


def _robustness(rows: Rows, clean: float) -> alt.FacetChart:
    reference = alt.Chart().mark_rule(color=_LIGHT["quiet"], strokeDash=[4, 3])
    base = alt.Chart().encode(
        x=alt.X("strength:Q", title=None)
        .scale(nice=False)
        .axis(values=[0, 1, 2, 3], grid=False, labelExpr="datum.value ? datum.label : 'clean'")
    )
    panel = _layers(
        reference.encode(y=alt.datum(clean)),
        base.mark_rule(color=_LIGHT["accent"], strokeWidth=1.5).encode(y="low:Q", y2="high:Q"),
        _line(base).encode(y=alt.Y("value:Q", title=None).scale(zero=False).axis(tickCount=4)),
    ).properties(width=108, height=84)
    # By number: Vega would put an order by name into an expression, which a name could break.
    order = alt.EncodingSortField(field="panel", op="min")
    header = alt.Header(title=None, labelAnchor="start", labelFontSize=11, labelPadding=4)
    return panel.facet(
        facet=alt.Facet("corruption:N", header=header, sort=order),
        data=alt.InlineData(values=rows),
        columns=2,
        spacing={"row": 14, "column": 26},
    )


# --- Form ---------------------------------------------------------------------------------------


def _sized(chart: alt.LayerChart, height: int = _HEIGHT) -> alt.LayerChart:
    # The size of the whole drawing, axes and legend included.
    fit = alt.AutoSizeParams(type="fit", contains="padding")
    return chart.properties(width=WIDTH, height=height, autosize=fit)


def _finished(chart: ChartType, title: str, description: str) -> ChartType:
    # In one step: each step copies the whole chart with its data.
    return chart.properties(
        title=title, description=description, background=_LIGHT["paper"], config=_form()
    )


def _form() -> alt.Config:
    quiet, ink = _LIGHT["quiet"], _LIGHT["ink"]
    return alt.Config(
        font=_FONT,
        padding=6,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=quiet,
            labelFontSize=11,
            labelLimit=110,
            titleColor=quiet,
            titleFontSize=11,
            titleFontWeight="normal",
            gridColor=_LIGHT["line"],
            domain=False,
            ticks=False,
            labelPadding=6,
            labelFlush=False,
        ),
        title=alt.TitleConfig(anchor="start", color=ink, fontSize=13, offset=10),
        header=alt.HeaderConfig(labelColor=quiet),
        legend=alt.LegendConfig(
            orient="top", labelColor=ink, labelFontSize=11, offset=6, padding=0
        ),
    )


def _without_controls(value: Any) -> Any:
    """Removes characters from all texts that XML may not have: vl-convert crashes on them."""
    if isinstance(value, dict):
        return {key: _without_controls(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_controls(part) for part in value]
    return _NOT_XML.sub("", value) if isinstance(value, str) else value


def _variable(color: str) -> str:
    return f"var(--{_ROLES[color]},{color})"


def _name(root: ElementTree.Element, title: str, description: str) -> None:
    # One image to a screen reader, as wide as its container allows, but no wider than drawn.
    root.set("role", "img")
    root.set("style", f"width:100%;max-width:{root.attrib['width']}px;height:auto")
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}")
        element.text = text
        root.insert(position, element)


def _drop_what_is_not_seen(root: ElementTree.Element) -> None:
    """Removes empty shapes, and Vega's texts about each mark for screen readers and scripts."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.get("class") in ("background", "foreground") and not child.get("fill"):
                parent.remove(child)
    for element in root.iter():
        for name in set(element.attrib) & _UNSEEN:
            del element.attrib[name]


def _rounded(value: str) -> str:
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", value)
