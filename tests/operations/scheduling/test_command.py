"""`schedule` from the command line: what it shows, refuses, installs, and runs."""

import contextlib
import datetime
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import pipeline_runner
from operations.scheduling.look import look
from operations.scheduling.plan import Target
from pipeline.errors import ConfigurationError
from pipeline.lock import exclusive
from tests.ports import free_port

RUNNER = Path(pipeline_runner.__file__)
SAMPLE_PIPELINE = "fashion-mnist-sample-smoke"
PATIENCE_SECONDS = 60
NIGHTLY = ("--cron", "0 3 * * *")


@pytest.fixture
def schedule(light_command, tmp_path):
    """Runs `schedule` on the sample, with further arguments; what is given last wins."""

    def run(*arguments, **environment):
        usual = ("--data", "sample", "--output-dir", tmp_path / "outputs")
        return light_command("schedule", *usual, *arguments, **environment)

    return run


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--cron is missing"),
        (("--cron", "0 0 31 2 *"), "never comes"),
        ((*NIGHTLY, "--timezone", "Europe/Berln"), "the nearest is 'Europe/Berlin'"),
        ((*NIGHTLY, "--end", "2020-01-01"), "--end 2020-01-01 leaves no time"),
        ((*NIGHTLY, "--set", "nonsense=1"), "unknown key 'nonsense'"),
        ((*NIGHTLY, "--data", "absent"), "absent does not exist"),
        ((*NIGHTLY, "--data", "auto"), "on a schedule the sample never takes its place"),
        (("--once", "--data", "auto"), "on a schedule the sample never takes its place"),
        ((*NIGHTLY, "--notify-file", "/absent"), "/absent cannot be read"),
        ((*NIGHTLY, "--install-unit", "--unit-file", "/proc/x.service"), "cannot be written"),
        ((*NIGHTLY, "--install-unit", "--once"), "--once beside --install-unit"),
        ((*NIGHTLY, "--unit-file", "-", "--next", "--json"), "--next, --json beside"),
        ((*NIGHTLY, "--unit-file", "-", "--notify-file", "/absent"), "/absent cannot be read"),
        ((*NIGHTLY, "--unit-file", "-", "--data", "absent"), "absent does not exist"),
        ((*NIGHTLY, "--config", "absent.toml"), "absent.toml does not exist"),
        ((*NIGHTLY, "--config", "absent.toml", "--unit-file", "-"), "does not exist"),
        (("--once", "--cron", "daily"), "has 1 fields"),
        (("--once", "--start", "soon"), "'soon' is no date or time"),
        (("--once", "--start", "2030-01-02", "--end", "2030-01-01"), "lies before --start"),
    ],
)
def test_bad_input_is_refused_in_a_line_and_nothing_is_changed(schedule, tmp_path, arguments, told):
    outcome = schedule(*arguments)
    *before, line = outcome.errors.splitlines()
    assert outcome.code == 2, outcome.errors
    assert outcome.output == ""
    assert line.startswith("error: ")
    assert told in line
    assert "expected" in line
    # Beside it, only what became of downloads.
    assert all("ashion-mnist" in text or "ashion-MNIST" in text for text in before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--jitter", "-1"),
        ("--retries", "-1"),
        ("--backoff", "0"),
        ("--time-limit", "0"),
        ("--misfire-grace", "-5"),
        ("--data-due", "nan"),
        ("--stop-within", "0"),
        ("--metrics-port", "65536"),
        ("--overlap", "both"),
        ("--misfire", "run-twice"),
    ],
)
def test_values_out_of_range_are_refused(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(RUNNER), "schedule", *NIGHTLY, *arguments])
    with pytest.raises(SystemExit) as ended:
        pipeline_runner.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    option, value = arguments
    assert line.startswith(f"error: {option}: found '{value}'; expected ")


