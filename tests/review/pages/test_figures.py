"""Charts are complete by themselves: the same everywhere, without a network, in both themes."""

import http.server
import itertools
import re
import subprocess
import sys
import threading
from xml.etree import ElementTree

import altair as alt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from review import figures, statistics

_SVG = "{http://www.w3.org/2000/svg}"
_SHAPES = {"svg", "title", "desc", "g", "rect", "path", "line", "text", "tspan", "defs"}
_CHARTS = {
    "loss": lambda review: figures.loss_curves(review.training),
    "accuracy": lambda review: figures.accuracy_curves(review.training),
    "learning rate": lambda review: figures.learning_rate_curve(review.training),
    "reliability": lambda review: figures.reliability_diagram(review.calibration),
    "coverage": lambda review: figures.coverage_curve(review.calibration),
    "classes": lambda review: figures.class_scores(review.report, review.gates),
    "gates": lambda review: figures.gate_panels(review.gates),
    "history": lambda review: figures.accuracy_history(review.history),
    "robustness": lambda review: figures.robustness_curves(review.robustness),
}


@pytest.fixture(scope="module", params=_CHARTS)
def chart(request, full):
    return _CHARTS[request.param](full)


@pytest.fixture(scope="module")
def svg(chart):
    return figures.to_svg(chart)


def rows_of(chart):
    """Every row of data that a chart holds."""
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{_SVG}text")]


def test_a_drawing_is_a_named_image(chart, svg):
    root = ElementTree.fromstring(svg)
    specification = chart.to_dict()
    assert root.tag == f"{_SVG}svg"
    assert root.get("role") == "img"
    assert [root[0].tag, root[1].tag] == [f"{_SVG}title", f"{_SVG}desc"]
    assert (root[0].text, root[1].text) == (specification["title"], specification["description"])
    # What is said once is not said again mark by mark.
    assert not any("aria-label" in element.attrib for element in root.iter())


def test_a_drawing_is_as_wide_as_its_place_up_to_its_own_width(svg):
    root = ElementTree.fromstring(svg)
    width, height = root.get("width"), root.get("height")
    assert root.get("viewBox") == f"0 0 {width} {height}"
    assert f"width:100%;max-width:{width}px" in root.get("style")
    # On the narrowest phone it is hardly made smaller.
    assert float(width) <= 330


def test_equal_charts_give_equal_drawings(chart, svg):
    figures.to_svg(alt.Chart(alt.InlineData(values=[]), title="", description="").mark_bar())
    assert figures.to_svg(chart) == svg


