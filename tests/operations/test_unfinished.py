"""How a run ended is known, also where that could not be read or written down."""

import logging

import pytest

from operations import pages, run, unfinished
from operations.notifications.notifying import Notifier
from pipeline.errors import OutputError, StorageError, StoreUnreachableError
from pipeline.locations import LOG_FILE
from pipeline.records import history, metadata
from pipeline.records.outcomes import NodeStatus
from pipeline.records.receipt import Receipt


@pytest.fixture
def run_with(monkeypatch, prepared, request_, progress):
    """Runs with something in the place of the graph."""

    def start(graph):
        prepared.locations.root.mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(run, "prepare", lambda *_: prepared)
        monkeypatch.setattr(run._Run, "_run_graph", lambda _: graph())
        return run.run(request_, progress, Notifier([], None))

    return start


def spoil(locations):
    locations.metadata.write_text("damaged\n" * 1000)


ENDS = {
    "nothing else": (None, "failed", 1, ["metadata.db is damaged (", "repair --pipeline clothes"]),
    "a failure": (ValueError("a drive is gone"), "failed", 1, ["a drive is gone. Besides, "]),
    "Ctrl-C": (KeyboardInterrupt(), "interrupted", 130, ["the run was interrupted. Besides, "]),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_failed_stands_first_where_the_store_was_damaged_meanwhile(run_with, locations, end):
    error, status, code, told = ENDS[end]

    def graph():
        spoil(locations)
        if error:
            raise error

    receipt = run_with(graph)
    assert (receipt.status, receipt.verdict, receipt.exit_code) == (status, "none", code)
    message = receipt.failure.message
    assert message.startswith(told[0]) or told[0] in message
    assert all(words in message for words in (*told, "is damaged"))
    assert history.read_receipts(locations.root.parent) == [receipt]


GONE = "the database ml at 127.0.0.1:5432 cannot be reached; expected one that answers. Start it."


@pytest.fixture
def notes(progress, monkeypatch):
    """What a run notes on the terminal."""
    lines = []
    monkeypatch.setattr(progress, "notify", lines.append)
    return lines


def test_a_store_that_is_lost_amid_a_run_is_told_once(run_with, monkeypatch, notes):
    """The graph, the results and the review page all miss it."""

    def lost(*_):
        raise StoreUnreachableError(GONE)

    def graph():
        monkeypatch.setattr(metadata, "find_store", lost)
        monkeypatch.setattr(pages, "write", lost)
        lost()

    receipt = run_with(graph)
    assert receipt.failure.message == GONE
    assert receipt.nodes == {}
    told = "The review page could not be made for the reason that ended the run. Try again"
    assert notes[-1].startswith(told)


def test_a_page_that_cannot_be_made_is_told_without_the_name_of_a_class(
    run_with, monkeypatch, notes
):
    def full(*_):
        raise OutputError("the disk is full")

    monkeypatch.setattr(pages, "write", full)
    run_with(lambda: None)
    assert "page could not be made (the disk is full). The run itself is not" in notes[-1]


def test_another_version_that_is_served_by_then_is_named(run_with, locations):
    """Whether this run published it, only ML Metadata could tell."""

    def graph():
        (locations.serving / "17").mkdir(parents=True)
        spoil(locations)

    receipt = run_with(graph)
    assert receipt.verdict == "none"
    assert "Version 17 is served now, and none when the run began" in receipt.failure.message
    assert (receipt.served_before, receipt.served_version) == (None, 17)


def test_a_run_that_was_interrupted_while_it_was_concluded_is_interrupted(
    run_with, monkeypatch, locations
):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(metadata, "open_store", interrupt)
    receipt = run_with(lambda: spoil(locations))
    assert (receipt.status, receipt.exit_code) == ("interrupted", 130)


def test_what_could_not_be_written_the_next_run_completes(run_with, locations, monkeypatch):
    """Where the disk is full at the end, say."""
    whole = Receipt.write

    def full(receipt, folder):
        if receipt.failure:
            raise OSError(28, "No space left on device")
        whole(receipt, folder)

    def fail():
        raise ValueError("a drive is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Receipt, "write", full)
        with pytest.raises(StorageError, match="a drive is gone; its receipt cannot be written"):
            run_with(fail)
    (left,) = history.read_receipts(locations.root.parent)
    assert left.is_unfinished
    run_with(fail)
    first, second = history.read_receipts(locations.root.parent)
    assert first.run_id == left.run_id
    assert first.failure.message == "the run was cut off: it ended without its receipt"
    assert (first.status, first.seconds) == ("interrupted", None)
    assert second.failure.message == "a drive is gone"
    assert [first.sequence, second.sequence] == [1, 2]


LEFT = {
    "killed": ("interrupted", "interrupted", "Trainer", "cut off"),
    "a node failed": ("failed", "failed", "Trainer", "the node failed"),
    "all complete": ("complete", "interrupted", None, "every node is complete"),
}


@pytest.mark.parametrize("end", LEFT)
def test_ml_metadata_tells_how_a_run_ended(receipt, keep_receipt, locations, end, monkeypatch):
    trainer, status, node, told = LEFT[end]

    def read(store, pipeline, run_id, names):
        ended = {name: metadata.NodeExecution(NodeStatus.COMPLETE, 1.0, {}) for name in names}
        return ended | {"Trainer": metadata.NodeExecution(NodeStatus(trainer), 1.0, {})}

    keep_receipt(receipt)
    metadata.open_store(locations.metadata)
    monkeypatch.setattr(metadata, "read_nodes", read)
    assert unfinished.complete(locations) == [receipt.run_id]
    assert unfinished.complete(locations) == []
    (found,) = history.read_receipts(locations.root.parent)
    assert (found.status, found.verdict, found.failure.node) == (status, "none", node)
    assert told in found.failure.message
    assert found.nodes["Trainer"].status == trainer


def test_a_receipt_that_cannot_be_completed_hinders_nobody(
    receipt, keep_receipt, locations, full_disk, caplog
):
    keep_receipt(receipt)
    with full_disk():
        assert unfinished.complete(locations) == []
    assert "cannot be completed" in caplog.text
    (found,) = history.read_receipts(locations.root.parent)
    assert found == receipt


def test_after_a_run_under_a_clock_set_to_the_future_the_next_is_the_latest(
    run_with, locations, monkeypatch
):
    ahead = run.datetime.datetime(2099, 1, 1, tzinfo=run.datetime.UTC)

    class Clock(run.datetime.datetime):
        @classmethod
        def now(cls, zone=None):
            return ahead

    with monkeypatch.context() as patch:
        patch.setattr(run.datetime, "datetime", Clock)
        assert run_with(lambda: None).run_id == "20990101-000000"
    later = run_with(lambda: None)
    assert later.run_id < "20990101-000000"
    assert history.find(locations.root.parent, "latest") == later
    assert later.sequence == 2


def test_an_error_that_a_library_made_of_an_interruption_is_one(run_with, locations):
    """As where Ctrl-C meets the import of a C extension."""

    def graph():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interruption:
            raise ImportError("initialization failed") from interruption

    receipt = run_with(graph)
    assert (receipt.exit_code, receipt.status) == (130, "interrupted")


def test_an_error_whose_chain_is_a_circle_ends_the_run_as_any_other(run_with, locations):
    """Libraries that raise an error again make such chains."""

    def graph():
        one, other = ValueError("one"), ValueError("other")
        one.__context__, other.__context__ = other, one
        raise one

    receipt = run_with(graph)
    assert (receipt.exit_code, receipt.failure.message) == (1, "one")


def test_an_interruption_that_beam_hands_on_as_text_is_one():
    text = "Traceback (most recent call last):\n  ...\nKeyboardInterrupt [while running 'Write']"
    assert run._interruption_in(RuntimeError(text)) is not None
    assert run._interruption_in(RuntimeError("a KeyboardInterrupt was mentioned")) is None


def test_a_log_that_takes_no_line_after_the_end_changes_nothing(
    monkeypatch, prepared, request_, progress, capfd
):
    """As where nobody can be told of a run that filled the disk."""

    class Untold(Notifier):
        def run_ended(self, receipt, *_):
            log = prepared.locations.runs / receipt.run_id / LOG_FILE
            log.unlink()
            log.mkdir()
            logging.getLogger().warning("nobody was told")

    def fail(_):
        raise ValueError("a drive is gone")

    monkeypatch.setattr(run, "prepare", lambda *_: prepared)
    monkeypatch.setattr(run._Run, "_run_graph", fail)
    prepared.locations.root.mkdir(parents=True)
    receipt = run.run(request_, progress, Untold([], None))
    assert receipt.failure.message == "a drive is gone"
    errors = capfd.readouterr().err
    assert "nobody was told" in errors
    assert "Logging error" not in errors
