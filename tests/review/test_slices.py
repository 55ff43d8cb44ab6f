"""Slices: what the review says of the accuracy by column and value."""

import pytest

from cli.render import runs
from review import page


@pytest.fixture
def sliced(made_run):
    made_run.judge()
    made_run.slice_by_shop()
    return made_run


def judge(made, column, values, threshold=0.75, least=50):
    """Enters slices by one column alone, with their gates: accuracy and count by value."""
    scores = {
        value: {"accuracy": accuracy, "count": count, "judged": count >= least}
        for value, (accuracy, count) in values.items()
    }
    about = {"threshold": threshold, "min_images": least, "values": scores}
    gates = [gate for gate in made.receipt.gates if gate.metric != "slice accuracy"]
    gates += [
        type(gates[0])(
            "slice accuracy", f"{column}={value}", accuracy, threshold, accuracy >= threshold
        )
        for value, (accuracy, count) in values.items()
        if count >= least
    ]
    passed = all(gate.passed for gate in gates)
    made.change(
        config={"gates": {"slices": {column: {}}}},
        gates=gates,
        verdict="pushed" if passed else "refused",
        pushed_version=17 if passed else None,
    )
    made.receipt = made.receipt.changed(
        evaluation={**dict(made.receipt.evaluation), "slices": {column: about}}
    )


def test_what_refused_comes_first_then_the_weakest_and_small_slices_last(made_run):
    values = {"a": (0.9, 60), "b": (0.8, 60), "c": (0.7, 60), "d": (0.0, 3), "e": (0.5, 60)}
    judge(made_run, "shop", values)
    (column,) = made_run.collect().slices
    assert (column.name, column.threshold, column.min_images) == ("shop", 0.75, 50)
    assert [row.value for row in column.slices] == ["e", "c", "b", "a", "d"]
    assert [row.passed for row in column.slices] == [False, False, True, True, None]
    worst = column.slices[0].accuracy
    assert (worst.hits, worst.total) == (30, 60)
    assert worst.interval.low < 0.5 < worst.interval.high


def test_a_required_slice_that_is_absent_is_shown_and_told(sliced):
    review = sliced.collect()
    (shop, camera) = review.slices
    rows = {row.value: row for row in shop.slices}
    assert (rows["gone"].accuracy.total, rows["gone"].passed) == (0, False)
    assert (rows["tiny"].accuracy.total, rows["tiny"].passed) == (3, False)
    # Columns that refuse nothing come last.
    assert camera.name == "camera no."
    assert {row.passed for row in camera.slices} == {None}
    sentences = {gate.slice: gate.sentence for gate in review.gates}
    assert sentences["shop=tiny"] == (
        "Accuracy of shop=tiny was not judged: the test split has 3 images of it, and the slice is "
        "required with 50 or more; expected at least 0.7500."
    )
    assert "the test split has 0 images of it" in sentences["shop=gone"]


def test_the_verdict_names_the_shop_that_refused_the_model(made_run):
    judge(made_run, "shop", {"07": (0.2, 60), "7": (0.9, 60)})
    verdict = made_run.collect().verdict
    assert verdict.headline == (
        "Refused: the slice accuracy of shop=07 is too low. Nothing was pushed."
    )
    assert verdict.reasons[0].startswith("Accuracy of shop=07 is 0.200 (0.118 to 0.318), below")


def test_of_a_thousand_slices_the_worst_are_named(made_run, capsys, tmp_path):
    judge(made_run, "shop", {f"{n:03d}": (n / 1000, 60) for n in range(1000)}, threshold=1.0)
    review = made_run.collect()
    of_slices = [line for line in review.verdict.reasons if line.startswith("Accuracy of shop=")]
    assert [line.split()[2] for line in of_slices] == [f"shop={n:03d}" for n in range(10)]
    assert "The same holds for 990 more gates." in review.verdict.reasons
    html = page.render(review, page.charts_of(review))
    # Three times in the list of gates, and once among the slices.
    assert html.count("shop=019") and not html.count("shop=020")
    assert "Gates on slices not shown here: 980" in html
    assert "170 more slices by shop" in html
    assert "800 further slices are in receipt.json" in html
    runs.print_run(made_run.receipt, tmp_path, as_json=False)
    printed = capsys.readouterr().out
    assert "995 more slices by shop: see the review page or receipt.json." in printed
    assert len(printed.splitlines()) < 120


def test_a_run_without_slices_has_no_section_of_them(made_run):
    review = made_run.collect()
    assert review.slices is None
    assert "slices" not in review.missing
    assert 'id="slices"' not in page.render(review, page.charts_of(review))


def test_a_run_that_was_stopped_says_why_it_has_no_slices(sliced):
    sliced.end_in("DataGate", "drift: labels moved", verdict="stopped")
    review = sliced.collect()
    assert review.slices is None
    assert "DataGate stopped the run" in review.missing["slices"]
