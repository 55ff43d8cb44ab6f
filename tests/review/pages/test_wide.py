"""Pages of any data: from two classes to two hundred, with names and images of every kind."""

import json
import re

import lxml.html
import numpy as np
import pytest

from review import page
from review.summary import has_many

_MEGABYTE = 10**6
# These runs have no slices, and so no section of them.
_SECTIONS = [section.name for section in page.SECTIONS if section.name != "slices"]


def document_of(review):
    return lxml.html.document_fromstring(page.render(review, page.charts_of(review)))


def text_of(element):
    return " ".join(element.text_content().split())


@pytest.fixture(scope="module")
def many(wide_review):
    return wide_review("many")


@pytest.fixture(scope="module")
def document(many):
    return document_of(many)


def test_the_page_of_any_data_is_small_and_whole(wide, wide_review, wide_page):
    text = wide_page(wide)
    assert len(text.encode()) <= 3 * _MEGABYTE
    sections = lxml.html.document_fromstring(text).findall(".//main/section")
    assert [section.get("id") for section in sections] == _SECTIONS
    assert wide_review(wide).missing == {}


def test_every_number_of_a_wide_page_is_in_its_summary(wide, wide_review, wide_page):
    stored = json.loads(wide_review(wide).model_dump_json())
    found = lxml.html.document_fromstring(wide_page(wide)).findall(".//*[@data-path]")
    assert found
    for element in found:
        value = stored
        for part in re.split(r"(?<!\\)\.", element.get("data-path")):
            key = re.sub(r"\\(.)", r"\1", part)
            if isinstance(value, list):
                value = value[int(key)]
            elif key in value:
                value = value[key]
            else:
                value = list(value.values())[int(key.removeprefix("#"))]
        assert value == json.loads(element.get("data-value"))


def cell_of(confusion, label, choice):
    name = confusion.class_names[choice]
    (cell,) = (each for each in confusion.rows[label] if each.predicted == name)
    return cell


def test_of_many_classes_the_cells_with_images_are_kept_and_those_that_are_shown(many):
    confusion, total = many.confusion, 0
    for name, row, shown in zip(
        confusion.class_names, confusion.rows, confusion.shown, strict=True
    ):
        assert {cell.label for cell in row} == {name}
        predicted = [confusion.class_names.index(cell.predicted) for cell in row]
        assert predicted == sorted(set(predicted)) and set(shown) <= set(predicted)
        kept = zip(row, predicted, strict=True)
        assert all(cell.count for cell, choice in kept if choice not in shown)
        total += sum(cell.count for cell in row)
    assert total == many.report.accuracy.total


def test_classes_that_are_confused_stand_side_by_side(many):
    """The made model takes each odd class for the even one before it."""
    place = {label: number for number, label in enumerate(many.confusion.order)}
    assert sorted(place) == list(range(len(many.class_names)))
    beside = [abs(place[label] - place[label - 1]) == 1 for label in range(1, 60, 2)]
    assert np.mean(beside) > 0.9


def test_few_classes_keep_their_order(wide_review):
    for name in ("two", "right to left"):
        confusion = wide_review(name).confusion
        assert confusion.order == list(range(len(confusion.class_names)))


def test_of_many_classes_the_page_lists_what_each_is_taken_for(many, document):
    rows = document.xpath("//table[@id='matrix']/tbody/tr")
    assert [row.get("id") for row in rows] == [f"row-{label}" for label in many.confusion.order]
    for label, row in zip(many.confusion.order, rows, strict=True):
        choices = many.confusion.shown[label]
        assert [button.get("id") for button in row.iterfind(".//button")] == [
            f"cell-{label}-{choice}" for choice in choices
        ]
        counts = [cell_of(many.confusion, label, choice).count for choice in choices]
        assert counts[1:] == sorted(counts[1:], reverse=True)
        assert text_of(row[1]) == f"{counts[0]:,}"
    links = document.xpath("//ol[@class='pairs']//a/@href")
    assert links
    assert {link.removeprefix("#") for link in links} <= set(document.xpath("//button/@id"))


def test_the_picture_has_a_point_for_every_cell(many, document, drawn_picture):
    confusion = many.confusion
    pixels = drawn_picture(document)
    assert pixels.shape == (len(confusion.order), len(confusion.order), 4)
    counts = np.zeros(pixels.shape[:2], int)
    for row in confusion.rows:
        for cell in row:
            place = [confusion.class_names.index(name) for name in (cell.label, cell.predicted)]
            counts[tuple(map(confusion.order.index, place))] = cell.count
    np.testing.assert_array_equal(pixels[..., 3] > 0, counts > 0)