def test_the_next_times_are_shown_and_nothing_is_started(schedule, tmp_path):
    outcome = schedule("--cron", "30 3 * * mon-fri", "--timezone", "Europe/Berlin", "--next")
    assert outcome.code == 0
    lines = outcome.output.splitlines()
    assert len(lines) == 5
    assert all("03:30 CE" in line for line in lines)
    assert all("  in " in line for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_the_next_times_can_be_read_by_programs(schedule):
    outcome = schedule(*NIGHTLY, "--timezone", "Asia/Kathmandu", "--next", "--json")
    times = [datetime.datetime.fromisoformat(text) for text in outcome.json]
    assert len(times) == 5
    assert all((time.hour, time.minute) == (3, 0) for time in times)
    assert {time.utcoffset() for time in times} == {datetime.timedelta(hours=5, minutes=45)}


def test_help_says_what_can_be_set(schedule):
    text = schedule("--help").output
    for option in ("--overlap", "--misfire-grace", "--jitter", "--time-limit", "--retries"):
        assert option in text
    for option in ("--on-change", "--data-due", "--once", "--stop-within", "--install-unit"):
        assert option in text


def test_a_unit_runs_the_same_command_line(schedule, tmp_path):
    path = tmp_path / "units" / "my unit.service"
    arguments = (*NIGHTLY, "--set", "training.epochs=3", "--on-change")
    outcome = schedule(*arguments, "--install-unit", f"--unit-file={path}")
    assert outcome.code == 0, outcome.errors
    (line,) = [line for line in path.read_text().splitlines() if line.startswith("ExecStart=")]
    assert line == (
        f"ExecStart={sys.executable} {RUNNER} schedule --data sample --output-dir "
        f'{tmp_path}/outputs --cron "0 3 * * *" --set training.epochs=3 --on-change'
    )
    assert f"WorkingDirectory={Path.cwd()}\n" in path.read_text()
    assert f"systemctl --user enable --now '{path}'" in outcome.output
    assert not (tmp_path / "outputs").exists()


def test_a_unit_can_be_printed(schedule, tmp_path):
    outcome = schedule(*NIGHTLY, "--unit-file", "-", FASHION_MNIST_DIR="/data")
    assert "\nExecStart=" in outcome.output
    assert "\nEnvironment=FASHION_MNIST_DIR=/data\n" in outcome.output
    assert "--unit-file" not in outcome.output
    assert list(tmp_path.iterdir()) == []


def test_a_unit_holds_no_secrets_and_says_so(schedule):
    secret = {
        "IMAGE_PIPELINE_NOTIFY": "mailto://user:secret@example.org",
        "AWS_SECRET_ACCESS_KEY": "secret@",
        "https_proxy": "http://user:secret@proxy.example.org",
    }
    outcome = schedule(*NIGHTLY, "--unit-file", "-", **secret)
    assert "secret@" not in outcome.output
    for variable in secret:
        assert f"{variable} may hold a secret and is not part of the unit: " in outcome.errors


@pytest.fixture
def config_file(tmp_path_factory):
    """A configuration file of the sample."""
    path = tmp_path_factory.mktemp("flowers") / "pipeline.toml"
    path.write_text('name = "flowers"\ndata = "sample"\n')
    return path


@pytest.mark.parametrize("form", ["--config {}", "--config={}"])
def test_a_unit_has_the_full_path_of_a_configuration_file(
    light_command, config_file, monkeypatch, form
):
    monkeypatch.chdir(config_file.parent)
    option = form.format(config_file.name).split()
    outcome = light_command("schedule", *NIGHTLY, *option, "--unit-file", "-")
    assert outcome.code == 0, outcome.errors
    assert form.format(config_file) in outcome.output
    assert "Description" in outcome.output and "flowers-sample-smoke" in outcome.output


def test_a_configuration_file_names_the_pipeline(schedule, config_file, tmp_path):
    folder = tmp_path / "outputs" / "flowers-sample-smoke"
    folder.mkdir(parents=True)
    with exclusive(folder / "lock", "run"):
        outcome = schedule("--once", "--config", config_file)
    assert outcome.code == 4
    assert "skipped: flowers-sample-smoke is in use" in outcome.output


def test_a_configuration_file_is_read_anew_by_each_look(config_file, tmp_path):
    target = Target(config_file, None, None, "local", (), None, tmp_path / "outputs", None)
    first = look(target, "flowers-sample-smoke")
    assert first.data == "sample"
    config_file.write_text('name = "roses"\ndata = "sample"\n')
    with pytest.raises(ConfigurationError, match="names the pipeline roses-sample-smoke"):
        look(target, "flowers-sample-smoke")
    config_file.write_text("epochs = 3")
    with pytest.raises(ConfigurationError, match=r"training\.epochs"):
        look(target, "flowers-sample-smoke")


def test_a_run_is_given_the_file_and_what_the_command_line_adds(config_file, tmp_path):
    target = Target(config_file, "best", None, "local", ("seed=3",), None, tmp_path, None)
    arguments = target.arguments("/data/span")
    for option, value in [
        ("--config", str(config_file)),
        ("--profile", "best"),
        ("--data", "/data/span"),
        ("--set", "seed=3"),
    ]:
        assert arguments[arguments.index(option) + 1] == value


def test_a_unit_lands_in_the_folder_of_the_user(schedule, tmp_path):
    outcome = schedule(*NIGHTLY, "--install-unit", XDG_CONFIG_HOME=str(tmp_path))
    name = f"image-pipeline-{SAMPLE_PIPELINE}.service"
    assert (tmp_path / "systemd" / "user" / name).exists()
    assert f"systemctl --user enable --now {name}" in outcome.output
    assert "loginctl enable-linger" in outcome.output


@pytest.fixture
def standing(tmp_path):
    """The folder of a pipeline that has a past."""
    folder = tmp_path / "outputs" / SAMPLE_PIPELINE
    (folder / "schedule").mkdir(parents=True)
    return folder


def test_a_pipeline_that_a_run_holds_is_skipped(schedule, standing):
    with exclusive(standing / "lock", "run"):
        outcome = schedule("--once")
    assert outcome.code == 4
    assert (
        f"skipped: {SAMPLE_PIPELINE} is in use by run (process {os.getpid()} of " in outcome.output
    )


def test_bad_input_of_a_schedule_that_has_begun_is_an_alarm(schedule, standing, tmp_path):
    (standing / "schedule" / "state.json").write_text("{}")
    outcome = schedule("--once", "--set", "schema_file=absent.pbtxt")
    assert outcome.code == 2
    assert "absent.pbtxt cannot be read" in outcome.output
    assert "alarm: a run cannot start" in outcome.output


@pytest.mark.parametrize("name", ["TMPDIR", "AWS_PROFILE", "no_proxy"])
@pytest.mark.parametrize("arguments", [("--install-unit",), ("--unit-file=-",)])
def test_a_variable_that_a_unit_cannot_hold_is_refused(
    name, arguments, schedule, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    # What is not in the unit may be anything; and only names of files have a longest length.
    monkeypatch.setenv("PGPASSWORD", os.fsdecode(b"\xff"))
    monkeypatch.setenv("NO_PROXY", "example.org," * 30)
    monkeypatch.setenv(name, os.fsdecode(b"/tmp/caf\xe9"))
    outcome = schedule(*NIGHTLY, *arguments)
    assert (outcome.code, outcome.output) == (2, "")
    assert outcome.errors.startswith(f"error: {name} /tmp/caf\\udce9 contains the byte 0xe9, which")
    assert outcome.errors.count("\n") == 1
    assert not (tmp_path / "config").exists()
    monkeypatch.delenv(name)
    assert schedule(*NIGHTLY, *arguments).code == 0


@pytest.mark.parametrize("name", ["a\nb", "a ", "a\\"], ids=["line break", "space", "backslash"])
def test_no_unit_starts_in_a_folder_that_systemd_would_misread(
    name, schedule, tmp_path, monkeypatch
):
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    outcome = schedule(*NIGHTLY, "--install-unit", "--unit-file=-")
    assert (outcome.code, outcome.output) == (2, "")
    assert "working folder" in outcome.errors and outcome.errors.count("\n") == 1


@pytest.mark.parametrize("state", [None, "{}"], ids=["first look", "no look"])
def test_another_scheduler_is_refused_as_such_whatever_else_it_would_meet(
    schedule, standing, state
):
    """Systemd starts it again after every other exit code: it may not fail at the port first."""
    if state:
        (standing / "schedule" / "state.json").write_text(state)
    with (
        exclusive(standing / "schedule.lock", "schedule"),
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        port = taken.getsockname()[1]
        refused = ("--set", "schema_file=absent.pbtxt", "--metrics-port", port)
        outcome = schedule(*NIGHTLY, *refused)
    assert outcome.code == 4
    assert outcome.errors.startswith(f"error: {SAMPLE_PIPELINE} is in use by schedule (process ")


def test_a_port_that_is_taken_is_refused(schedule, standing):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = schedule(*NIGHTLY, "--metrics-port", port)
    assert outcome.code == 2
    assert f"port {port} (Address already in use); expected a free port" in outcome.errors


@contextlib.contextmanager
def serving(folder, tripwires):
    """A service of the sample, with its results in a folder; yields what its metrics are."""
    port = free_port()
    arguments = ["--cron", "0 0 1 1 *", "--timezone", "Europe/Berlin", "--retries", "2"]
    arguments += ["--data", "sample", "--output-dir", str(folder), "--metrics-port", str(port)]
    output = folder / "output"
    with output.open("w") as stream:
        service = subprocess.Popen(
            [sys.executable, str(RUNNER), "schedule", *arguments],
            stdout=stream,
            stderr=stream,
            env={**os.environ, "PYTHONPATH": tripwires, "KERAS_BACKEND": "secret"},
        )
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while "2 retries" not in output.read_text():
            assert time.monotonic() < until and service.poll() is None, output.read_text()
            time.sleep(0.05)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        yield direct.open(f"http://127.0.0.1:{port}/metrics").read().decode()
        service.send_signal(signal.SIGTERM)
        assert service.wait(PATIENCE_SECONDS) == 0
    finally:
        service.kill()
        service.wait()


def test_a_service_shows_what_it_will_do_and_ends_when_asked(tripwires, tmp_path):
    with serving(tmp_path, tripwires) as metrics:
        assert f'next_run_timestamp_seconds{{pipeline="{SAMPLE_PIPELINE}"}}' in metrics
    text = (tmp_path / "output").read_text()
    assert text.count("-01-01 00:00") == 5
    assert "'0 0 1 1 *' in Europe/Berlin" in text
    # Libraries of other tests may have set further variables of this process.
    assert "left out of the environment: KERAS_BACKEND" in text and "secret" not in text
    assert text.endswith("stopped\n")
    state = json.loads((tmp_path / SAMPLE_PIPELINE / "schedule" / "state.json").read_text())
    assert state["schedule"] == "'0 0 1 1 *' in Europe/Berlin"


def test_a_service_that_is_started_again_shows_the_success_that_left_no_receipt(
    tripwires, tmp_path
):
    state = tmp_path / SAMPLE_PIPELINE / "schedule" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"unrecorded": {"0": "1970-01-01T00:02:00Z"}}))
    with serving(tmp_path, tripwires) as metrics:
        success = f'last_success_timestamp_seconds{{pipeline="{SAMPLE_PIPELINE}"}} 120.0'
        assert success in metrics


@pytest.mark.slow
def test_once_runs_the_graph(command, tmp_path):
    arguments = ("--once", "--data", "sample", "--profile", "smoke", "--output-dir", tmp_path)
    outcome = command("schedule", *arguments)
    assert outcome.code == 0, outcome.output
    (path,) = tmp_path.glob("*/runs/*/receipt.json")
    receipt = json.loads(path.read_text())
    version = receipt["pushed_version"]
    assert f"run {receipt['run_id']} pushed version {version}, accuracy 0." in outcome.output
    assert f"page {path.with_name('review.html')}" in outcome.output
    # What it pushed stands until something changes.
    following = command("schedule", *arguments, "--on-change")
    assert following.code == 0
    assert f"nothing changed since run {receipt['run_id']}" in following.output
