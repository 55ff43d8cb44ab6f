"""No secret that a user may give shows in a file, on a terminal, in a message or a process list."""

import os
import sys
import time
import urllib.request

import pytest

import pipeline_runner
from components.notifications.sending import ADDRESSES_VARIABLE
from operations.notifications.notifying import REVIEW_URL_VARIABLE, Notifier
from operations.scheduling.unit import Unit
from pipeline.datasets.find import find_source
from pipeline.errors import ConfigurationError
from pipeline.installation.package_installers import Installer
from tests.supply_chain.conftest import NEEDLE

# Slack takes a token of 24 letters and digits.
SLACK = f"slack://T1JJ3T3L2/A1BRTD4JD/{NEEDLE:x<24}"
WEB = f"https://user:{NEEDLE}@models.example.org/all?key={NEEDLE}"
# What programs around ours are told in the environment.
SURROUNDINGS = {
    **{f"{kind}_proxy": f"http://user:{NEEDLE}@127.0.0.1:9" for kind in ("http", "https", "all")},
    "no_proxy": "127.0.0.1",
    "AWS_SECRET_ACCESS_KEY": NEEDLE,
    "GITHUB_TOKEN": NEEDLE,
    "KERAS_PASSWORD": NEEDLE,
    "PIP_INDEX_URL": f"https://user:{NEEDLE}@index.example.org/simple",
    "TF_VAR_password": NEEDLE,
}


def files_with_secrets(folder):
    """The files below a folder that hold a planted secret."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if NEEDLE.encode() in path.read_bytes()]


@pytest.fixture
def addresses(receiver, closed_port):
    """Makes an address that takes messages, beside one that nobody answers at."""

    def make(name):
        taking = f"json://user:{NEEDLE}@127.0.0.1:{receiver.server_port}/{NEEDLE}/{name}"
        headers = f"?+Authorization={NEEDLE}"
        return [
            taking + headers,
            f"mailto://user:{NEEDLE}@example.org:{closed_port}?smtp=127.0.0.1&to=a@example.org",
        ]

    return make


@pytest.fixture
def notify_file(addresses, tmp_path):
    path = tmp_path / "addresses"
    path.touch(0o600)
    path.write_text("\n".join(addresses("file")))
    return path


@pytest.fixture
def refused(monkeypatch, capfd):
    """Runs a command line that has to be refused; returns all that it prints."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pipeline_runner.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            pipeline_runner.main()
        assert ended.value.code == 2
        printed = capfd.readouterr()
        # Typer's own errors have a frame.
        assert "error: " in printed.err or " Error " in printed.err
        return printed.out + printed.err

    return run


@pytest.mark.slow
def test_a_scheduled_run_shows_no_secret(
    command, addresses, notify_file, told, watch, sample_images, tmp_path
):
    """The whole graph, with a look before it; some of those who are told of it do not answer."""
    data = sample_images.first(120, 50).write(tmp_path / "data")
    output_dir, home = tmp_path / "outputs", tmp_path / "home"
    home.mkdir()
    # A digest is kept in the home, but only of a file that has not just been written.
    while time.time() - max(path.stat().st_ctime for path in data.iterdir()) < 4:
        time.sleep(0.1)
    settings = ("split.validation=30", "training.epochs=1", "training.batch_size=20")
    gates = ("gates.accuracy=0", "gates.class_recall=0", "gates.accuracy_drop=1")
    ended = command(
        *("schedule", "--once", "--data", data, "--profile", "smoke", "--output-dir", output_dir),
        *(part for value in (*settings, *gates) for part in ("--set", value)),
        *("--notify-file", notify_file),
        **SURROUNDINGS,
        **{ADDRESSES_VARIABLE: " ".join([*addresses("variable"), SLACK])},
        HOME=str(home),
        XDG_CACHE_HOME=str(home / "cache"),
    )
    assert ended.code == 0, ended.output + ended.errors
    assert len(told()) == 2
    assert NEEDLE not in str(told())
    assert NEEDLE not in ended.output + ended.errors
    assert files_with_secrets(output_dir) == []
    assert files_with_secrets(home) == []
    # What failed is told all the same.
    (log,) = output_dir.glob("*/runs/*/log.txt")
    line = f"did not reach address 2 of {ADDRESSES_VARIABLE} (mailto://...)"
    assert line in log.read_text(encoding="utf-8")
    # All processes that the command started, and nobody saw a secret among their arguments.
    assert any("pipeline_runner.py run " in line for line in watch.commands)
    assert any(line.endswith("delivery.py") for line in watch.commands)
    assert not [line for line in watch.commands if NEEDLE in line]
    # Only what sends messages inherits the addresses.
    assert [line for line in watch.started if not line.endswith("delivery.py")]
    assert all(line.endswith("delivery.py") for line in watch.told)


