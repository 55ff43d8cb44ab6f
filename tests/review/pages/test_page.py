"""The page says what the summary says, all of it, and nothing that anybody wrote acts in it."""

import base64
import hashlib
import html.parser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import lxml.html
import pytest

from pipeline.records.outcomes import Status, Verdict
from review import figures, page, statistics, summary

_SECTIONS = {
    "verdict": None,
    "gates": "gates",
    "comparison": "comparison",
    "classes": "report",
    "slices": "slices",
    "confusion": "confusion",
    "calibration": "calibration",
    "robustness": "robustness",
    "data": "data",
    "suspects": "suspects",
    "training": "training",
    "inside": "inside",
    "history": None,
    "lineage": None,
}
_VOID = {"meta", "link", "br", "img", "input", "hr"}
_MARKUP_END = "{{ 7 * 7 }} \\ a.b"
# Places in the sheet, what shares are made of, and intervals where a table would be too wide.
_NOT_SHOWN = re.compile(
    r"\.(images\.\d+|gallery\.count|hits|total)$"
    # In the label of a cell.
    r"|^confusion\.rows.*\.share$"
    r"|^robustness\.(examples|scores\.\d+\.classes\..*\.interval)\."
)
_MEBIBYTE = 2**20
_PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", autouse=True)
def charts_are_drawn_once():
    """Most of these pages have the same charts; `test_figures.py` draws equal charts twice."""
    draw, drawn = figures.to_svg, {}

    def draw_once(chart):
        specification = chart.to_json()
        if specification not in drawn:
            drawn[specification] = draw(chart)
        return drawn[specification]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "to_svg", draw_once)
        yield


def rendered(review):
    return page.render(review, page.charts_of(review))


def parse(text):
    return lxml.html.document_fromstring(text)


def text_of(element):
    return " ".join(element.text_content().split())


def numbers(document):
    """What each marked number of a page says, by its path: exact value and text."""
    return [
        (element.get("data-path"), json.loads(element.get("data-value")), element.text_content())
        for element in document.iterfind(".//*[@data-path]")
    ]


def value_at(value, path):
    for part in re.split(r"(?<!\\)\.", path):
        key = re.sub(r"\\(.)", r"\1", part)
        if isinstance(value, dict) and key not in value:
            # A long key is told by its position.
            value = list(value.values())[int(key.removeprefix("#"))]
        else:
            value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def paths_below(value, path):
    """The paths of all numbers of a JSON value."""
    if isinstance(value, dict):
        return {p for k, part in value.items() for p in paths_below(part, f"{path}.{k}")}
    if isinstance(value, list):
        return {p for n, part in enumerate(value) for p in paths_below(part, f"{path}.{n}")}
    return {path} if isinstance(value, int | float) and not isinstance(value, bool) else set()


