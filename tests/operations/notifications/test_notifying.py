"""Who is told how runs end, what they are told, and that no address ever shows."""

import contextlib
import dataclasses
import http.server
import json
import logging
import os
import socketserver
import sys
import threading
from pathlib import Path

import pytest

from components.notifications import sending
from components.notifications.sending import (
    ADDRESSES_VARIABLE,
    FAILURE,
    SUCCESS,
    WARNING,
    Address,
)
from components.quality_gates import JudgedGate
from operations.notifications.notifying import REVIEW_URL_VARIABLE, CurrentNotifier, Notifier
from pipeline.errors import ConfigurationError
from review.collect import collect
from review.summary import write_summary

SECRET = "hunter2secret"
# How a receipt tells each end that is no push.
BAD_ENDS = {
    "refused": ("completed", "refused"),
    "stopped": ("failed", "stopped"),
    "failed": ("failed", "none"),
    "interrupted": ("interrupted", "none"),
}

FAILED = {"node": "Trainer", "message": "the loss is no number"}


@pytest.fixture(autouse=True)
def local_world(monkeypatch):
    """Nobody is told unless a test says so; what a test sends stays on this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(ADDRESSES_VARIABLE, raising=False)
    monkeypatch.delenv(REVIEW_URL_VARIABLE, raising=False)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes messages, or fails to, as the path says."""

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/hanging":
            self.hang()
            return
        self.server.received.append((self.path, json.loads(text)))
        self.send_response(500 if self.path == "/failing" else 200)
        self.end_headers()

    def hang(self):
        """Sends a little, again and again, so that no wait for the next byte ever ends."""
        with contextlib.suppress(OSError):
            while not self.server.closing.wait(0.2):
                self.wfile.write(b"HTTP/1.1 200 OK\r\n" if not self.server.begun else b"x")
                self.server.begun = True

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    """A web server that keeps what it is sent in `received`, as (path, document)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.received, server.closing, server.begun = [], threading.Event(), False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


def address(server, path=""):
    return f"json://user:{SECRET}@127.0.0.1:{server.server_port}/{path}"


def closed_address():
    """An address at which nobody listens."""
    with socketserver.TCPServer(("127.0.0.1", 0), Receiver) as server:
        port = server.server_address[1]
    return f"json://user:{SECRET}@127.0.0.1:{port}/"


@pytest.fixture
def told(receiver):
    """Tells of the end of a run; returns the message that arrived, None where none did."""
    notifier = Notifier([Address(address(receiver), "the receiver")], None)

    def tell(receipt, page=None, before=None):
        notifier.run_ended(receipt, page, before)
        return receiver.received.pop()[1] if receiver.received else None

    return tell


def ended(receipt, end):
    """The receipt of a run that ended in this way."""
    status, verdict = BAD_ENDS[end]
    failure = None if end == "refused" else FAILED
    return receipt.changed(status=status, verdict=verdict, failure=failure, pushed_version=None)


def refused(receipt):
    """The receipt of a run that was refused for its accuracy."""
    (gate,) = receipt.gates
    missed = dataclasses.replace(gate, threshold=0.97, passed=False)
    return ended(receipt, "refused").changed(gates=(missed,))


def page_of(receipt, locations):
    """The review of a run, as far as it is read here."""
    folder = locations.runs / receipt.run_id
    folder.mkdir(parents=True)
    write_summary(folder, collect(receipt, {}, [], locations.runs))
    page = folder / "review.html"
    page.write_text("a page")
    return page


def test_nobody_is_told_where_nobody_asked(monkeypatch, receipt, caplog):
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    notifier = Notifier.from_options(None)
    notifier.run_ended(receipt, None, None)
    assert notifier.alarm("No data", "It should have come.")
    assert not caplog.records


def test_a_push_is_told_with_what_was_measured_and_a_link(told, pushed_receipt, locations):
    page = page_of(pushed_receipt, locations)
    message = told(pushed_receipt, page)
    assert message["title"] == "clothes: Pushed as version 17: all 1 gates passed."
    assert message["type"] == SUCCESS
    body = message["message"]
    assert "Test accuracy 0.9492 (95 % interval 0.9451 to 0.9530) on 12,000 images" in body
    assert "weakest class [bold]x, recall 0.500 (95 % interval 0.472 to 0.528)" in body
    assert f"Run     20260102-030405 of clothes, on {pushed_receipt.host}" in body
    assert f"Review  {page.as_uri()}" in body
    assert "Go on" not in body


def test_a_push_without_its_review_is_not_told_better_than_it_was(told, pushed_receipt):
    fell = JudgedGate("accuracy against the served model", "overall", -0.004, -0.005, passed=True)
    body = told(pushed_receipt.changed(gates=[*pushed_receipt.gates, fell]))["message"]
    assert "Against the served model, the accuracy changed by -0.0040. Since the answers" in body
    assert "speaks against the new version" not in body


def test_links_lead_to_the_web_server_where_there_is_one(
    receiver, pushed_receipt, locations, monkeypatch
):
    monkeypatch.setenv(ADDRESSES_VARIABLE, address(receiver))
    monkeypatch.setenv(REVIEW_URL_VARIABLE, "https://models.example.org/all/")
    page = page_of(pushed_receipt, locations)
    Notifier.from_options(None).run_ended(pushed_receipt, page, None)
    ((_, message),) = receiver.received
    link = "https://models.example.org/all/clothes/runs/20260102-030405/review.html"
    assert f"Review  {link}" in message["message"]


def test_a_failure_is_told_with_its_node_its_message_and_how_to_go_on(
    told, pushed_receipt, locations
):
    receipt = ended(pushed_receipt, "failed")
    page = page_of(receipt, locations)
    message = told(receipt, page)
    assert message["title"] == "clothes: Failed in Trainer: nothing was pushed."
    assert message["type"] == FAILURE
    assert "the loss is no number" in message["message"]
    resume = f"resume 20260102-030405 --output-dir {page.parents[3]}"
    assert f"Go on   python3 pipeline_runner.py {resume}" in message["message"]


def test_a_failure_that_would_only_come_again_is_told_with_what_to_change(
    told, pushed_receipt, locations
):
    changes = ["training.learning_rate=0.0006"]
    receipt = ended(pushed_receipt, "failed").changed(failure={**FAILED, "changes": changes})
    message = told(receipt, page_of(receipt, locations))
    command = "python3 pipeline_runner.py run --set training.learning_rate=0.0006"
    assert f"Go on   {command}" in message["message"]
    assert "resume" not in message["message"]


def test_a_refusal_is_told_with_the_gates_that_refused(told, pushed_receipt, locations):
    receipt = refused(pushed_receipt)
    message = told(receipt, page_of(receipt, locations))
    assert message["title"] == "clothes: Refused: the accuracy is too low. Nothing was pushed."
    assert message["type"] == WARNING
    assert "below the threshold 0.9700" in message["message"]
    assert "Go on" not in message["message"]


@pytest.mark.parametrize("end", ["stopped", "interrupted"])
def test_a_run_that_was_stopped_or_interrupted_is_told(told, pushed_receipt, end):
    message = told(ended(pushed_receipt, end))
    assert message["title"].startswith(f"clothes: {end.capitalize()} ")
    assert message["type"] == FAILURE


def test_a_long_message_is_cut(told, pushed_receipt, locations):
    message = "\n".join(["x" * 10_000] * 30)
    receipt = ended(pushed_receipt, "failed").changed(failure={**FAILED, "message": message})
    body = told(receipt, page_of(receipt, locations))["message"]
    assert body.startswith("x" * 500 + "\n")
    assert "... and 20 more." in body
    assert len(body) < 7000


def test_without_a_page_the_receipt_tells(told, pushed_receipt):
    receipt = refused(pushed_receipt)
    message = told(receipt)
    assert "the accuracy is too low" in message["title"]
    assert "Review  could not be made" in message["message"]


@pytest.mark.parametrize("end", BAD_ENDS)
def test_a_push_after_a_bad_end_is_a_recovery(told, pushed_receipt, end):
    message = told(pushed_receipt, before=ended(pushed_receipt, end))
    assert message["title"].startswith("clothes recovered: Pushed as version 17")
    assert message["type"] == SUCCESS


def test_a_push_is_silent_a_recovery_or_plain_news_as_the_run_before_it_ended(told, pushed_receipt):
    assert told(pushed_receipt, before=pushed_receipt) is None
    after = ended(pushed_receipt, "failed").changed(pushed_version=17)
    assert told(pushed_receipt, before=after)["title"].startswith("clothes recovered")
    message = told(pushed_receipt, before=pushed_receipt.changed(pushed_version=16))
    assert message["title"].startswith("clothes: Pushed as version 17")


def test_an_alarm_and_its_end_are_told(receiver):
    notifier = Notifier([Address(address(receiver), "the receiver")], None)
    notifier.alarm("clothes: no data", "Span 7 should have come by 3:00.")
    notifier.all_clear("clothes: data again", "Span 7 has come.")
    told = [(told["title"], told["message"], told["type"]) for _, told in receiver.received]
    assert told == [
        ("clothes: no data", "Span 7 should have come by 3:00.", FAILURE),
        ("clothes: data again", "Span 7 has come.", SUCCESS),
    ]


def test_what_looks_like_markup_is_told_as_it_is(receiver):
    notifier = Notifier([Address(address(receiver, "?format=html"), "the receiver")], None)
    notifier.alarm("title", "<b> is no class")
    ((_, message),) = receiver.received
    assert message["message"].startswith("&lt;b&gt;")


@pytest.fixture
def private_file(tmp_path):
    """Makes a file that its owner alone can read."""

    def make(text, mode=0o600):
        path = tmp_path / "addresses"
        path.write_text(text)
        path.chmod(mode)
        return path

    return make


def test_addresses_come_from_the_environment_and_from_a_file(receiver, monkeypatch, private_file):
    """Separated by white space or commas; a comma may be part of an address."""
    one, two = (address(receiver, path) for path in ("one", "two?:to=a,b"))
    monkeypatch.setenv(ADDRESSES_VARIABLE, f" {one},{two} ,\t")
    lines = ["# the team", address(receiver, "three"), "", f"  # {address(receiver, 'four')}"]
    Notifier.from_options(private_file("\n".join(lines))).alarm("title", "text")
    received = dict(receiver.received)
    assert set(received) == {"/one", "/two", "/three"}
    assert received["/two"]["to"] == "a,b"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_file_that_others_can_get_at_is_refused(private_file, mode):
    path = private_file(f"json://{SECRET}@127.0.0.1/", mode)
    with pytest.raises(ConfigurationError, match=f"mode {mode:o}.*chmod 600") as caught:
        Notifier.from_options(path)
    assert caught.value.exit_code == 2


def test_a_file_of_another_user_is_refused(private_file, monkeypatch):
    path, user = private_file("json://127.0.0.1/"), os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(ConfigurationError, match=f"belongs to another user \\(id {user}\\)"):
        Notifier.from_options(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "holds no address"), (b"# json://host\n", "holds no address"), (b"\xff", "no text")],
)
def test_a_file_without_addresses_is_refused(private_file, content, reason):
    path = private_file("")
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason):
        Notifier.from_options(path)


def test_what_is_no_file_is_refused(tmp_path):
    for path, told in ((tmp_path / "none", "No such file"), (tmp_path, "no regular file")):
        with pytest.raises(ConfigurationError, match=told):
            Notifier.from_options(path)


@pytest.mark.parametrize("written", ["json://{}@host", "JSONS://user:{}@host/a"])
def test_an_address_in_the_place_of_a_file_is_refused_without_repeating_it(written):
    with pytest.raises(ConfigurationError, match="expected a file") as caught:
        Notifier.from_options(Path(written.format(SECRET)))
    assert SECRET not in str(caught.value)


def test_addresses_that_cannot_be_parsed_are_named_without_repeating_them(monkeypatch, caplog):
    written = [
        f"json://user:{SECRET}@127.0.0.1/",
        f"nothing://{SECRET}@host",
        SECRET,
        f"slack://{SECRET}",
        f"user:{SECRET}://host",
        f"{SECRET * 3}://host",
    ]
    monkeypatch.setenv(ADDRESSES_VARIABLE, " ".join(written))
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigurationError) as caught:
        Notifier.from_options(None)
    message = str(caught.value)
    assert f"address 2 of {ADDRESSES_VARIABLE} (nothing://...)" in message
    assert f"address 3 of {ADDRESSES_VARIABLE} (without a scheme)" in message
    assert f"address 4 of {ADDRESSES_VARIABLE} (slack://...)" in message
    assert "address 1 of" not in message
    assert SECRET not in message + caplog.text
    assert caught.value.exit_code == 2


def test_a_review_address_without_a_scheme_is_refused(monkeypatch):
    monkeypatch.setenv(ADDRESSES_VARIABLE, "json://127.0.0.1/")
    monkeypatch.setenv(REVIEW_URL_VARIABLE, "models.example.org")
    with pytest.raises(ConfigurationError, match=REVIEW_URL_VARIABLE):
        Notifier.from_options(None)


def test_an_environment_without_apprise_is_refused(monkeypatch):
    monkeypatch.setenv(ADDRESSES_VARIABLE, "json://127.0.0.1/")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ConfigurationError, match=r"Apprise.*make setup"):
        Notifier.from_options(None)


def test_a_message_that_does_not_arrive_is_logged_without_its_address(
    receiver, monkeypatch, caplog
):
    """And those whom it can reach have it all the same."""
    written = [closed_address(), address(receiver, "failing"), address(receiver, "reached")]
    monkeypatch.setenv(ADDRESSES_VARIABLE, ",".join(written))
    notifier = Notifier.from_options(None)
    with caplog.at_level(logging.DEBUG):
        assert notifier.alarm("title", "text")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    line = record.getMessage()
    assert f"address 1 of {ADDRESSES_VARIABLE} (json://...)" in line
    assert f"address 2 of {ADDRESSES_VARIABLE}" in line
    assert "address 3" not in line
    assert SECRET not in caplog.text
    assert "/reached" in [path for path, _ in receiver.received]


def test_who_sends_an_alarm_learns_that_it_reached_nobody(receiver, monkeypatch):
    written = [closed_address(), address(receiver, "failing")]
    monkeypatch.setenv(ADDRESSES_VARIABLE, ",".join(written))
    assert not Notifier.from_options(None).alarm("title", "text")


def test_an_alarm_goes_to_the_addresses_that_the_file_has_by_then(receiver, private_file):
    notifier = CurrentNotifier(private_file(closed_address()))
    assert not notifier.alarm("title", "text")
    private_file(address(receiver, "mended"))
    assert notifier.alarm("title", "text")
    private_file(address(receiver, "moved"))
    notifier.all_clear("title", "text")
    assert [path for path, _ in receiver.received] == ["/mended", "/moved"]


@pytest.mark.parametrize("mode", [None, 0o644])
def test_an_alarm_goes_to_the_addresses_before_where_the_file_cannot_be_used(
    receiver, private_file, caplog, mode
):
    file = private_file(address(receiver, "before"))
    notifier = CurrentNotifier(file)
    if mode is None:
        file.unlink()
    else:
        private_file(address(receiver, "others may read this"), mode)
    assert notifier.alarm("title", "text")
    assert [path for path, _ in receiver.received] == ["/before"]
    assert f"The addresses that were read before are notified: {file} " in caplog.text
    assert SECRET not in caplog.text


def test_a_service_that_hangs_is_given_up(receiver, monkeypatch, caplog):
    monkeypatch.setattr(sending, "SERVICE_SECONDS", 1)
    monkeypatch.setenv(ADDRESSES_VARIABLE, f"{address(receiver, 'hanging')} {address(receiver)}")
    Notifier.from_options(None).alarm("title", "text")
    assert receiver.begun
    (record,) = caplog.records
    assert f"address 1 of {ADDRESSES_VARIABLE}" in record.getMessage()
    assert "address 2" not in record.getMessage()


def test_a_process_that_hangs_is_ended(monkeypatch, caplog, tmp_path):
    notifier = Notifier([Address(f"json://user:{SECRET}@127.0.0.1/", "address 1")], None)
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 1000\n")
    hanging.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(hanging))
    monkeypatch.setattr(sending, "PROCESS_SECONDS", 0.5)
    assert not notifier.alarm("title", "text")
    (record,) = caplog.records
    assert "did not reach anyone (Apprise does not answer (timeout expired))" in record.getMessage()
    assert SECRET not in caplog.text


def test_a_review_that_cannot_be_told_of_fails_nothing(told, pushed_receipt, caplog):
    """Such as one whose page is not where a run puts it."""
    assert told(ended(pushed_receipt, "failed"), Path("review.html")) is None
    assert "did not reach anyone (index error: " in caplog.text


def test_bad_addresses_are_refused_before_anything_begins(command, tripwires, tmp_path):
    output_dir = tmp_path / "outputs"
    ended = command(
        *("run", "--data", "sample", "--output-dir", output_dir),
        **{ADDRESSES_VARIABLE: f"nothing://{SECRET}", "PYTHONPATH": tripwires},
    )
    assert ended.code == 2
    assert ended.errors.startswith("error: address 1 of IMAGE_PIPELINE_NOTIFY (nothing://...)")
    assert ended.errors.count("\n") == 1
    assert SECRET not in ended.output + ended.errors
    assert not output_dir.exists()


@pytest.mark.slow
def test_a_run_tells_of_its_end_and_keeps_its_addresses_to_itself(
    command, receiver, private_file, sample_images, tmp_path
):
    """DataGate stops it, for a test image that is a training image too."""
    path = private_file(f"{closed_address()}\n{address(receiver)}")
    few = sample_images.first(60, 20)
    few.test_images[0] = few.train_images[0]
    output_dir = tmp_path / "outputs"
    ended = command(
        *("run", "--data", few.write(tmp_path / "data"), "--profile", "smoke"),
        *("--set", "split.validation_per_class=10"),
        *("--output-dir", output_dir, "--notify-file", path),
        **{ADDRESSES_VARIABLE: address(receiver, "environment")},
    )
    assert ended.code == 1, ended.errors
    assert sorted(where for where, _ in receiver.received) == ["/", "/environment"]
    message = receiver.received[0][1]
    assert "Stopped by DataGate before training" in message["title"]
    (review,) = output_dir.glob("*/runs/*/review.html")
    assert review.as_uri() in message["message"]
    line = f"The notification did not reach address 1 of {path} (json://...)"
    assert line in ended.errors
    assert line in (review.parent / "log.txt").read_text()
    receipt = json.loads((review.parent / "receipt.json").read_text())
    assert f"--notify-file {path}" in receipt["command"]
    assert SECRET not in ended.output + ended.errors
    files = [file for file in output_dir.rglob("*") if file.is_file()]
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]
