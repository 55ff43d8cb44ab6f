"""The new model against the served one, on the same images."""

import numpy as np
import pytest
from scipy import stats


def rights(made):
    return made.choices == made.labels, made.baseline.argmax(axis=1) == made.labels


def test_the_four_counts_are_those_of_the_pairs(made_run):
    found = made_run.collect().comparison
    now, before = rights(made_run)
    table = np.histogram2d(now, before, bins=2)[0].astype(int)
    assert (found.both_wrong, found.only_baseline) == tuple(table[0])
    assert (found.only_candidate, found.both_right) == tuple(table[1])
    assert found.candidate.value == pytest.approx(now.mean())
    assert found.baseline.value == pytest.approx(before.mean())
    assert found.change.value == pytest.approx(now.mean() - before.mean())
    assert found.p_value == pytest.approx(
        stats.binomtest(int(table[0, 1]), int(table[0, 1] + table[1, 0])).pvalue
    )


def test_each_class_is_compared_those_that_changed_most_first(made_run):
    found = made_run.collect().comparison.classes
    now, before = rights(made_run)
    changes = [abs(entry.change.value) for entry in found]
    assert changes == sorted(changes, reverse=True)
    assert {entry.name for entry in found} == set(made_run.classes)
    for entry in found:
        members = made_run.labels == made_run.classes.index(entry.name)
        assert entry.candidate.value == pytest.approx(now[members].mean())
        assert entry.baseline.value == pytest.approx(before[members].mean())
        assert entry.newly_fixed == (now & ~before & members).sum()
        assert entry.newly_broken == (~now & before & members).sum()
        assert entry.change.interval.low <= entry.change.value <= entry.change.interval.high


def test_the_galleries_show_what_changed_the_surest_first(made_run):
    summary = made_run.collect()
    now, before = rights(made_run)
    broken, fixed = summary.comparison.newly_broken, summary.comparison.newly_fixed
    assert broken.count == summary.comparison.only_baseline == (before & ~now).sum()
    assert fixed.count == summary.comparison.only_candidate == (now & ~before).sum()
    for gallery, right in ((broken, False), (fixed, True)):
        records = [summary.images[position] for position in gallery.images]
        sure = [record.choices[0].probability for record in records]
        assert sure == sorted(sure, reverse=True)
        assert all((r.choices[0].name == r.label) == right for r in records)
        assert all((r.baseline.name == r.label) != right for r in records)


def test_without_a_served_model_there_is_nothing_to_compare_with(make_run):
    summary = make_run(served=False).collect()
    assert summary.comparison is None
    assert summary.missing["comparison"].startswith("No model was served when this run began")
    assert summary.calibration and summary.confusion and summary.sheet


def test_equal_answers_leave_no_difference(made_run):
    made_run.baseline = made_run.candidate
    made_run.evaluate()
    made_run.write_predictions()
    found = made_run.collect().comparison
    assert (found.only_candidate, found.only_baseline, found.p_value) == (0, 0, 1.0)
    assert found.change.value == 0.0
    assert found.change.interval.low < 0 < found.change.interval.high
    assert found.newly_broken.images == found.newly_fixed.images == []


def test_answers_of_another_served_model_are_not_compared_with(made_run):
    made_run.baseline = np.full_like(made_run.baseline, 0.1)
    made_run.write_predictions()
    summary = made_run.collect()
    assert summary.comparison is None
    assert "served model are not those that were evaluated" in summary.missing["comparison"]
    assert summary.calibration


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_served_model_that_answers_no_numbers_is_told_and_the_rest_is_shown(value, made_run):
    """The run that is to replace it has to be reviewed, too."""
    made_run.baseline[[3, 7]] = value
    made_run.write_predictions()
    summary = made_run.collect()
    assert summary.comparison is None
    assert summary.missing["comparison"] == (
        "The served model answers NaN or infinity to 2 of 400 test images, so the new model is "
        "not compared with it."
    )
    assert set(summary.missing) == {"comparison", "robustness"}
    assert summary.sheet and summary.calibration and summary.suspects
