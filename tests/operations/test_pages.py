"""Pages that cannot be written are reported in words; a comparison is there without its page."""

import json

import pytest

from operations import pages
from pipeline import lock
from pipeline.errors import OutputError, UsageError


@pytest.fixture
def two(past):
    """Two runs; returns the folder of all results."""
    past.run("20260101-120000", "a")
    past.run("20260102-120000", "b")
    return past.locations.root.parent


def test_a_page_is_written_beside_the_receipt_and_the_index_lists_it(two, past):
    written = pages.review("latest", two)
    assert written.page == past.locations.runs.resolve() / "20260102-120000" / "review.html"
    assert written.index == past.locations.index.resolve()
    assert "20260102-120000" in written.page.read_text()
    assert "runs/20260102-120000/review.html" in written.index.read_text()


def of_another_form(folder):
    """The summary as another version of this project wrote it."""
    path = folder / "review.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))


def of_no_form(folder):
    (folder / "review.json").write_text("{")


@pytest.mark.parametrize("spoil", [of_another_form, of_no_form])
def test_a_page_that_could_only_become_poorer_stays_as_it_was(two, past, spoil, light_command):
    """The run left a model, and nothing of Trainer for the page is there any more."""
    page = pages.review("latest", two).page
    page.write_text("a page with everything on it")
    spoil(page.parent)
    stored = (page.parent / "review.json").read_bytes()
    past.locations.index.unlink()
    kept = pages.review("latest", two)
    assert (kept.page, kept.lost) == (page, ("Trainer",))
    assert page.read_text() == "a page with everything on it"
    assert (page.parent / "review.json").read_bytes() == stored
    assert past.locations.index.exists()
    told = light_command("review", "--output-dir", two)
    assert told.code == 0
    assert "The page stays as it was: results of Trainer are gone" in told.output


def test_a_page_of_another_form_is_made_again_where_nothing_is_gone(past):
    node = {"status": "complete", "seconds": 1.0, "code_fingerprint": None}
    past.run("20260101-120000", "a", nodes={"ExampleGen": node})
    output_dir = past.locations.root.parent
    page = pages.review("latest", output_dir).page
    page.write_text("an old page")
    of_another_form(page.parent)
    assert pages.review("latest", output_dir).lost == ()
    assert "20260101-120000" in page.read_text()


def test_a_run_without_a_page_gets_one_whatever_is_gone(two):
    assert pages.review("latest", two).lost == ()


def test_a_page_that_cannot_be_written_is_reported(two, past):
    (past.locations.runs / "20260102-120000" / "review.html").mkdir()
    with pytest.raises(OutputError, match=r"review\.html was not written .*; expected permission"):
        pages.review("latest", two)


@pytest.mark.parametrize("name", ["review.html", "charts.json", "review.json", "index.html"])
def test_the_file_that_cannot_be_written_is_named(two, past, name):
    """It was always the page, also where that was written."""
    in_run = past.locations.runs.resolve() / "20260102-120000" / name
    path = past.locations.index.resolve() if name == "index.html" else in_run
    path.mkdir()
    with pytest.raises(OutputError) as caught:
        pages.review("latest", two)
    assert str(caught.value).startswith(f"{path} was not written (Is a directory); expected")
    assert str(caught.value).endswith(f"room to write in {path.parent}. Fix that and try again.")


def test_two_runs_are_compared_and_their_page_lies_with_the_second(two, past):
    comparison = pages.compare("20260101", "20260102", two)
    assert (comparison.first.id, comparison.second.id) == ("20260101-120000", "20260102-120000")
    path = pages.write_comparison(comparison, two)
    assert path.parent == past.locations.comparisons.resolve()
    assert path.name == "20260101-120000-20260102-120000.html"
    assert "Two runs side by side" in path.read_text()


def test_a_comparison_whose_page_cannot_be_written_is_reported(two, past):
    past.locations.comparisons.touch()
    comparison = pages.compare("20260101", "20260102", two)
    with pytest.raises(OutputError, match=r"-20260102-120000\.html was not written"):
        pages.write_comparison(comparison, two)


def test_operations_print_nothing(two, capsys):
    pages.review("latest", two)
    pages.write_comparison(pages.compare("20260101", "20260102", two), two)
    assert capsys.readouterr() == ("", "")


def test_a_run_at_work_has_no_page_yet(past, locations):
    with lock.exclusive(locations.lock, "run") as held:
        begun = past.run("20260102-030405", "a", status="interrupted", failure=None)
        held.note_run(begun.run_id)
        with pytest.raises(UsageError, match="still at work"):
            pages.review("latest", locations.root.parent)
    assert not (locations.runs / begun.run_id / "review.html").exists()
