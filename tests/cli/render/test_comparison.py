"""What is printed of two runs that are compared, also where their page cannot be written."""

import json

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.render import runs
from operations import pages
from review import statistics, summary


@pytest.fixture
def two(past):
    """Two runs; returns the folder of all results."""
    past.run("20260101-120000", "a")
    past.run("20260102-120000", "b")
    return past.locations.root.parent


def test_people_read_both_runs_and_where_the_page_is(two, capsys, tmp_path):
    comparison = pages.compare("20260101", "20260102", two)
    runs.print_comparison(comparison, tmp_path / "page.html", as_json=False)
    text = capsys.readouterr().out
    assert "20260101-120000" in text
    assert "20260102-120000" in text
    assert f"Page      {tmp_path / 'page.html'}" in text


def test_a_class_without_test_images_has_no_recall(two, capsys):
    nothing, change = statistics.proportion(0, 0), statistics.accuracy_change(8, 1, 0, 1)
    untested = summary.ClassChange(
        name="Coat",
        candidate=nothing,
        baseline=nothing,
        change=statistics.accuracy_change(0, 0, 0, 0),
        newly_fixed=0,
        newly_broken=0,
    )
    compared = summary.Comparison(
        candidate_name="B",
        baseline_name="A",
        candidate=statistics.proportion(9, 10),
        baseline=statistics.proportion(8, 10),
        change=change,
        both_right=8,
        only_candidate=1,
        only_baseline=0,
        both_wrong=1,
        p_value=1.0,
        classes=[untested],
        newly_broken=summary.Gallery(count=0, images=[]),
        newly_fixed=summary.Gallery(count=1, images=[]),
    )
    comparison = pages.compare("20260101", "20260102", two)
    comparison = comparison.model_copy(update={"comparison": compared})
    runs.print_comparison(comparison, None, as_json=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "Coat none none none 0 0" in lines


def test_programs_read_one_json_document(two, capsys):
    comparison = pages.compare("20260101", "20260102", two)
    runs.print_comparison(comparison, None, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["first"]["id"], document["second"]["id"]) == (
        "20260101-120000",
        "20260102-120000",
    )


def test_a_comparison_is_printed_though_its_page_cannot_be_written(two, past):
    past.locations.comparisons.write_text("a file where a folder should be")
    command = ["runs", "compare", "20260101", "20260102", "--output-dir", str(two)]
    ended = CliRunner().invoke(app, command)
    assert "20260102-120000" in ended.output
    assert "was not written" in str(ended.exception)
