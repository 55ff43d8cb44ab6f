"""What `clean` prints, for people and for programs."""

import json

import pytest

from cli.render import cleaned
from operations.clean import Cleaned, CleanedPipeline

CLOTHES = CleanedPipeline(
    pipeline="clothes",
    freed_bytes=1_500_000,
    frees={"artifacts of Trainer": 1_500_000},
    keeps={"served versions": 2_000, "receipts, pages and logs of all runs": 0},
    outdated_runs=["20260101-120000", "20260102-120000"],
    staying_runs=["20260103-120000"],
    withdrawn_versions=[17],
)
NOTHING = CleanedPipeline("shoes", 0, {}, {}, [], [], [])


def test_people_read_what_goes_and_what_stays(capsys):
    cleaned.print_cleaned(Cleaned(False, 1_500_000, (CLOTHES,)), as_json=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "clothes: 2 of 3 runs are outdated",
        "frees artifacts of Trainer 1.5 MB",
        "keeps served versions 2.0 kB",
        "keeps receipts, pages and logs of all runs 0 bytes",
        "Would free 1.5 MB; nothing was deleted. Delete it with --apply.",
    ]


@pytest.mark.parametrize(
    ("pipelines", "applied", "last"),
    [
        ((CLOTHES,), True, "Freed 1.5 MB."),
        ((NOTHING,), True, "Freed 0 bytes."),
        ((NOTHING,), False, "There is nothing to free."),
    ],
)
def test_the_last_line_says_what_came_of_it(capsys, pipelines, applied, last):
    total = sum(each.freed_bytes for each in pipelines)
    cleaned.print_cleaned(Cleaned(applied, total, pipelines), as_json=False)
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_programs_read_one_document(capsys):
    cleaned.print_cleaned(Cleaned(True, 1_500_000, (CLOTHES, NOTHING)), as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["applied", "freed_bytes", "pipelines"]
    assert document["freed_bytes"] == 1_500_000
    assert document["pipelines"][0] == {
        "pipeline": "clothes",
        "freed_bytes": 1_500_000,
        "frees": {"artifacts of Trainer": 1_500_000},
        "keeps": {"served versions": 2_000, "receipts, pages and logs of all runs": 0},
        "outdated_runs": ["20260101-120000", "20260102-120000"],
        "staying_runs": ["20260103-120000"],
        "withdrawn_versions": [17],
    }
