"""Decoding in processes of their own: in order, bounded, and gone with the process that asked."""

import hashlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components import control_groups, images
from components.example_gen import decoding
from components.example_gen.decoding import Decoded, Decoder, File
from components.example_gen.reading_error import ReadingError

PROJECT = Path(__file__).resolve().parents[3]
PREPARATION = images.Preparation(2, 2, 1, images.Fit.PAD, 0)
PATIENCE_SECONDS = 60


def content(value):
    stream = io.BytesIO()
    Image.new("L", (2, 2), value).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(params=["in this process", "in others"])
def decoder(request, monkeypatch):
    if request.param == "in others":
        monkeypatch.setattr(control_groups, "cores", lambda: 2)
    else:
        monkeypatch.setattr(control_groups, "cores", lambda: 1)
    found = Decoder(PREPARATION, 1000)
    yield found
    found.close()


def test_the_order_of_the_files_is_kept(decoder):
    files = [File(str(n), "", content(n % 256), "") for n in range(300)]
    found = list(decoder.decode(files, len(files)))
    assert [each.pixels for each in found] == [bytes([n % 256] * 4) for n in range(300)]
    assert [each.border for each in found] == [n % 256 for n in range(300)]


def test_what_is_decoded_already_keeps_its_place(decoder):
    ready = [Decoded(bytes([n] * 4), 0.0, "", "", changed=False) for n in range(200)]
    files = [each if n % 3 else File(str(n), "", content(n), "") for n, each in enumerate(ready)]
    found = decoder.decode(files, len(files))
    assert [each.pixels for each in found] == [each.pixels for each in ready]


def test_where_no_other_process_can_be_started_this_one_decodes(monkeypatch, caplog):
    """As without /dev/shm, where their locks would lie."""

    def refuse(*_, **__):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(control_groups, "cores", lambda: 2)
    monkeypatch.setattr(decoding.concurrent.futures, "ProcessPoolExecutor", refuse)
    files = [File(str(n), "", content(n % 256), "") for n in range(300)]
    decoder = Decoder(PREPARATION, len(files))
    found = list(decoder.decode(files, len(files)))
    decoder.close()
    assert [each.pixels for each in found] == [bytes([n % 256] * 4) for n in range(300)]
    (record,) = caplog.records
    assert "decoded in one process" in record.getMessage()


def test_bad_and_changed_files_are_told_apart(decoder, tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(content(7))
    right = hashlib.sha256(content(7)).hexdigest()
    files = [
        File("good", str(path), b"", right),
        File("changed", str(path), b"", "0" * 64),
        File("gone", str(tmp_path / "gone.png"), b"", right),
        File("bad", "", b"no image", ""),
    ]
    good, changed, gone, bad = decoder.decode(files, len(files))
    assert good.pixels == bytes([7] * 4) and not good.reason
    assert changed.changed and gone.changed
    assert not bad.changed and "expected" in bad.reason


def test_files_are_taken_only_a_few_batches_ahead(decoder):
    taken = []

    def files():
        for number in range(5000):
            taken.append(number)
            yield File(str(number), "", content(0), "")

    found = decoder.decode(files(), 5000)
    next(found)
    assert len(taken) < 1000


def test_a_worker_that_is_killed_is_told_in_words(monkeypatch):
    monkeypatch.setattr(control_groups, "cores", lambda: 2)
    decoder = Decoder(PREPARATION, 1000)
    decoded = decoder.decode((File(str(n), "", content(0), "") for n in range(2000)), 2000)
    next(decoded)
    for worker in list(decoder._pool._processes):
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(ReadingError, match="was killed; expected memory for 2 images at once"):
        list(decoded)


ORPHANS = """
import sys
from components import control_groups, images
from components.example_gen.decoding import Decoder, File

if __name__ == "__main__":
    control_groups.cores = lambda: 2
    decoder = Decoder(images.Preparation(2, 2, 1, images.Fit.PAD, 0), 1000)
    list(decoder.decode([File("", "", b"no image", "")] * 100, 100))
    print(*(decoder._pool._processes), flush=True)
    sys.stdin.read()
"""


def test_workers_end_with_a_process_that_is_killed(tmp_path, ends):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        text=True,
    )
    workers = [int(number) for number in process.stdout.readline().split()]
    assert len(workers) == 2
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_SECONDS)
    assert all(ends(worker) for worker in workers)


def test_pixels_are_those_of_the_module_that_decodes():
    pixels = np.arange(4, dtype=np.uint8).reshape(2, 2)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    (found,) = Decoder(PREPARATION, 1).decode([File("", "", stream.getvalue(), "")], 1)
    assert found.pixels == images.prepare(stream.getvalue(), PREPARATION).pixels.tobytes()