def test_the_cells_share_the_room_of_the_page(many):
    shown = [
        (cell.count, len(cell.gallery.images))
        for label, choices in enumerate(many.confusion.shown)
        for cell in (cell_of(many.confusion, label, choice) for choice in choices)
    ]
    most = max(images for _, images in shown)
    # None has an image more before every one has as many as it can.
    assert all(images in (most - 1, most) or images == count for count, images in shown)
    assert len(many.images) <= 1_100


def test_recalls_that_passed_clearly_are_folded(many, document):
    gates = document.get_element_by_id("gates")
    table, *folded = gates.xpath(".//table[@data-sortable]")
    clear = sum(g.passed and g.noise is False and g.slice != "overall" for g in many.gates)
    assert clear > 20
    assert f"The {clear:,} that passed clearly" in text_of(gates)
    rows = [row for each in (table, *folded) for row in each.iterfind("./tbody/tr")]
    assert len(rows) == len(many.gates)
    assert len(table.findall("./tbody/tr")) <= 20
    assert all(each.xpath("ancestor::details") for each in folded)


def test_the_recall_of_a_class_called_overall_is_folded_like_the_others(many):
    recalls = [gate for gate in many.gates if gate.metric == "recall" and gate.passed]
    clear = [gate for gate in recalls if gate.noise is False]
    named = [
        gate.model_copy(update={"slice": "overall"}) if gate is clear[0] else gate
        for gate in many.gates
    ]
    gates = document_of(many.model_copy(update={"gates": named})).get_element_by_id("gates")
    assert gates.xpath(".//details//th[normalize-space()='overall']")


def test_of_many_failures_the_worst_are_open_and_told(many, wide_run):
    made = wide_run("many")
    made.judge(recall=0.999)
    review = made.collect()
    failed = [gate for gate in review.gates if not gate.passed]
    assert len(failed) > 50
    document = document_of(review)
    gates = document.get_element_by_id("gates")
    rows = gates.xpath(".//table[@data-sortable]")[0].findall("./tbody/tr")
    worst = sorted(failed, key=lambda gate: gate.margin)[:20]
    assert [text_of(row.find("th")) for row in rows] == [gate.slice for gate in worst]
    clear = [g for g in review.gates if g.passed and g.noise is False and g.slice != "overall"]
    others = len(review.gates) - len(clear) - 20
    assert f"The other {others:,} that failed or may be noise" in text_of(gates)
    assert review.verdict.reasons[:2] == [gate.sentence for gate in worst[:2]]
    assert any(f"{len(failed) - 10:,} more" in reason for reason in review.verdict.reasons)
    assert len(review.verdict.reasons) <= 12


def test_charts_of_many_classes_draw_the_weakest(many, document):
    charts = document.get_element_by_id("classes").find_class("chart")
    (rows,) = [chart.findall(".//tbody/tr") for chart in charts]
    assert [text_of(row[0]) for row in rows] == [each.name for each in many.report.classes[:20]]
    assert "The 20 classes of lowest recall" in text_of(charts[0])


def test_long_tables_scroll_by_themselves(document, wide_page):
    tall = document.find_class("tall")
    assert {each.get("aria-label") for each in tall} >= {
        "Classification report",
        "Change of each class",
        "Images by split and class",
        "Confusion matrix",
    }
    assert all(each.get("tabindex") == "0" for each in tall)
    assert not lxml.html.document_fromstring(wide_page("two")).find_class("tall")


def test_names_from_right_to_left_leave_numbers_in_their_place(wide_review, wide_page):
    review = wide_review("right to left")
    document = lxml.html.document_fromstring(wide_page("right to left"))
    isolated = f"\N{FIRST STRONG ISOLATE}{review.class_names[0]}\N{POP DIRECTIONAL ISOLATE}"
    label = document.get_element_by_id("cell-0-0").get("aria-label")
    assert label.startswith(f"{isolated} recognised: ")
    assert isolated in document.get_element_by_id("row-0").text_content()
    (data,) = document.xpath("//script[@type='application/json']")
    assert json.loads(data.text)["names"][0] == isolated


def test_names_from_left_to_right_stay_as_they_are(page_of):
    # One slice has a name from right to left.
    assert page_of("full").count("\N{FIRST STRONG ISOLATE}") == 1


def test_long_names_are_whole_in_the_report_and_short_in_captions(wide_review, wide_page):
    review = wide_review("long names")
    document = lxml.html.document_fromstring(wide_page("long names"))
    report = text_of(document.get_element_by_id("classes"))
    assert all(" ".join(name.split()) in report for name in review.class_names)
    captions = document.xpath("//figure[@class='shot']/figcaption/span")
    assert captions
    for caption in captions:
        assert len(text_of(caption)) < 90


@pytest.mark.parametrize("count", [20, 21])
def test_from_21_on_there_are_many(count):
    assert has_many(range(count)) is (count == 21)
