"""The exit code reports what a command did, whatever happens to the terminal."""

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cli.render.progress import LiveProgress
from pipeline import streams

PROJECT = Path(__file__).resolve().parents[1]
RUNNER = PROJECT / "pipeline_runner.py"
IN_ASCII = [
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


@pytest.fixture
def ask(tmp_path):
    """Runs a line in a shell, which can redirect streams; `RUN` stands for the program."""

    def asked(line, **environment):
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line.replace("RUN", f"{sys.executable} {RUNNER}")],
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, **environment},
            timeout=300,
        )

    return asked


ANSWERS = [
    "RUN --help",
    "RUN keys --json",
    "RUN doctor --data sample",
    "RUN schedule --cron '0 3 * * *' --next",
]
INSTALL = "RUN schedule --cron '0 3 * * *' --data sample --install-unit --unit-file"


@pytest.mark.parametrize("line", ANSWERS)
@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
def test_a_command_that_only_prints_fails_if_its_output_is_lost(ask, line, output):
    ended = ask(f"{line} {output}")
    assert ended.returncode == 1
    assert ended.stderr.startswith(b"error: the output cannot be written (")
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("line", ANSWERS)
def test_a_reader_that_has_read_enough_is_no_error(ask, line):
    ended = ask(f"{line} | head -c 1 >/dev/null")
    assert (ended.returncode, ended.stderr) == (0, b"")
    ended = ask(f"{line} | true")
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("line", "code"), [(f"{INSTALL} unit", 0), ("RUN run --set nonsense=1", 2), ("RUN rollback", 2)]
)
@pytest.mark.parametrize("streams", [">/dev/full 2>/dev/full", "<&- >&- 2>&-", "| true"])
def test_a_command_that_acts_ends_as_it_would_on_a_terminal(ask, line, code, streams):
    assert ask(f"{line} {streams}").returncode == code


def test_a_command_that_acts_succeeds_and_reports_lost_output(ask):
    ended = ask(f"{INSTALL} unit >/dev/full")
    assert ended.returncode == 0
    assert b"cannot be written (No space left on device); the exit code still" in ended.stderr


@pytest.mark.parametrize("number", [0, 1, 2])
def test_no_file_takes_the_number_of_a_closed_stream(ask, number):
    """Otherwise the output of libraries could end up in the lock file or in the data."""
    code = (
        "import os, sys; from pipeline import streams; streams.prepare(); "
        "os.write(int(sys.argv[1]), b'x') if sys.argv[1] != '0' else None; "
        "file = os.open('file', os.O_CREAT); sys.exit(file if file < 3 else 0)"
    )
    ended = ask(f"{sys.executable} -c {code!r} {number} {number}>&-", PYTHONPATH=str(PROJECT))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("environment", IN_ASCII)
def test_an_ascii_terminal_gets_escapes(ask, environment):
    ended = ask(f"{INSTALL} - --output-dir Fächer", **environment)
    assert ended.returncode == 0, ended.stderr
    assert rb"F\xe4cher" in ended.stdout
    ended = ask("RUN run --data Fächer", **environment)
    assert ended.returncode == 2
    assert rb"error: --data: F\xe4cher does not exist" in ended.stderr


@pytest.mark.parametrize("environment", IN_ASCII)
def test_file_names_are_correct_in_json_whatever_the_terminal(ask, tmp_path, environment):
    (tmp_path / "Fächer").mkdir()
    told = ask("RUN doctor --json --data Fächer", **environment).stdout.decode("ascii")
    report = json.loads(told)
    texts = {finding["name"]: finding["found"] for finding in report["findings"]}
    assert texts["data"].startswith(f"{tmp_path / 'Fächer'} holds nothing")


def test_a_command_line_that_is_not_utf8_is_refused_before_anything_is_made(ask, tmp_path):
    for line in (
        r"RUN run --data sample --output-dir $'out\xe9'",
        r"RUN schedule --cron '0 3 * * *' --data sample --output-dir $'out\xe9'",
        r"FASHION_MNIST_DIR=$'data\xe9' RUN run",
        r"mkdir $'\xe9'; cd $'\xe9'; RUN run --data sample",
    ):
        ended = ask(line)
        assert ended.returncode == 2, line
        assert b"contains the byte 0xe9, which is not UTF-8" in ended.stderr
    assert [os.fsencode(path.name) for path in tmp_path.rglob("*")] == [b"\xe9"]


def test_a_removed_working_folder_is_refused(ask):
    ended = ask("mkdir gone; cd gone; rmdir ../gone; RUN runs")
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"error: the working folder cannot be used (")


def test_a_terminal_that_goes_away_does_not_end_the_run_that_it_shows():
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        progress = LiveProgress(terminal)
        os.close(ours)
        with progress.showing(["Trainer"]):
            progress.notify("a line")
        progress.close()
        with contextlib.suppress(OSError):
            terminal.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "code"), [("", 130), ("trap '' HUP; ", 7)], ids=["usual", "nohup"]
)
def test_a_terminal_that_goes_away_ends_a_run_as_ctrl_c_does(
    ask, tmp_path, before, code, listening_to_signals
):
    """While TensorFlow is imported, in whose place something hangs up."""
    (tmp_path / "tensorflow").mkdir()
    hang_up = "import os, signal\nos.kill(os.getpid(), signal.SIGHUP)\nos._exit(7)\n"
    (tmp_path / "tensorflow" / "__init__.py").write_text(hang_up)
    ended = ask(f"{before}RUN run --data sample", PYTHONPATH=str(tmp_path))
    assert ended.returncode == code, ended.stderr
    (path,) = tmp_path.glob("outputs/*/runs/*/receipt.json")
    receipt = json.loads(path.read_text())
    # Only what ended in order has counted its seconds.
    assert (receipt["status"], receipt["seconds"] is None) == ("interrupted", code == 7)


@pytest.mark.slow
def test_a_run_whose_classes_and_folders_no_terminal_can_show_ends_as_it_went(ask, tmp_path):
    schema = (PROJECT / "schema" / "schema.pbtxt").read_text(encoding="utf-8")
    text = schema.replace("Trouser", "Höschen 裤")
    (tmp_path / "Schema ü.pbtxt").write_text(text, encoding="utf-8")
    line = "RUN run --data sample --set schema_file='Schema ü.pbtxt' --output-dir Fächer"
    ended = ask(line, **IN_ASCII[1])
    assert ended.returncode == 0, ended.stderr
    assert rb"H\xf6schen \u88e4" in ended.stdout
    (path,) = tmp_path.glob("Fächer/*/runs/*/receipt.json")
    assert "Höschen 裤" in json.loads(path.read_text())["evaluation"]["per_class"]
    assert "Höschen 裤" in path.with_name("review.html").read_text(encoding="utf-8")


def test_a_nonblocking_terminal_gets_all_output():
    """Another process that shares the terminal may have made it non-blocking."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    received = io.BytesIO()

    def read() -> None:
        with os.fdopen(reader, "rb") as file:
            received.write(file.read())

    thread = threading.Thread(target=read)
    stream = io.BufferedWriter(streams.Descriptor(writer, "w"))
    thread.start()
    stream.write(b"x" * 3_000_000)
    stream.close()
    thread.join()
    assert len(received.getvalue()) == 3_000_000
