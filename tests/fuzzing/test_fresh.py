"""Each reader is asked with damaged files for some seconds; `make fuzz` does it for longer."""

import json
import os
import subprocess
import sys
import time

import pytest

from tests.faults.injection import PROJECT
from tests.fuzzing import fuzz
from tests.fuzzing.reader import Reader
from tests.fuzzing.readers import READERS

pytestmark = pytest.mark.slow

_SECONDS = 3


@pytest.mark.parametrize("name", READERS)
def test_a_reader_keeps_its_promises(name, tmp_path):
    """A process of its own: TensorFlow must not be at work where others are forked off."""
    options = ["--reader", name, "--minutes", str(_SECONDS / 60), "--findings", str(tmp_path)]
    command = [sys.executable, "-m", "tests.fuzzing", *options, "--summary", str(tmp_path / "s")]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    figures = json.loads((tmp_path / "s").read_text())["readers"][name]
    assert figures["findings"] == 0
    assert figures["cases"] == figures["answered"] + figures["refused"] > 0


def _broken(how):
    return Reader(lambda folder: (folder / "file").write_bytes(b"12"), how)


@pytest.mark.parametrize(
    ("how", "seconds", "words"),
    [
        (lambda folder: 1 / 0, 60, "ZeroDivisionError"),
        (lambda folder: (folder.parent / "more").write_text(""), 60, "it wrote ['more']"),
        (lambda folder: bytearray(2**40), 60, "MemoryError"),
        (lambda folder: os._exit(7), 60, "the process ended with 7"),
        (lambda folder: time.sleep(3_600), 1, "it took longer"),
    ],
)
def test_a_broken_promise_is_found_and_kept(how, seconds, words, monkeypatch, tmp_path):
    monkeypatch.setitem(READERS, "broken", _broken(how))
    monkeypatch.setattr(fuzz, "CASE_SECONDS", seconds)
    result = fuzz.fuzz("broken", 1, 2, tmp_path)
    assert len(result.findings) == 1
    (found,) = result.findings
    assert words in json.loads((found / "report.json").read_text())["found"]
    assert (found / "case" / "file").exists()
