"""Clean after runs of the graph: it frees what it promised, and the next run is right."""

import pytest

pytestmark = pytest.mark.slow

BESIDE_THE_PAGE = ("review.html", "review.json", "receipt.json", "log.txt")


def trained(run):
    return run.receipt["nodes"]["Trainer"]["status"] == "complete"


def test_after_clean_nothing_is_wrongly_cached(run_few, quick_command, used_bytes, tmp_path):
    output_dir = tmp_path / "outputs"
    first, last = run_few(output_dir), run_few(output_dir, "--seed", "2")
    versions = sorted((last.root / "serving").iterdir())

    promised = quick_command("clean", "--keep-last", 1, "--json", "--output-dir", output_dir).json
    before = used_bytes(last.root)
    # The examples alone are more.
    assert promised["freed_bytes"] > 1_000_000
    clean = ("clean", "--keep-last", 1, "--apply", "--json")
    applied = quick_command(*clean, "--output-dir", output_dir).json
    assert applied["freed_bytes"] == promised["freed_bytes"] == before - used_bytes(last.root)
    assert sorted((last.root / "serving").iterdir()) == versions

    # The run that stays is in the cache as it was.
    again = run_few(output_dir, "--seed", "2")
    assert not trained(again)
    assert again.receipt["pushed_version"] == last.receipt["pushed_version"]

    # The first is not: its data is made and its model trained anew, and both are the same.
    anew = run_few(output_dir)
    assert trained(anew)
    assert anew.receipt["nodes"]["ExampleGen"]["status"] == "complete"
    assert anew.receipt["model_digest"] == first.receipt["model_digest"]
    assert anew.evaluation["accuracy"] == first.evaluation["accuracy"]

    # The review of a run that was cleaned still opens.
    run_id = first.receipt["run_id"]
    reviewed = quick_command("review", run_id, "--output-dir", output_dir)
    assert reviewed.code == 0, reviewed.errors
    for name in BESIDE_THE_PAGE:
        assert (first.root / "runs" / run_id / name).stat().st_size > 0