DRAWING = """
import resource, sys
import altair as alt
from review import figures
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + int(sys.argv[1]) * 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    figures.to_svg(alt.Chart(alt.InlineData(values=[]), title="", description="").mark_bar())
    print("drawn")
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize(("gibibytes", "told"), [(4, "ulimit -v unlimited"), (67, "drawn")])
def test_where_the_library_would_end_the_process_a_drawing_is_refused(gibibytes, told):
    command = [sys.executable, "-c", DRAWING, str(gibibytes)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0
    assert told in ended.stdout


def test_colours_are_those_of_the_theme(svg):
    bare = re.sub(r"var\(--(\w+),(#\w+)\)", "", svg)
    assert re.findall(r'(?:fill|stroke)="(?!none|transparent|")([^"]*)"', bare) == []
    colours = re.findall(r"var\(--(\w+),(#\w+)\)", svg)
    assert colours
    for role, color in colours:
        assert figures.PALETTE[role][0] == color


def test_a_drawing_refers_to_nothing(svg):
    assert re.findall(r"\b(?:href|src|url)\b", svg) == []
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]


def test_data_at_an_address_is_never_fetched():
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/rows.json"
    chart = alt.Chart(alt.UrlData(address), title="t", description="d").mark_bar()
    try:
        with pytest.raises(ValueError, match="not allowed"):
            figures.to_svg(chart)
    finally:
        server.shutdown()
        server.server_close()
    assert asked == []


def test_data_is_in_the_chart(chart):
    assert '"url"' not in chart.to_json()
    assert rows_of(chart)


def test_training_curves_tell_series_apart_by_dashes(full):
    svg = figures.to_svg(figures.loss_curves(full.training))
    lines = ElementTree.fromstring(svg).iter(f"{_SVG}path")
    dashes = {line.get("stroke-dasharray") for line in lines if line.get("stroke")}
    assert {"1,0", "5,3"} <= dashes
    assert {"training", "validation", "epoch 3, chosen"} <= set(texts(svg))


def test_training_curves_hold_every_epoch(full):
    rows = rows_of(figures.loss_curves(full.training))
    for epoch in full.training.epochs:
        assert {"epoch": epoch.epoch, "of": "training", "value": epoch.loss} in rows
        assert {"epoch": epoch.epoch, "of": "validation", "value": epoch.validation_loss} in rows


@pytest.mark.parametrize("count", [2, 3, 30, 200])
def test_epochs_are_labelled_once_and_in_whole_numbers(count, full):
    epochs = list(itertools.islice(itertools.cycle(full.training.epochs), count))
    epochs = [e.model_copy(update={"epoch": number}) for number, e in enumerate(epochs, 1)]
    training = full.training.model_copy(update={"epochs": epochs, "chosen_epoch": 1})
    labels = texts(figures.to_svg(figures.learning_rate_curve(training)))
    numbers = [int(text) for text in labels if text.isdecimal()]
    assert 1 <= len(numbers) <= 10
    assert numbers == sorted(set(numbers))


def test_a_single_epoch_is_drawn(full):
    training = full.training.model_copy(
        update={"epochs": full.training.epochs[:1], "chosen_epoch": 1}
    )
    assert {"1", "epoch 1, chosen"} <= set(texts(figures.to_svg(figures.loss_curves(training))))


def test_the_reliability_diagram_leaves_empty_bins_out(full):
    rows = rows_of(figures.reliability_diagram(full.calibration))
    drawn = [row for row in rows if "confidence" in row and row["confidence"] is not None]
    filled = [b for b in full.calibration.bins if b.accuracy.total]
    assert {row["confidence"] for row in drawn} == {b.confidence for b in filled}
    assert len(filled) < len(full.calibration.bins)


def test_class_scores_stand_beside_the_gate_of_their_class(full):
    rows = rows_of(figures.class_scores(full.report, full.gates))
    gates = {row["class"]: row["value"] for row in rows if row["is"] == "gate"}
    wanted = {gate.slice: gate.threshold for gate in full.gates if gate.metric == "recall"}
    assert gates == wanted
    recalls = {row["class"]: row["value"] for row in rows if row["is"] == "recall"}
    assert recalls == {scores.name: scores.recall.value for scores in full.report.classes}


def test_classes_without_images_have_no_scores_in_the_chart(full):
    nothing = statistics.proportion(0, 0)
    first, second, *others = full.report.classes
    untested = first.model_copy(update={"recall": nothing, "support": 0})
    unseen = second.model_copy(update={"precision": nothing})
    report = full.report.model_copy(update={"classes": [untested, unseen, *others]})
    rows = rows_of(figures.class_scores(report, full.gates))
    assert not any(row["class"] == first.name for row in rows)
    assert {row["is"] for row in rows if row["class"] == second.name} == {"recall", "gate"}


def test_class_scores_do_without_gates(full):
    svg = figures.to_svg(figures.class_scores(full.report, []))
    assert set(full.class_names) <= set(texts(svg))


def test_gates_have_a_panel_for_each_metric(full):
    svg = figures.to_svg(figures.gate_panels(full.gates))
    assert {gate.metric for gate in full.gates} <= set(texts(svg))
    assert {"passed", "failed", "threshold"} <= set(texts(svg))


def test_gates_without_an_interval_are_drawn(full):
    measured = [gate for gate in full.gates if gate.value is not None]
    bare = [gate.model_copy(update={"interval": None}) for gate in measured]
    rows = rows_of(figures.gate_panels(bare))
    assert not any("low" in row for row in rows)
    assert sorted(row["value"] for row in rows if row["is"] != "threshold") == sorted(
        gate.value for gate in measured
    )


def test_the_history_runs_from_the_oldest_to_the_newest(full):
    rows = rows_of(figures.accuracy_history(full.history))
    measured = [run for run in full.history if run.accuracy]
    assert [row["value"] for row in rows[: len(measured)]] == [
        run.accuracy.value for run in measured
    ]


def test_robustness_begins_at_the_clean_images(full):
    rows = rows_of(figures.robustness_curves(full.robustness))
    clean = [row for row in rows if row["strength"] == 0]
    assert {row["corruption"] for row in clean} == {s.corruption for s in full.robustness.scores}
    assert {row["value"] for row in clean} == {full.robustness.clean.value}


@pytest.mark.slow
@settings(max_examples=15)
@given(name=st.text(min_size=1, max_size=12))
def test_any_name_becomes_text(name, full):
    scores = full.report.classes[0].model_copy(update={"name": name})
    gate = full.gates[0].model_copy(update={"slice": name, "metric": name})
    corrupted = full.robustness.scores[0].model_copy(update={"corruption": name})
    for chart in (
        figures.class_scores(full.report.model_copy(update={"classes": [scores]}), []),
        figures.gate_panels([gate]),
        figures.robustness_curves(full.robustness.model_copy(update={"scores": [corrupted]})),
    ):
        # By default Altair checks it against the schema of Vega-Lite.
        assert figures.specification_of(chart) == chart.to_dict()
        root = ElementTree.fromstring(figures.to_svg(chart))
        assert {element.tag.removeprefix(_SVG) for element in root.iter()} <= _SHAPES


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("role", sorted(set(figures.PALETTE) - {"paper", "line"}))
def test_text_in_every_colour_can_be_read_on_paper(role, theme, contrast):
    """By the contrast of WCAG 2.2, 1.4.3."""
    text, paper = (
        [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        for color in (figures.PALETTE[role][theme], figures.PALETTE["paper"][theme])
    )
    assert contrast(text, paper) >= 4.5


def test_colours_are_told_apart_by_their_light_form():
    light = [colors[0] for colors in figures.PALETTE.values()]
    assert len(light) == len(set(light))
