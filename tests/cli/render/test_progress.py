"""What a person sees of a run, on a pipe and on a terminal, and what goes to the log instead."""

import contextlib
import logging
import os
from pathlib import Path

import pytest

from cli.render.progress import LiveProgress

PROJECT = Path(__file__).resolve().parents[3]
NODES = ("ExampleGen", "Trainer", "Pusher")


def record(message, level=logging.INFO, **attributes):
    made = logging.LogRecord("name", level, "file.py", 1, message, (), None)
    made.__dict__.update(attributes)
    return made


EPOCH = {"epoch": 2, "epochs": 5, "seconds": 10.0, "loss": 0.25, "val_accuracy": 0.875}
TRIAL = record("trial 1 of 3: dropout 0.1; validation accuracy 0.8000", trial=1)
EVENTS = [
    record("Component ExampleGen is running."),
    record("something else"),
    record("Component ExampleGen is finished."),
    record("node Trainer is running."),
    record("epoch 2 of 5: loss 0.2500", progress=EPOCH),
    record("node Trainer is finished."),
]


@pytest.fixture
def on_a_pipe(tmp_path):
    """A function that shows records on a file, and returns the lines it wrote."""
    path = tmp_path / "shown"

    def shown(records, *lines):
        with path.open("w", encoding="utf-8") as stream:
            progress = LiveProgress(stream)
            with progress.showing(NODES):
                for each in records:
                    progress.handle(each)
                for line in lines:
                    progress.notify(line)
            progress.close()
        return path.read_text(encoding="utf-8").splitlines()

    return shown


def test_a_pipe_gets_a_line_for_each_node_that_ends(on_a_pipe):
    first, _, second = on_a_pipe(EVENTS)
    assert first.split() == ["[", "1/3]", "ExampleGen", "0.0", "s"]
    assert second.split() == ["[", "2/3]", "Trainer", "0.0", "s"]


def test_a_pipe_gets_a_line_for_each_epoch_with_what_is_left(on_a_pipe):
    line = on_a_pipe(EVENTS)[1]
    assert line.strip() == "epoch 2 of 5: loss 0.2500, about 30 s left"


def test_a_pipe_gets_a_line_for_each_trial(on_a_pipe):
    assert [line.strip() for line in on_a_pipe([TRIAL])] == [TRIAL.getMessage()]


def test_a_pipe_gets_no_control_codes(on_a_pipe):
    assert not any("\x1b" in line or "\r" in line for line in on_a_pipe(EVENTS, "a [bold]note"))


def test_notes_are_shown_as_they_are(on_a_pipe):
    long = "a [bold]note[/] " * 20
    assert on_a_pipe([], long) == [long]


@pytest.mark.parametrize(
    "shown",
    [
        record("Component Trainer is running. Or is it?"),
        record("the Component Trainer is finished."),
        record("Component Trainer is finished"),
        record("%s %d"),
        record("Component Trainer is finished.", logging.WARNING),
    ],
    ids=lambda shown: f"{shown.levelname} {shown.msg}",
)
def test_other_lines_of_the_log_show_nothing(on_a_pipe, shown):
    assert on_a_pipe([shown]) == []


def test_a_node_that_ends_without_having_begun_is_shown(on_a_pipe):
    assert len(on_a_pipe([record("Component Pusher is finished.")])) == 1


def written(screen):
    """All that was written to a terminal; Linux reports its end as an error."""
    with contextlib.suppress(OSError):
        while chunk := screen.read(100_000):
            yield chunk


@pytest.fixture
def on_a_terminal(monkeypatch):
    """A function that shows records on a terminal, and returns all that it wrote there."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    def shown(records, nodes):
        ours, theirs = os.openpty()
        with os.fdopen(theirs, "w") as stream:
            progress = LiveProgress(stream)
            with progress.showing(nodes):
                for each in records:
                    progress.handle(each)
            progress.close()
        with os.fdopen(ours, "rb", buffering=0) as screen:
            return b"".join(written(screen)).decode()

    return shown


def test_a_terminal_shows_the_last_trial_while_the_tuner_runs(on_a_terminal):
    events = [record("Component Tuner is running."), TRIAL]
    nodes = ("Tuner", "Trainer")
    running = on_a_terminal(events, nodes)
    ended = on_a_terminal([*events, record("Component Tuner is finished.")], nodes)
    assert TRIAL.getMessage() in running[running.rindex("waiting") :]
    assert TRIAL.getMessage() not in ended[ended.rindex("waiting") :]


def test_a_terminal_shows_where_each_node_stands(on_a_terminal):
    text = on_a_terminal(EVENTS[:5], NODES)
    assert "\x1b[" in text
    last = text[text.rindex("ExampleGen") :]
    assert "done" in last.partition("Trainer")[0]
    assert "running" in last.partition("Trainer")[2].partition("Pusher")[0]
    assert "waiting" in last.partition("Pusher")[2]
    assert "epoch 2/5  loss 0.2500  validation accuracy 0.8750  about 30 s left" in last


PRINTING = """
import os, pathlib, subprocess, sys
from pipeline.streams import output_to_log
print("before")
try:
    with output_to_log(pathlib.Path(sys.argv[1]), verbose=sys.argv[2] == "verbose"):
        print("printed")
        print("printed as an error", file=sys.stderr)
        os.write(1, b"written\\n")
        os.write(2, b"written as an error\\n")
        subprocess.run(["echo", "of another process"])
        if sys.argv[2] == "failing":
            raise KeyError("inside")
except KeyError:
    print("caught")
print("after")
os.write(2, b"after as an error\\n")
"""
CAPTURED = ["printed", "printed as an error", "written", "written as an error"]


@pytest.fixture
def output_of(tmp_path, python):
    """Runs the code above; returns what it wrote on its streams, and to the log."""

    def ran(kind):
        log = tmp_path / "log.txt"
        log.write_text("an earlier line\n")
        ended = python("-c", PRINTING, log, kind)
        assert ended.returncode == 0
        return ended.stdout.splitlines(), ended.stderr.splitlines(), log.read_text().splitlines()

    return ran


def test_all_that_is_written_goes_to_the_log(output_of):
    output, errors, log = output_of("quiet")
    assert sorted(log) == sorted(["an earlier line", *CAPTURED, "of another process"])
    assert output == ["before", "after"]
    assert errors == ["after as an error"]


def test_an_error_gives_the_streams_back(output_of):
    output, errors, _ = output_of("failing")
    assert output == ["before", "caught", "after"]
    assert errors == ["after as an error"]


def test_verbose_leaves_everything_on_the_terminal(output_of):
    output, errors, log = output_of("verbose")
    assert {"before", "printed", "written", "after"} <= set(output)
    assert {"printed as an error", "written as an error"} <= set(errors)
    assert log == ["an earlier line"]
