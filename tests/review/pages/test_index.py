"""The index leads from every run to its page."""

import json

import lxml.html
import pytest

from review.index import render_index


@pytest.fixture
def runs(full):
    return full.history


@pytest.fixture
def document(runs):
    with_page = {run.id for run in runs[2:]}
    return lxml.html.document_fromstring(render_index("clothes", runs, with_page))


def test_the_newest_run_stands_first(document, runs):
    rows = document.findall(".//table[1]/tbody/tr")[: len(runs)]
    assert [row[0].text_content() for row in rows] == [run.id for run in reversed(runs)]


def test_a_run_under_a_clock_set_to_the_future_keeps_its_place(runs):
    ahead = runs[0].model_copy(update={"id": "ahead", "began": "2099-04-02T01:00:00+00:00"})
    page = lxml.html.document_fromstring(render_index("clothes", [ahead, *runs], set()))
    rows = page.findall(".//table[1]/tbody/tr")[: len(runs) + 1]
    assert rows[-1][0].text_content() == "ahead"


def test_a_run_links_to_its_page_where_there_is_one(document, runs):
    expected = [f"runs/{run.id}/review.html" for run in reversed(runs[2:])]
    assert document.xpath("//table//a/@href") == expected


def test_every_number_is_that_at_its_place_in_the_list(runs):
    page = lxml.html.document_fromstring(render_index("clothes", runs, set()))
    found = page.xpath("//*[@data-path]")
    assert found
    for element in found:
        value = {"runs": [run.model_dump() for run in runs]}
        for part in element.get("data-path").split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
        assert json.loads(element.get("data-value")) == value


def test_verdicts_and_durations_are_in_words(document):
    text = " ".join(document.text_content().split())
    for words in ("✓ Pushed", "✗ Refused", "■ Stopped", "! Failed", "11 min 55 s"):
        assert words in text


def test_runs_without_accuracy_have_no_chart(document, runs):
    assert document.find(".//svg") is not None
    without = [run.model_copy(update={"accuracy": None}) for run in runs]
    page = lxml.html.document_fromstring(render_index("clothes", without, set()))
    assert page.find(".//svg") is None
    assert len(page.findall(".//tbody/tr")) == len(runs)


def test_an_index_of_no_runs_says_how_to_start_one():
    page = lxml.html.document_fromstring(render_index("clothes", [], set()))
    assert "No runs yet" in page.text_content()


def test_markup_in_an_id_stays_text(runs):
    hostile = runs[0].model_copy(update={"id": "<b>/../\"'onload=x"})
    page = lxml.html.document_fromstring(render_index("<i>clothes", [hostile], {hostile.id}))
    assert page.xpath("//table//a/@href") == ["runs/%3Cb%3E%2F..%2F%22%27onload%3Dx/review.html"]
    assert page.find(".//h1").text_content() == "<i>clothes"
    assert page.find(".//b") is None
