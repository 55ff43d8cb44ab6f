"""Pages that cannot be written are told in words; what they would show is not lost."""

import json

import pytest

from operations import pages
from pipeline.errors import OutputError


@pytest.fixture
def two(past):
    """Two runs; returns the folder of all results."""
    past.run("20260101-120000", "a")
    past.run("20260102-120000", "b")
    return past.locations.root.parent


def test_a_page_that_cannot_be_written_is_told(two, past):
    (past.locations.runs / "20260102-120000" / "review.html").mkdir()
    with pytest.raises(OutputError, match=r"review\.html was not written .*; expected"):
        pages.main("latest", two, open_page=False)


@pytest.mark.parametrize("as_json", [True, False])
def test_runs_are_compared_though_the_page_cannot_be_written(two, past, capsys, as_json):
    past.locations.comparisons.touch()
    with pytest.raises(OutputError, match=r"-20260102-120000\.html was not written"):
        pages.compare("20260101", "20260102", two, as_json)
    told = capsys.readouterr().out
    assert "20260101-120000" in told
    assert "Page " not in told
    if as_json:
        assert json.loads(told)["second"]["id"] == "20260102-120000"
