"""A model that was served and is gone: a schedule stops, and a person is warned."""

import pytest

from operations import changes, lost, run
from operations.notifications.notifying import Notifier
from pipeline.errors import ServedModelError
from pipeline.records import history

NOTHING = {"served_before": None, "pushed_version": None, "served_version": None}
CUT_OFF = {"status": "interrupted", "verdict": "none", **NOTHING}
REFUSED = {"status": "completed", "verdict": "refused", **NOTHING}
PUSHED = {"status": "completed", "verdict": "pushed", **NOTHING}
FAILED = {"status": "failed", "verdict": "none", **NOTHING}

# Receipts of the past runs, oldest first, after which a model is missing.
LOSSES = {
    "a run to its end": [{**PUSHED, "pushed_version": 17, "served_version": 17}],
    "a killed run": [{**CUT_OFF, "served_before": 17}],
    "a first run that was killed after its push": [{**CUT_OFF, "pushed_version": 17}],
    "a refusal during which the folder vanished": [{**REFUSED, "served_before": 17}],
    "a failure during which the folder vanished": [{**FAILED, "served_before": 17}],
    "a push after which the folder vanished": [{**PUSHED, "pushed_version": 17}],
    "runs by hand that were stopped at the warning": [
        {**FAILED, "served_before": 17, "served_version": 17},
        CUT_OFF,
        CUT_OFF,
    ],
}
# And after which none is.
NO_LOSSES = {
    "no run": [],
    "a first run that was killed": [CUT_OFF],
    "a run by hand that was refused": [{**PUSHED, "served_version": 17}, REFUSED],
    "a run by hand that failed": [{**CUT_OFF, "served_before": 17}, FAILED],
    "a run by hand, then a killed run": [{**PUSHED, "served_version": 17}, REFUSED, CUT_OFF],
}


@pytest.fixture
def keep_past(receipt, keep_receipt):
    """Writes the receipts of past runs."""

    def write(past, **changes):
        for number, each in enumerate(past, 1):
            known = {"run_id": f"2026010{number}-120000", "sequence": number, **changes}
            keep_receipt(receipt, failure={"node": None, "message": "it ended"}, **known, **each)

    return write


@pytest.fixture
def told(progress, monkeypatch):
    """The lines that a run shows."""
    lines = []
    monkeypatch.setattr(progress, "notify", lines.append)
    return lines


@pytest.fixture
def start(monkeypatch, prepared, request_, progress):
    """Runs with nothing in the place of the graph."""
    monkeypatch.setattr(run, "prepare", lambda *_: prepared)
    monkeypatch.setattr(run._Run, "_run_graph", lambda _: None)
    prepared.locations.root.mkdir(parents=True)
    return lambda: run.run(request_, progress, Notifier([], None))


@pytest.fixture
def scheduled(monkeypatch):
    """Makes the runs of a test those of a schedule."""
    monkeypatch.setenv("IMAGE_PIPELINE_ATTEMPT", "of a schedule")


@pytest.mark.usefixtures("scheduled")
@pytest.mark.parametrize("case", LOSSES)
def test_a_scheduled_run_does_not_begin_where_a_model_was_lost(case, keep_past, start, output_dir):
    keep_past(LOSSES[case])
    before = history.read_receipts(output_dir)
    # A retry finds the same.
    for _ in range(2):
        with pytest.raises(ServedModelError, match="version 17 was served when run 20260101-12"):
            start()
    assert history.read_receipts(output_dir) == before


@pytest.mark.usefixtures("scheduled")
@pytest.mark.parametrize("case", NO_LOSSES)
def test_a_scheduled_run_begins_where_nothing_was_lost(case, keep_past, start):
    keep_past(NO_LOSSES[case])
    assert start().served_before is None


@pytest.mark.parametrize("case", LOSSES)
def test_a_run_by_hand_warns_of_a_loss_and_ends_the_alarm(case, keep_past, start, told, output_dir):
    keep_past(LOSSES[case])
    start()
    assert told[0].startswith("Warning: version 17 was served when run 20260101-12")
    assert lost.last_served(history.read_receipts(output_dir)) is None


@pytest.mark.parametrize(
    "past", [[{**REFUSED, "served_before": 17}], [REFUSED, LOSSES["a killed run"][0]]]
)
def test_a_refusal_does_not_stand_where_a_model_was_lost(past, keep_past, prepared):
    keep_past(past, input_digest=changes.input_digest(prepared))
    assert changes.standing_run(prepared, history.receipts_of(prepared.locations)) is None
