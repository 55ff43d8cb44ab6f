"""Pages that cannot be written are reported in words; a comparison is there without its page."""

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


def test_a_page_that_cannot_be_written_is_reported(two, past):
    (past.locations.runs / "20260102-120000" / "review.html").mkdir()
    with pytest.raises(OutputError, match=r"review\.html was not written .*; expected permission"):
        pages.review("latest", two)


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
