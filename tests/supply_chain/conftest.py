"""A place that takes notifications, and a watch over all processes."""

import http.server
import json
import threading
from pathlib import Path

import pytest

from components.notifications.sending import ADDRESSES_VARIABLE
from tests.ports import free_port

# In every secret that a test plants. Of letters and digits, so that it is the same in any form of
# address.
NEEDLE = "hunter2secret"


def text_of(path):
    """A file of a process, whose parts end with a zero; empty where the process is gone."""
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


class Watch:
    """Looks at the command lines of all processes of the machine, again and again.

    Attributes:
      commands: every command line that was seen.
      started: those of processes that a run started.
      told: of these, those of processes whose environment has the addresses to notify.
    """

    def __init__(self):
        self.commands, self.started, self.told = set(), set(), set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def look(self):
        """Looks once, at what is at work now."""
        folders = [path for path in Path("/proc").iterdir() if path.name.isdecimal()]
        lines = {path: line for path in folders if (line := text_of(path / "cmdline"))}
        self.commands |= set(lines.values())
        runs = {path.name for path, line in lines.items() if is_run(line)}
        for path, line in lines.items():
            # One that has only just been forked is still the run itself.
            if parent_of(path) in runs and not is_run(line):
                self.started.add(line)
                if f"{ADDRESSES_VARIABLE}=" in text_of(path / "environ"):
                    self.told.add(line)

    def _watch(self):
        while not self._end.wait(0.05):
            self.look()


def is_run(line):
    """Whether a command line is that of a run."""
    return "pipeline_runner.py run " in line


def parent_of(path):
    """The number of the parent of a process; empty where the process is gone."""
    return next(iter(text_of(path / "stat").rpartition(")")[2].split()[1:2]), "")


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes messages; looks at the processes while the one that sends waits for its answer."""

    def do_POST(self):
        self.server.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.watch.look()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def watch():
    """A watch that is at work."""
    with Watch() as watching:
        yield watching


@pytest.fixture
def receiver(watch):
    """A web server that keeps the messages that it is sent in `received`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.received, server.watch = [], watch
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def told(receiver):
    """The documents that arrived."""
    return lambda: [json.loads(document) for document in receiver.received]


@pytest.fixture
def closed_port():
    """A port at which nobody listens."""
    return free_port()