def test_a_schedule_that_cannot_read_its_input_shows_no_secret(
    command, tripwires, addresses, notify_file, told, watch, tmp_path
):
    """Its alarm goes to people, to the state, and to the log."""
    config, output_dir = tmp_path / "pipeline.toml", tmp_path / "outputs"
    config.write_text(f'name = "clothes"\ndata = "{WEB}"\n')
    state = output_dir / "clothes" / "schedule" / "state.json"
    state.parent.mkdir(parents=True)
    # As one that has begun: it does not refuse what is wrong, it raises an alarm.
    state.write_text("{}")
    ended = command(
        *("schedule", "--once", "--config", config, "--output-dir", output_dir),
        *("--notify-file", notify_file),
        **SURROUNDINGS,
        **{ADDRESSES_VARIABLE: " ".join([*addresses("variable"), SLACK])},
        PYTHONPATH=tripwires,
    )
    assert ended.code == 2, ended.output + ended.errors
    assert "alarm: a run cannot start" in ended.output
    assert "is an address (https:...)" in state.read_text()
    assert len(told()) == 2
    assert all("is an address (https:...)" in message["message"] for message in told())
    assert NEEDLE not in str(told())
    assert NEEDLE not in ended.output + ended.errors
    assert files_with_secrets(output_dir) == []
    assert any(line.endswith("delivery.py") for line in watch.commands)
    assert not [line for line in watch.commands if NEEDLE in line]


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--data", WEB),
        ("run", "--data", SLACK),
        ("run", "--set", f"smtp_password={NEEDLE}"),
        ("run", "--set", SLACK),
        ("run", "--set", f"name={SLACK}"),
        ("run", "--set", f"schema_file={WEB}"),
        ("run", "--output-dir", WEB),
        ("run", "--config", WEB),
        ("run", "--notify-file", SLACK),
        ("schedule", "--once", "--data", WEB),
        ("digest", "--data", WEB),
        ("init", "photos", "--data", WEB),
        ("predict", WEB),
        ("run", SLACK),
        (WEB,),
    ],
    ids=lambda arguments: " ".join(arguments).partition("//")[0].partition(NEEDLE)[0],
)
def test_a_secret_in_the_wrong_place_is_refused_without_repeating_it(
    arguments, refused, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    assert NEEDLE not in refused(*arguments)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "text",
    [
        f'data = "{WEB}"',
        f'notify = "{SLACK}"',
        f'name = "{SLACK}"',
        f'schema_file = "{WEB}"',
        f'[notify]\nmail = "{NEEDLE}"',
        f'seed = "{SLACK}"',
    ],
)
def test_a_secret_in_a_configuration_file_is_refused_without_repeating_it(text, refused, tmp_path):
    config = tmp_path / "pipeline.toml"
    config.write_text(text)
    output_dir = tmp_path / "outputs"
    assert NEEDLE not in refused("run", "--config", str(config), "--output-dir", str(output_dir))


@pytest.mark.parametrize("url", [WEB, f"https://{NEEDLE}@host/all", f"http://host/?t={NEEDLE}"])
def test_an_address_of_the_review_is_no_secret(url, refused, receiver, monkeypatch, tmp_path):
    """Every message repeats it, and so does the unit of a schedule."""
    monkeypatch.setenv(REVIEW_URL_VARIABLE, url)
    monkeypatch.chdir(tmp_path)
    schedule = ("schedule", "--cron", "0 3 * * *", "--data", "sample")
    for kind in (("--unit-file", "-"), ("--install-unit", "--unit-file", "a.service")):
        assert NEEDLE not in refused(*schedule, *kind)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(ADDRESSES_VARIABLE, f"json://127.0.0.1:{receiver.server_port}")
    with pytest.raises(ConfigurationError, match=f"{REVIEW_URL_VARIABLE} has a password"):
        Notifier.from_options(None)


def test_a_unit_has_nothing_of_what_surrounds_it(tmp_path):
    unit = Unit("clothes", ["/usr/bin/python3", "schedule"], tmp_path, stop_seconds=60)
    assert NEEDLE not in unit.text({**SURROUNDINGS, ADDRESSES_VARIABLE: SLACK})


@pytest.mark.parametrize("proxy", ["http://user:{}", "user:{}", "http:/user:{}@host"])
def test_a_proxy_that_cannot_be_read_is_told_without_its_password(proxy, monkeypatch, tmp_path):
    """As where the host was forgotten: then urllib takes the password for a port, and says so."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for kind in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(kind, proxy.format(NEEDLE))
    # urllib reads the environment once in a process.
    monkeypatch.setattr(urllib.request, "_opener", None)
    lines = []
    assert find_source("auto", lines.append).sample
    assert len([line for line in lines if "expected http://HOST:PORT" in line]) == 2
    assert NEEDLE not in str(lines)


def test_what_an_installer_prints_is_kept_without_passwords(tmp_path):
    """uv and pip may repeat the address of an index or a proxy."""
    log = tmp_path / "installation.log"
    descriptor = os.open(os.devnull, os.O_RDONLY)
    failing = f"print('error: Failed to fetch: https://user:{NEEDLE}@index/simple'); exit(2)"
    try:
        installer = Installer(tmp_path, log, descriptor)
        outcome = installer.run([sys.executable, "-c", failing])
    finally:
        os.close(descriptor)
    told = installer.explain(outcome)
    assert "https://***@index/simple" in told
    assert "https://***@index/simple" in log.read_text(encoding="utf-8")
    assert NEEDLE not in told + log.read_text(encoding="utf-8")