class Checker(html.parser.HTMLParser):
    """Notes tags that are not closed in the order in which they were opened."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.tags = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))


def check(text):
    checker = Checker()
    checker.feed(text)
    checker.close()
    return checker


@pytest.fixture
def document(kind, page_of):
    return parse(page_of(kind))


# --- Numbers ------------------------------------------------------------------------------------


def test_every_number_is_that_at_its_place_in_the_summary(kind, document, review_of):
    stored = json.loads(review_of(kind).model_dump_json())
    found = numbers(document)
    assert found
    for path, value, _ in found:
        assert value_at(stored, path) == value, path


def _of_slices_elsewhere(stored):
    """Gates that only the section of the slices shows, and slices without images."""
    for number, gate in enumerate(stored["gates"]):
        if gate["metric"] == "slice accuracy" and gate["passed"]:
            yield f"gates.{number}."
    for number, column in enumerate(stored["slices"]):
        for row, scores in enumerate(column["slices"]):
            if not scores["accuracy"]["total"]:
                yield f"slices.{number}.slices.{row}.accuracy."


@pytest.mark.parametrize(
    "part",
    ["gates", "comparison", "report", "slices", "confusion.rows", "calibration", "robustness"],
)
def test_no_number_of_the_evaluation_is_left_out(part, page_of, review_of):
    stored = json.loads(review_of("full").model_dump_json())
    shown = {path for path, _, _ in numbers(parse(page_of("full")))}
    paths = paths_below(value_at(stored, part), part)
    empty = {n for n, b in enumerate(stored["calibration"]["bins"]) if b["confidence"] is None}
    empty_bins = tuple(f"calibration.bins.{number}.accuracy." for number in empty)
    left_out = (*empty_bins, *_of_slices_elsewhere(stored))
    wanted = {p for p in paths if not (_NOT_SHOWN.search(p) or p.startswith(left_out))}
    assert wanted
    assert wanted <= shown


def test_the_text_of_a_number_is_the_number_rounded(kind, document):
    for path, value, text in numbers(document):
        found = re.fullmatch(r"([+\N{MINUS SIGN}]?[\d,]+(?:\.(\d+))?)(\N{NO-BREAK SPACE}%)?", text)
        if found is None:
            continue
        digits = len(found[2] or "")
        scale = 100 if found[3] else 1
        shown = float(found[1].replace(",", "").replace("\N{MINUS SIGN}", "-"))
        # Learning rates have three significant digits instead of a number of decimals.
        if not path.endswith("learning_rate"):
            assert abs(shown - value * scale) <= 0.5000001 * 10**-digits, (path, text)


def test_a_budget_of_minutes_is_told(page_of):
    told = text_of(parse(page_of("full")).get_element_by_id("training"))
    assert "planned, as many as fit into 5 min" in told
    told = text_of(parse(page_of("first run")).get_element_by_id("training"))
    assert "planned; the one with the lowest" in told


def test_durations_are_in_words(review_of):
    words = {
        0.0: "0.0 s",
        59.94: "59.9 s",
        60.0: "1 min 0 s",
        771.4: "12 min 51 s",
        3599.7: "1 h 0 min",
        7380.0: "2 h 3 min",
    }
    review = review_of("stopped")
    nodes = [review.run.nodes[0].model_copy(update={"seconds": seconds}) for seconds in words]
    run = review.run.model_copy(update={"nodes": nodes})
    document = parse(rendered(review.model_copy(update={"run": run})))
    found = {path: shown for path, _, shown in numbers(document)}
    shown = [found[f"run.nodes.{number}.seconds"] for number in range(len(words))]
    assert shown == list(words.values())


def test_what_is_nearly_certain_is_not_written_as_certain(full):
    def sure(probability):
        return summary.Choice(name="Shirt", probability=probability)

    record = full.images[0].model_copy(update={"choices": [sure(0.9996), sure(1.0), sure(0.0004)]})
    review = full.model_copy(update={"images": [record, *full.images[1:]]})
    (label, *_) = parse(rendered(review)).xpath(
        f"//*[contains(@aria-label, 'example {record.example_id}')]/@aria-label"
    )
    assert "predicted Shirt > 0.99, then Shirt 1.00, then Shirt < 0.01;" in label


# --- Sections -----------------------------------------------------------------------------------


def test_the_sections_stand_in_their_order(document):
    sections = document.findall(".//main/section")
    assert [section.get("id") for section in sections] == list(_SECTIONS)
    for section in sections:
        heading, sentence = section[0], section[1]
        assert heading.tag == "h2"
        assert section.get("aria-labelledby") == heading.get("id")
        assert re.fullmatch(r"[^.]+\.", text_of(sentence))


def test_the_contents_lead_to_every_section(document):
    links = document.xpath("//nav//a/@href")
    assert links == [f"#{name}" for name in _SECTIONS]


def test_a_section_without_content_says_why(kind, document, review_of):
    review = review_of(kind)
    for name, part in _SECTIONS.items():
        section = document.get_element_by_id(name)
        if part and getattr(review, part) is None:
            reason = " ".join(review.missing[part].split())
            assert [text_of(child) for child in section[2:]] == [reason]
        else:
            assert len(section) > 2


def test_the_drawn_sample_is_announced_before_everything(kind, document, review_of):
    banners = document.find_class("banner")
    assert len(banners) == review_of(kind).run.is_sample
    for banner in banners:
        assert "say nothing about real images" in text_of(banner)
        assert banner.getnext().find_class("contents")
        assert "Synthetic sample" in text_of(document.find(".//nav"))


def test_a_failure_stands_in_the_verdict_as_it_was_written(page_of):
    section = parse(page_of("crashed")).get_element_by_id("verdict")
    assert "Failed in Trainer" in text_of(section)
    messages = [pre.text_content() for pre in section.iterfind(".//pre")]
    assert "The loss is no number.\nLower the rate." in messages


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"verdict": Verdict.PUSHED}, "✓ Pushed"),
        ({"verdict": Verdict.REFUSED}, "✗ Refused"),
        ({"verdict": Verdict.STOPPED}, "■ Stopped"),
        ({"verdict": Verdict.NONE, "status": Status.FAILED}, "! Failed"),
        ({"verdict": Verdict.NONE, "status": Status.INTERRUPTED}, "‖ Interrupted"),
    ],
)
def test_the_verdict_has_a_word_and_a_symbol(changes, word, review_of):
    review = review_of("killed")
    review = review.model_copy(update={"run": review.run.model_copy(update=changes)})
    (found,) = parse(rendered(review)).find_class("word")
    assert text_of(found) == word


def test_gates_that_failed_stand_first(page_of):
    rows = parse(page_of("full")).get_element_by_id("gates").findall(".//tbody/tr")
    outcomes = [text_of(row[0]) for row in rows[:12]]
    # That of a class, and two on slices.
    assert outcomes == ["✗ failed"] * 3 + ["✓ passed"] * 9
    assert "≈ noise" in text_of(rows[0])


def test_a_class_links_to_its_row_of_the_matrix(page_of, full):
    document = parse(page_of("full"))
    links = document.xpath("//section[@id='classes']//tbody//a")
    assert len(links) == len(full.class_names)
    for link in links:
        row = document.get_element_by_id(link.get("href").removeprefix("#"))
        assert text_of(row[0]) == text_of(link)


def test_the_matrix_names_every_cell(page_of, full):
    document = parse(page_of("full"))
    cells = {cell.get("id"): cell for cell in document.xpath("//table[@id='matrix']//button")}
    assert len(cells) == len(full.class_names) ** 2
    for number, row in enumerate(full.confusion.rows):
        for column, cell in enumerate(row):
            label = cells[f"cell-{number}-{column}"].get("aria-label")
            kind = "recognised" if number == column else f"taken for {cell.predicted}"
            images = "image" if cell.count == 1 else "images"
            assert label.startswith(f"{cell.label} {kind}: {cell.count:,} {images}, ")
            assert label.endswith(f", {100 * cell.share:.1f} % of {cell.label}")


def test_every_suspect_is_listed_and_its_image_shown_once(page_of, full):
    document = parse(page_of("full"))
    section = document.get_element_by_id("suspects")
    table = section.xpath(".//table[contains(caption, 'Labels that may be wrong')]")[0]
    assert [text_of(row[0]) for row in table.find("tbody")] == [
        error.example_id for error in full.suspects.label_errors
    ]
    assert "with a probability of more than 0.95." in text_of(section)
    assert "All as a list" in text_of(section)
    assert not section.xpath(".//*[contains(@class, 'sheet-images')]")
    (link,) = section.xpath(".//a/@href")
    assert document.get_element_by_id(link.removeprefix("#")).text == "Most confident errors"


def test_of_many_suspects_the_surest_are_listed(full):
    count = len(full.suspects.label_errors)
    suspects = full.suspects.model_copy(update={"label_error_count": count + 1})
    document = parse(rendered(full.model_copy(update={"suspects": suspects})))
    assert f"The surest {count} as a list" in text_of(document.get_element_by_id("suspects"))


def test_without_suspects_the_page_says_so(full):
    none = {"label_errors": [], "label_error_count": 0}
    suspects = full.suspects.model_copy(update=none)
    document = parse(rendered(full.model_copy(update={"suspects": suspects})))
    assert "No label is contradicted" in text_of(document.get_element_by_id("suspects"))


def test_near_duplicates_say_how_copies_are_counted(page_of):
    told = text_of(parse(page_of("full")).get_element_by_id("suspects"))
    assert "Each copy of an image is counted once, in a pair with the first of its kind" in told
    assert "counted once" not in text_of(parse(page_of("first run")).get_element_by_id("suspects"))


def test_corruptions_stand_in_the_order_of_the_catalogue(page_of, full):
    table = parse(page_of("full")).get_element_by_id("robustness").find(".//table")
    found = [text_of(row[0]) for row in table.find("tbody")]
    assert found == list(dict.fromkeys(score.corruption for score in full.robustness.scores))


@pytest.mark.parametrize(
    ("smoothing", "words"),
    [
        (0.1, "Loss by epoch, with label smoothing of 0.1 and before the temperature: it cannot"),
        (0.0, "Loss by epoch, before the temperature: it cannot"),
    ],
)
def test_the_loss_says_what_it_cannot_be_compared_with(smoothing, words, full):
    training = full.training.model_copy(update={"label_smoothing": smoothing})
    document = parse(rendered(full.model_copy(update={"training": training})))
    assert words in text_of(document.get_element_by_id("training"))


def test_a_value_that_fails_never_looks_like_its_threshold(full):
    narrow = {"value": 53_999 / 60_000, "threshold": 0.9, "margin": -1 / 60_000, "passed": False}
    gates = [gate.model_copy(update=narrow) for gate in full.gates[:1]]
    shop = next(shop for shop in full.slices[0].slices if shop.accuracy.total)
    shop = shop.model_copy(update={"judged": True, "passed": False})
    accuracy = shop.accuracy.model_copy(update={"value": 0.74998})
    shops = full.slices[0].model_copy(
        update={"slices": [shop.model_copy(update={"accuracy": accuracy})]}
    )
    assert shops.threshold == 0.75
    document = parse(rendered(full.model_copy(update={"gates": gates, "slices": [shops]})))
    tables = document.get_element_by_id("gates").findall(".//tbody")
    row = [text_of(cell) for cell in tables[0][0]]
    assert (row[3].split()[0], row[4:6]) == ("0.89998", ["0.90000", "\N{MINUS SIGN}0.00002"])
    assert [text_of(tables[-1][0][place]) for place in (1, 3)] == ["0.89998", "0.90000"]
    assert "0.74998" in text_of(document.get_element_by_id("slices"))


def test_a_class_without_test_images_has_no_scores(full):
    nothing = statistics.proportion(0, 0)
    classes = full.report.classes
    name, unseen = classes[0].name, classes[1].name
    untested = classes[0].model_copy(update={"recall": nothing, "support": 0})
    rest = [classes[1].model_copy(update={"precision": nothing}), *classes[2:]]
    report = full.report.model_copy(update={"classes": [*rest, untested]})
    change = full.comparison.classes[0].model_copy(
        update={"name": name, "candidate": nothing, "baseline": nothing}
    )
    comparison = full.comparison.model_copy(update={"classes": [change]})
    scores = full.robustness.scores[0]
    scores = scores.model_copy(update={"classes": {**scores.classes, name: nothing}})
    robustness = full.robustness.model_copy(update={"scores": [scores]})
    changes = {"report": report, "comparison": comparison, "robustness": robustness}
    document = parse(rendered(full.model_copy(update=changes)))

    def rows(section, table):
        found = document.get_element_by_id(section).findall(".//tbody")[table]
        return {text_of(row[0]): [text_of(cell) for cell in row[1:]] for row in found}

    assert rows("classes", 0)[name][1:] == ["none", "none", "0"]
    assert rows("classes", 0)[unseen][0] == "none"
    assert name not in rows("classes", 1)
    assert rows("classes", 1)[unseen][2:] == ["none", "none"]
    assert rows("comparison", 1)[name][:3] == ["none"] * 3
    (recalls,) = rows("robustness", 2).values()
    assert recalls[1:].index("none") == full.class_names.index(name)
    assert recalls.count("none") == 1


def test_the_page_says_how_a_class_without_test_images_counts_in_the_average(full):
    said = "If the model predicted it, it counts in the macro average, with a score of 0."
    untested = full.report.classes[0].model_copy(update={"support": 0})
    report = full.report.model_copy(update={"classes": [*full.report.classes[1:], untested]})
    for review, expected in ((full, False), (full.model_copy(update={"report": report}), True)):
        section = parse(rendered(review)).get_element_by_id("classes")
        assert (said in text_of(section)) == expected


def test_the_commands_say_that_a_warm_start_needs_its_model(full):
    needs = f"only if that model is served when they run. Its digest is {'e' * 64}."
    assert needs in text_of(parse(rendered(full)).get_element_by_id("lineage"))
    lineage = full.lineage.model_copy(update={"warm_start_from": None})
    document = parse(rendered(full.model_copy(update={"lineage": lineage})))
    assert "weights of another model" not in text_of(document.get_element_by_id("lineage"))


def test_images_that_are_not_augmented_are_not_called_harder(page_of, full):
    assert "Training images are augmented" in page_of("full")
    training = full.training.model_copy(update={"augmentation": {}})
    document = parse(rendered(full.model_copy(update={"training": training})))
    told = text_of(document.get_element_by_id("training"))
    assert "Training images are augmented" not in told
    assert "Training images are not augmented." in told


def test_no_interval_is_called_what_it_is_not(page_of):
    but = "Every range on this page but that of the calibration error is a 95 % interval."
    assert but in text_of(parse(page_of("full")).get_element_by_id("verdict"))
    calibration = text_of(parse(page_of("full")).get_element_by_id("calibration"))
    assert "for about four in ten models without any error, it does not reach 0" in calibration
    cleaned = text_of(parse(page_of("cleaned")).get_element_by_id("verdict"))
    assert "Every range on this page is a 95 % interval." in cleaned


@pytest.mark.parametrize("section", ["classes", "calibration"])
def test_the_cross_entropy_says_what_becomes_of_the_lowest_probabilities(section, page_of):
    told = text_of(parse(page_of("full")).get_element_by_id(section))
    assert "a probability below 0.0000001 counts as 0.0000001" in told


@pytest.mark.parametrize(
    ("status", "verdict", "node", "heading"),
    [
        (Status.INTERRUPTED, Verdict.NONE, None, None),
        (Status.INTERRUPTED, Verdict.NONE, "Trainer", "Interrupted in Trainer:"),
        (Status.FAILED, Verdict.STOPPED, "DataGate", "Stopped by DataGate:"),
        (Status.FAILED, Verdict.NONE, "Trainer", "Failed in Trainer:"),
        (Status.FAILED, Verdict.NONE, None, "The run itself failed:"),
    ],
)
def test_a_message_stands_below_what_happened(status, verdict, node, heading, full):
    failure = summary.Failure(node=node, message="the message")
    changes = {"status": status, "verdict": verdict, "failure": failure}
    run = full.run.model_copy(update=changes)
    document = parse(rendered(full.model_copy(update={"run": run})))
    (told,) = document.find_class("failure")
    assert [text_of(each) for each in told] == [*([heading] if heading else []), "the message"]


def test_a_change_without_an_interval_says_why(page_of, review_of):
    change = review_of("cleaned").verdict.change
    shown = text_of(parse(page_of("cleaned")).get_element_by_id("verdict"))
    value = f"{change.value:+.4f}".replace("-", "\N{MINUS SIGN}")
    assert f"{value} no interval: the answers to each image are not available" in shown
    first = text_of(parse(page_of("first run")).get_element_by_id("verdict"))
    assert "Change against the served model none nothing to compare with" in first


@pytest.mark.parametrize("kind", ["stopped", "first run"])
def test_why_there_is_no_drift_stands_where_it_would_be(kind, page_of, review_of):
    reason = review_of(kind).missing["data.drifts"]
    assert reason in text_of(parse(page_of(kind)).get_element_by_id("data"))


def test_galleries_show_right_and_wrong_in_words(page_of, full):
    document = parse(page_of("full"))
    section = document.get_element_by_id("inside")
    shots = section.find_class("shot")
    assert len(shots) == len(full.inside.samples.images)
    for place, shot in zip(full.inside.samples.images, shots, strict=True):
        record = full.images[place]
        right = record.choices[0].name == record.label
        assert text_of(shot).startswith("✓ right" if right else "✗ wrong")
        (tile,) = shot.find_class("tile")
        assert f"example {record.example_id}" in tile.get("aria-label")
        assert tile.get("style") == f"--x:{place % 32};--y:{place // 32}"


def test_every_feature_map_is_shown_in_its_own_sheet(page_of, full):
    figures = parse(page_of("full")).find_class("map")
    assert len(figures) == len(full.inside.feature_maps) == 10
    for number, (maps, figure) in enumerate(zip(full.inside.feature_maps, figures, strict=True)):
        assert maps.example_id in text_of(figure)
        tiles = figure.find_class("tile")
        assert tiles[0].get("class") == f"tile sheet-input-{number}"
        expected = [
            (f"tile sheet-maps-{number}-{block}", f"{name}, map {place + 1}")
            for block, (name, sheet) in enumerate(maps.blocks.items())
            for place in range(sheet.count)
        ]
        assert [(tile.get("class"), tile.get("aria-label")) for tile in tiles[1:]] == expected


def test_classes_that_the_run_before_did_not_have_are_said(full):
    first = full.data.splits[0]
    before = {**first.before, "Hat": 12}
    del before["Bag"]
    splits = [first.model_copy(update={"before": before}), *full.data.splits[1:]]
    review = full.model_copy(update={"data": full.data.model_copy(update={"splits": splits})})
    rows = parse(rendered(review)).get_element_by_id("data").findall(".//tr")
    said = {text_of(row[0]): text_of(row[1]) for row in rows}
    assert said["Hat"] == "none ≠ was 12"
    assert said["Bag"] == "5,500 ≠ was absent"
    assert said["Dress"] == "5,500"


def test_every_chart_has_a_caption_and_its_data(page_of):
    charts = parse(page_of("full")).find_class("chart")
    assert len(charts) == 9
    for chart in charts:
        assert chart.find(".//svg") is not None
        assert text_of(chart.find(".//figcaption"))
        assert chart.find(".//details//table//td") is not None


# --- Form ---------------------------------------------------------------------------------------


def test_equal_summaries_give_equal_pages(full):
    copy = summary.Summary.model_validate_json(full.model_dump_json())
    assert rendered(copy) == rendered(full)


def test_every_chart_of_every_kind_of_run_is_vega_lite(kind, review_of):
    for chart in page.charts_of(review_of(kind)).values():
        # By default Altair checks it against the schema.
        assert figures.specification_of(chart) == chart.to_dict()


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_makes_the_same_page(seed, full, page_of):
    """Neither the order of sets nor what was drawn before has a part in it."""
    code = (
        "import hashlib, sys\n"
        "from review import page, summary\n"
        "review = summary.Summary.model_validate_json(sys.stdin.read())\n"
        "print(hashlib.sha256(page.render(review, page.charts_of(review)).encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=full.model_dump_json(),
        capture_output=True,
        text=True,
        check=True,
        cwd=_PROJECT,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )
    assert done.stdout.strip() == hashlib.sha256(page_of("full").encode()).hexdigest()


def test_the_page_is_well_formed(kind, page_of):
    checker = check(page_of(kind))
    assert checker.wrong == []
    assert checker.open == []
    ids = [attributes["id"] for _, attributes in checker.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    # What refers to an id refers to one that is there.
    for _, attributes in checker.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(attributes.get(name, "").split()) <= set(ids)
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids


def test_the_page_loads_nothing(kind, page_of):
    text = page_of(kind)
    for tag, attributes in check(text).tags:
        assert "src" not in attributes
        if "href" in attributes:
            assert attributes["href"].startswith(("#", "../")) or (tag, attributes["href"]) == (
                "link",
                "data:,",
            )
    assert "@import" not in text
    (style,) = parse(text).iterfind(".//style")
    assert all(found.startswith('"data:') for found in re.findall(r"url\((.{6})", style.text))


def test_the_policy_forbids_everything_but_this_script(kind, page_of):
    document = parse(page_of(kind))
    (policy,) = document.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    directives = dict(part.split(maxsplit=1) for part in policy.split("; "))
    (script,) = document.xpath("//script[not(@type)]")
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert directives == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_page_of_a_default_run_stays_small(default_run):
    """Also where the images are of noise, which no format makes smaller."""
    text = rendered(default_run)
    assert len(text.encode()) < 3 * _MEBIBYTE
    assert len(re.sub(r"base64,[^\"]*", "", text).encode()) < 0.7 * _MEBIBYTE


def test_only_equal_images_with_different_labels_are_called_wrong(page_of):
    """Images that differ in one small defect are nearly equal, and both labels may be right."""
    text = text_of(parse(page_of("full")).get_element_by_id("suspects"))
    assert "Equal images with different labels cannot both be right. Of nearly equal" in text


def test_a_count_of_pairs_that_may_be_too_low_is_called_that(full):
    (count,) = full.suspects.similar_counts
    for complete, words in ((True, ""), (False, "at least ")):
        changed = {"similar_counts": [count.model_copy(update={"complete": complete})]}
        suspects = full.suspects.model_copy(update=changed)
        document = parse(rendered(full.model_copy(update={"suspects": suspects})))
        (table,) = document.xpath("//table[caption='Pairs by split']")
        row = [text_of(cell) for cell in table.find("tbody/tr")]
        assert row == ["train and test", "1", f"{words}1", f"{words}2"]
        section = text_of(document.get_element_by_id("suspects"))
        assert ("so many that are nearly the same" in section) != complete


def test_the_history_links_to_the_runs_that_left_a_page(page_of, full):
    section = parse(page_of("full")).get_element_by_id("history")
    others = [run for run in reversed(full.history) if run.id != full.run.id]
    assert any(run.seconds is None for run in others)
    assert section.xpath(".//th/a/@href") == [
        f"../{run.id}/review.html" for run in others if run.seconds is not None
    ]


# --- What others wrote --------------------------------------------------------------------------


def test_markup_stays_text_wherever_it_stands(page_of, review_of):
    text = page_of("hostile")
    tags = check(text).tags
    assert sum(tag == "script" for tag, _ in tags) == 2
    assert not any(tag == "img" for tag, _ in tags)
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    document, review = parse(text), review_of("hostile")
    for section, told in [
        ("verdict", [review.verdict.headline, review.run.command, review.run.nodes[0].name]),
        ("gates", [gate.sentence for gate in review.gates]),
        ("classes", review.class_names),
        ("confusion", [figures.shortened(name, 40) for name in review.class_names]),
        ("robustness", [review.robustness.scores[0].amount]),
        ("data", [finding.line for finding in review.data.findings]),
        ("suspects", [pair.first for pair in review.suspects.similar_pairs]),
        ("training", [review.training.warm_start_from, *review.training.augmentation]),
        ("inside", list(review.inside.feature_maps[0].blocks)),
        ("history", [run.id for run in review.history]),
        ("lineage", [*review.lineage.commands, *review.lineage.parameters]),
    ]:
        found = text_of(document.get_element_by_id(section))
        for words in told:
            assert " ".join(words.split()) in found, (section, words)


def test_markup_stays_text_in_attributes(page_of, review_of):
    document, review = parse(page_of("hostile")), review_of("hostile")
    labels = document.xpath("//table[@id='matrix']//button/@aria-label")
    short = figures.shortened(review.class_names[0], 40)
    assert labels[0].startswith(f"{short} recognised: ")
    addresses = document.xpath("//section[@id='history']//a/@href")
    assert addresses
    assert all(re.fullmatch(r"\.\./[\w.~%-]+/review\.html", address) for address in addresses)


def test_markup_stays_text_in_the_data_of_the_script(page_of, review_of):
    (script,) = parse(page_of("hostile")).xpath("//script[@type='application/json']")
    assert not set("<>&\u2028\u2029") & set(script.text)
    data, review = json.loads(script.text), review_of("hostile")
    labels = [review.class_names[image["label"]] for image in data["images"]]
    assert labels == [record.label for record in review.images]
    assert all(image["id"].endswith(_MARKUP_END) for image in data["images"])
    assert all(name.endswith(_MARKUP_END) for name in data["names"])


@pytest.mark.parametrize("content", ["x);} body {display: none", "</style><b>", "AAA"])
def test_a_sheet_that_is_not_base64_is_refused(content, full):
    sheet = full.sheet.model_copy(update={"content": content})
    with pytest.raises(ValueError, match=r"base64|padding"):
        rendered(full.model_copy(update={"sheet": sheet}))


# --- Two runs -----------------------------------------------------------------------------------


def test_the_numbers_of_a_comparison_are_those_of_its_summary(comparison):
    stored = json.loads(comparison.model_dump_json())
    found = numbers(parse(page.render_comparison(comparison)))
    for path, value, _ in found:
        assert value_at(stored, path) == value, path
    assert paths_below(stored["comparison"]["change"], "comparison.change") <= {
        path for path, _, _ in found
    }


def test_a_comparison_says_what_differs(comparison):
    document = parse(page.render_comparison(comparison))
    rows = document.get_element_by_id("differences").findall(".//tbody/tr")
    differing = {**comparison.parameters, **comparison.facts}
    assert {"training.epochs", "revision"} <= set(differing)
    assert [[text_of(cell) for cell in row] for row in rows] == [
        [name, *values] for name, values in differing.items()
    ]
    shots = document.get_element_by_id("images").find_class("shot")
    galleries = (comparison.comparison.newly_broken, comparison.comparison.newly_fixed)
    assert len(shots) == sum(len(gallery.images) for gallery in galleries)


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({}, "../runs/20260415-140007/review.html"),
        ({"pipeline": "a/b"}, "../../a%2Fb/runs/20260415-140007/review.html"),
        ({"seconds": None}, None),
    ],
)
def test_a_comparison_leads_to_the_runs(changes, address, comparison):
    first = comparison.first.model_copy(update=changes)
    document = parse(page.render_comparison(comparison.model_copy(update={"first": first})))
    found = document.get_element_by_id("runs").xpath(".//th/a/@href")
    second = "../runs/20260422-140312/review.html"
    assert found == [second] if address is None else [address, second]
    assert document.xpath("//header//a/@href") == ["../index.html"]


def test_a_comparison_without_the_same_images_says_why(comparison):
    reason = "The runs have different test images."
    changed = {"comparison": None, "missing": reason, "sheet": None, "images": []}
    changed |= {"parameters": {}, "facts": {}, "accuracies": (None, None)}
    text = page.render_comparison(comparison.model_copy(update=changed))
    assert reason in text_of(parse(text).get_element_by_id("images"))
    assert check(text).wrong == []


def test_a_comparison_without_images_says_so(comparison):
    text = page.render_comparison(comparison.model_copy(update={"sheet": None, "images": []}))
    assert "the images are not available" in text_of(parse(text).get_element_by_id("images"))
