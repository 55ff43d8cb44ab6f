"""The systemd unit: read back as systemd does, it is the command line that was given."""

import configparser
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.scheduling.unit import Unit
from pipeline.errors import OutputError

# Words that a shell, too, would read as systemd does: it knows no \\n, nor any specifiers.
WORDS = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1).filter(str.strip)


def unit(*arguments, folder=Path("/work")):
    return Unit("clothes", ["/usr/bin/python", *arguments], folder, stop_seconds=90)


def parsed(text):
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str
    parser.read_string(text)
    return parser


def read_back(line):
    return [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(line)]


@given(st.lists(WORDS))
def test_systemd_reads_back_what_was_given(arguments):
    found = parsed(unit(*arguments).text({}))
    assert read_back(found["Service"]["ExecStart"]) == ["/usr/bin/python", *arguments]


def test_words_are_quoted_only_where_they_have_to_be():
    found = parsed(unit("run.py", "--cron", "0 3 * * *", "--set", "a=$HOME", "50%").text({}))
    line = '/usr/bin/python run.py --cron "0 3 * * *" --set "a=$$HOME" 50%%'
    assert found["Service"]["ExecStart"] == line


def test_lines_are_not_broken():
    text = unit("a\nb\tc\\").text({})
    assert '"a\\nb\\tc\\\\"' in text


def test_the_program_is_no_place_for_variables():
    command = Unit("clothes", ["/opt/$x y/python", "$z"], Path("/"), 1).text({})
    assert 'ExecStart="/opt/$x y/python" "$$z"' in command


def test_the_folder_is_that_of_the_command_line():
    found = parsed(unit(folder=Path("/a b/50%")).text({}))
    assert found["Service"]["WorkingDirectory"] == "/a b/50%%"


def test_what_is_no_secret_is_taken_of_the_environment():
    environment = {
        "FASHION_MNIST_DIR": "/my data",
        "IMAGE_PIPELINE_NOTIFY": "mailto://user:secret@example.org",
        "IMAGE_PIPELINE_METRICS_ADDRESS": "0.0.0.0",
        "XDG_CACHE_HOME": "",
        "PATH": "/bin",
        "AWS_PROFILE": "flowers",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": "https://user:secret@store.example.org",
        "https_proxy": "http://proxy.example.org:3128",
        "HTTPS_PROXY": "http://user:secret@proxy.example.org:3128",
        "PGPASSWORD": "secret",
        "PGPASSFILE": "/home/ada/.pgpass",
    }
    text = unit().text(environment)
    assert 'Environment="FASHION_MNIST_DIR=/my data"\n' in text
    assert "Environment=IMAGE_PIPELINE_METRICS_ADDRESS=0.0.0.0\n" in text
    assert "Environment=AWS_PROFILE=flowers\n" in text
    assert "Environment=https_proxy=http://proxy.example.org:3128\n" in text
    assert "Environment=PGPASSFILE=/home/ada/.pgpass\n" in text
    assert text.count("Environment=") == 5
    assert "secret" not in text


@pytest.mark.parametrize(
    "name",
    [
        *("TF_ENABLE_ONEDNN_OPTS", "TMPDIR", "all_proxy", "ALL_PROXY"),
        *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    ],
)
def test_a_service_reaches_what_its_command_line_reaches(name):
    assert f"Environment={name}=value\n" in unit().text({name: "value"})


@pytest.mark.parametrize("name", ["all_proxy", "ALL_PROXY"])
def test_the_password_of_a_proxy_for_all_stays_out_of_the_unit(name):
    assert "secret" not in unit().text({name: "http://user:secret@proxy.example.org"})


def test_systemd_waits_until_a_run_has_ended():
    service = parsed(unit().text({}))["Service"]
    assert int(service["TimeoutStopSec"]) > 90
    assert service["KillMode"] == "mixed"


def test_systemd_starts_a_scheduler_again_that_misses_a_file_after_a_reboot():
    """It ends with 2 then. So many starts a minute never reach systemd's own limit."""
    service = parsed(unit().text({}))["Service"]
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"].split() == ["4"]
    assert int(service["RestartSec"]) >= 10


def test_the_unit_lands_where_systemd_looks_for_those_of_a_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    written = unit().install(None)
    assert written == tmp_path / "systemd" / "user" / "image-pipeline-clothes.service"
    assert "[Service]" in written.read_text()


def test_a_unit_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="--unit-file"):
        unit().install(tmp_path / "file" / "a.service")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_finds_no_fault_with_it(tmp_path):
    folder = tmp_path / "50% of $HOME"
    folder.mkdir()
    command = [sys.executable, "-c", 'print("%s $HOME \\ \n")', ";", "--cron", "0 3 * * *"]
    path = Unit("clothes", command, folder, 60).install(tmp_path / "clothes.service")
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True
    )
    found = [line for line in ended.stderr.splitlines() if "clothes" in line]
    assert (ended.returncode, found) == (0, [])
