"""The metrics as Prometheus reads them over HTTP, and as alerts and dashboard ask for them."""

import contextlib
import datetime
import json
import math
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import parser
from prometheus_client.openmetrics import parser as strict_parser

from operations.notifications.events import Outcome
from operations.notifications.metrics import ADDRESS_VARIABLE, Metrics
from pipeline.errors import ConfigurationError, ExitCode

DOCS = Path(__file__).resolve().parents[3] / "docs" / "monitoring"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
# How a receipt tells each way to end.
ENDS = {
    "pushed": ("completed", "pushed"),
    "refused": ("completed", "refused"),
    "stopped": ("failed", "stopped"),
    "failed": ("failed", "none"),
    "interrupted": ("interrupted", "none"),
}
OWN = {"pipeline": "clothes"}
DAY = datetime.timedelta(days=1)
# When the first run began and ended.
BEGAN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
ENDED = BEGAN.timestamp() + 61.4
# Outcomes that the last run can have.
OUTCOMES = tuple(outcome for outcome in Outcome if outcome.counts_as_run)


@pytest.fixture(autouse=True)
def default_address(monkeypatch):
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)


@pytest.fixture
def pushed_receipt(pushed_receipt):
    """Of a run that pushed a version at its end: a minute after 2026-01-02T03:04:05Z."""
    return pushed_receipt.changed(pushed_version=1767323106)


@pytest.fixture
def metrics():
    return Metrics("clothes")


def fetched(port, host="127.0.0.1", **headers):
    """What is served, past the proxies that the tests run behind."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"http://{host}:{port}/metrics", headers=headers)
    with opener.open(request, timeout=120) as answer:
        return answer.read().decode()


def scraped(metrics):
    """All samples that are served, by name and labels without that of the pipeline."""
    if metrics.port is None:
        metrics.serve(0)
    samples = {}
    for family in parser.text_string_to_metric_families(fetched(metrics.port)):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("pipeline") == "clothes"
            samples[sample.name, *sorted(labels.items())] = sample.value
    return samples


def sample(metrics, name, **labels):
    """One sample; None where it is not served."""
    return scraped(metrics).get((f"image_pipeline_{name}", *sorted(labels.items())))


def last_outcome(metrics):
    states = {outcome: sample(metrics, "last_run_outcome", outcome=outcome) for outcome in OUTCOMES}
    assert sorted(states.values()) == [0] * (len(OUTCOMES) - 1) + [1]
    return max(states, key=states.get)


def ended(receipt, end, second=0):
    """The receipt of a run that ended in this way, so many seconds after the first."""
    status, verdict = ENDS[end]
    began = receipt.began + datetime.timedelta(seconds=second)
    run_id = began.strftime("%Y%m%d-%H%M%S")
    return receipt.changed(run_id=run_id, began=began, status=status, verdict=verdict)


@pytest.fixture
def whole_receipt(pushed_receipt):
    """Of a run of which everything is known that metrics show."""
    return pushed_receipt.changed(calibration={"ece_after": 0.01}, served_version=17)


def test_a_run_that_pushed_is_shown(metrics, whole_receipt):
    metrics.run_ended(whole_receipt, 0)
    assert last_outcome(metrics) == "pushed"
    assert sample(metrics, "last_run_timestamp_seconds") == ENDED
    assert sample(metrics, "last_success_timestamp_seconds") == ENDED
    assert sample(metrics, "last_run_duration_seconds") == 61.4
    assert sample(metrics, "node_duration_seconds", node="Trainer") == 12.34
    assert sample(metrics, "test_accuracy_ratio") == whole_receipt.evaluation.accuracy
    assert sample(metrics, "weakest_class_recall_ratio", **{"class": "[bold]x"}) == 0.5
    assert sample(metrics, "calibration_error_ratio") == 0.01
    assert sample(metrics, "served_version") == 17
    assert sample(metrics, "runs_total", outcome="pushed") == 1


def test_a_run_whose_version_stood_before_counts_as_unchanged(metrics, pushed_receipt):
    metrics.run_ended(pushed_receipt.changed(pushed_version=17, served_before=17), 0)
    assert last_outcome(metrics) == "pushed"
    assert sample(metrics, "last_success_timestamp_seconds") is not None
    assert sample(metrics, "runs_total", outcome="unchanged") == 1
    assert sample(metrics, "runs_total", outcome="pushed") == 0


@pytest.mark.parametrize("end", [end for end in ENDS if end != "pushed"])
def test_a_run_that_pushed_nothing_is_no_success(metrics, receipt, end):
    metrics.run_ended(ended(receipt, end), 1)
    assert last_outcome(metrics) == end
    assert sample(metrics, "last_success_timestamp_seconds") is None
    assert sample(metrics, "runs_total", outcome=end) == 1


def test_a_run_that_evaluated_nothing_leaves_what_was_measured_before(metrics, pushed_receipt):
    node = {"status": "failed", "seconds": 0.5, "code_fingerprint": None}
    failed = ended(pushed_receipt, "failed", 60)
    metrics.run_ended(pushed_receipt, 0)
    metrics.run_ended(failed.changed(evaluation=None, nodes={"ExampleGen": node}), 1)
    assert sample(metrics, "test_accuracy_ratio") == pushed_receipt.evaluation.accuracy
    assert sample(metrics, "node_duration_seconds", node="ExampleGen") == 0.5
    assert sample(metrics, "node_duration_seconds", node="Trainer") is None


def test_the_weakest_class_is_one_that_was_tested_and_one_alone(metrics, pushed_receipt):
    evaluation = pushed_receipt.evaluation.model_dump()
    classes = evaluation["per_class"]
    metrics.run_ended(pushed_receipt, 0)
    classes["[bold]x"]["recall"] = 0.95
    classes["Untested"] = {**classes["Boot"], "recall": 0.0, "support": 0}
    classes["Boot"]["recall"] = 0.9
    evaluation["confusion"] = [[600, 600, 0], [10, 10_790, 0], [0, 0, 0]]
    metrics.run_ended(pushed_receipt.changed(evaluation=evaluation), 0)
    recalls = {key: value for key, value in scraped(metrics).items() if "recall" in key[0]}
    assert recalls == {("image_pipeline_weakest_class_recall_ratio", ("class", "Boot")): 0.9}


def test_a_second_run_that_ends_like_the_first_is_counted_as_one_in_a_row(metrics, receipt):
    streaks = []
    for second, end in enumerate(("refused", "refused", "failed", "refused")):
        metrics.run_ended(ended(receipt, end, second), 3)
        streaks.append(sample(metrics, "last_run_outcome_streak"))
    assert streaks == [1, 2, 1, 1]


@pytest.mark.parametrize(
    ("exit_code", "outcome"),
    [(1, "failed"), (-9, "failed"), (2, "bad_input"), (130, "interrupted")],
)
def test_a_run_that_left_no_receipt_is_told_by_its_exit_code(
    metrics, pushed_receipt, exit_code, outcome
):
    metrics.run_ended(pushed_receipt, 0)
    before = scraped(metrics)
    metrics.run_ended(None, exit_code)
    assert last_outcome(metrics) == outcome
    assert sample(metrics, "runs_total", outcome=outcome) == 1
    key = ("image_pipeline_last_success_timestamp_seconds",)
    assert scraped(metrics)[key] == before[key]


@pytest.mark.parametrize(("exit_code", "outcome"), [(0, "unchanged"), (4, "held")])
def test_what_began_no_run_leaves_the_last_one_standing(
    metrics, pushed_receipt, exit_code, outcome
):
    metrics.run_ended(pushed_receipt, 0)
    metrics.run_ended(None, exit_code)
    assert last_outcome(metrics) == "pushed"
    assert sample(metrics, "last_run_outcome_streak") == 1
    assert sample(metrics, "runs_total", outcome=outcome) == 1


def test_where_nothing_changed_the_last_completed_run_stands(metrics, pushed_receipt):
    """Bad data that was taken away again leaves no trace that an alert would go on about."""
    metrics.run_ended(pushed_receipt, 0)
    pushed = sample(metrics, "last_success_timestamp_seconds")
    metrics.run_ended(ended(pushed_receipt, "stopped", 60), 1)
    metrics.run_ended(None, 0)
    assert last_outcome(metrics) == "pushed"
    assert sample(metrics, "last_success_timestamp_seconds") > pushed


def test_a_refusal_that_stands_is_no_success(metrics, pushed_receipt):
    metrics.run_ended(ended(pushed_receipt, "refused"), 3)
    metrics.run_ended(ended(pushed_receipt, "stopped", 60), 1)
    metrics.run_ended(None, 3)
    assert last_outcome(metrics) == "refused"
    assert sample(metrics, "last_run_outcome_streak") == 1
    assert sample(metrics, "last_success_timestamp_seconds") is None


@pytest.mark.parametrize(("exit_code", "outcome"), [(0, "pushed"), (3, "refused")])
def test_a_run_whose_receipt_cannot_be_read_is_told_by_its_exit_code(metrics, exit_code, outcome):
    metrics.run_ended(None, exit_code, unread=True)
    assert last_outcome(metrics) == outcome
    assert sample(metrics, "runs_total", outcome=outcome) == 1
    assert sample(metrics, "runs_total", outcome="unchanged") == 0


def test_a_push_by_hand_that_stands_ends_a_refusal_of_the_schedule(metrics, pushed_receipt):
    """Where nothing changed, it says how the run ended since which that is so."""
    metrics.run_ended(ended(pushed_receipt, "refused"), 3)
    metrics.run_ended(None, 0)
    assert last_outcome(metrics) == "pushed"
    pushed = sample(metrics, "last_success_timestamp_seconds")
    assert pushed is not None
    metrics.run_ended(None, 0)
    assert sample(metrics, "last_success_timestamp_seconds") > pushed
    assert sample(metrics, "last_run_outcome_streak") == 1


def test_a_refusal_by_hand_that_stands_ends_a_push_of_the_schedule(metrics, pushed_receipt):
    metrics.run_ended(pushed_receipt, 0)
    pushed = sample(metrics, "last_success_timestamp_seconds")
    metrics.run_ended(None, 3)
    assert last_outcome(metrics) == "refused"
    assert sample(metrics, "last_success_timestamp_seconds") == pushed


@pytest.mark.parametrize("reason", ["overlap", "missed", "held", "unchanged"])
def test_other_skips_change_nothing_else(metrics, pushed_receipt, reason):
    metrics.run_ended(ended(pushed_receipt, "failed"), 1)
    before = gauges(metrics)
    metrics.skipped(reason)
    assert gauges(metrics) == before


def test_the_next_run_is_shown_in_unix_seconds(metrics):
    zone = datetime.timezone(datetime.timedelta(hours=2))
    metrics.next_run(datetime.datetime(1970, 1, 1, 3, 0, tzinfo=zone))
    assert sample(metrics, "next_run_timestamp_seconds") == 3600
    metrics.next_run(None)
    assert math.isnan(sample(metrics, "next_run_timestamp_seconds"))


def test_skips_and_alarms_are_counted_by_what_they_are(metrics):
    for reason in ("overlap", "missed", "overlap"):
        metrics.skipped(reason)
    metrics.alarm("late_data")
    for reason, count in (("overlap", 2), ("missed", 1), ("unchanged", 0)):
        assert sample(metrics, "skips_total", reason=reason) == count
    for kind, count in (("late_data", 1), ("run", 0)):
        assert sample(metrics, "alarms_total", kind=kind) == count


def gauges(metrics):
    """What a restart must not blank."""
    counted = ("_total", "_created")
    return {key: value for key, value in scraped(metrics).items() if not key[0].endswith(counted)}


@given(ends=st.lists(st.sampled_from(list(ENDS)), min_size=1, max_size=6), data=st.data())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_restart_shows_what_was_shown_before_it(pushed_receipt, ends, data):
    past = [ended(pushed_receipt, end, second) for second, end in enumerate(ends)]
    live, restored = Metrics("clothes"), Metrics("clothes")
    for receipt in past:
        live.run_ended(receipt, 0)
    others = [receipt.changed(pipeline="shoes") for receipt in past]
    others.append(ended(pushed_receipt, "interrupted", 60).changed(status="running"))
    restored.restore(data.draw(st.permutations([*past, *others])), {})
    assert gauges(restored) == gauges(live)


def test_a_restart_keeps_that_nothing_changed_since_a_success(metrics, pushed_receipt):
    """A month without changes left no receipt, and is no month without a success."""
    metrics.restore([pushed_receipt], {ExitCode.PUSHED: BEGAN + DAY})
    assert last_outcome(metrics) == "pushed"
    assert sample(metrics, "last_success_timestamp_seconds") == (BEGAN + DAY).timestamp()
    assert sample(metrics, "last_run_timestamp_seconds") == ENDED


@pytest.mark.parametrize(
    ("exit_code", "outcome"),
    [(1, "failed"), (2, "bad_input"), (3, "refused"), (130, "interrupted")],
)
def test_a_restart_does_not_end_what_left_no_receipt(metrics, pushed_receipt, exit_code, outcome):
    metrics.restore([pushed_receipt], {ExitCode(exit_code): BEGAN + DAY})
    assert last_outcome(metrics) == outcome
    assert sample(metrics, "last_run_timestamp_seconds") == (BEGAN + DAY).timestamp()
    assert sample(metrics, "last_success_timestamp_seconds") == ENDED


def test_a_restart_shows_the_last_end_and_the_last_success_whatever_came_between(
    metrics, pushed_receipt
):
    day = DAY.total_seconds()
    failed = ended(pushed_receipt, "failed", 4 * day)
    ends = {ExitCode.BAD_INPUT: BEGAN + 2 * DAY, ExitCode.PUSHED: BEGAN + 3 * DAY}
    metrics.restore([pushed_receipt, failed], ends | {ExitCode.HELD: BEGAN + 5 * DAY})
    assert last_outcome(metrics) == "failed"
    assert sample(metrics, "last_success_timestamp_seconds") == (BEGAN + 3 * DAY).timestamp()


def test_a_restart_does_not_believe_a_clock_that_was_set_to_the_future(metrics, pushed_receipt):
    ahead = datetime.datetime.now(datetime.UTC) + 400 * DAY
    metrics.restore([pushed_receipt], {ExitCode.BAD_INPUT: ahead})
    assert last_outcome(metrics) == "pushed"


def test_counters_begin_at_zero_and_are_not_restored(metrics, pushed_receipt):
    """What rose without a run would count as runs."""
    metrics.restore([pushed_receipt], {})
    runs = {key: value for key, value in scraped(metrics).items() if key[0].endswith("runs_total")}
    assert set(runs.values()) == {0}
    assert {dict(key[1:])["outcome"] for key in runs} == {*OUTCOMES, "unchanged", "held"}


def test_names_and_types_are_those_of_prometheus(metrics, pushed_receipt):
    metrics.run_ended(pushed_receipt, 0)
    metrics.serve(0)
    strict = list(
        strict_parser.text_string_to_metric_families(fetched(metrics.port, Accept=OPEN_METRICS))
    )
    assert strict
    for family in parser.text_string_to_metric_families(fetched(metrics.port)):
        assert family.name.startswith("image_pipeline_")
        assert family.documentation
        assert (family.type == "counter") == any(s.name.endswith("_total") for s in family.samples)


def test_metrics_of_two_pipelines_do_not_meet(pushed_receipt):
    one, other = Metrics("clothes"), Metrics("clothes")
    one.run_ended(pushed_receipt, 0)
    assert sample(other, "test_accuracy_ratio") is None


def test_a_port_that_is_taken_is_refused(metrics):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}.*--metrics-port") as caught:
            metrics.serve(port)
    assert caught.value.exit_code == 2


def test_an_address_that_is_none_of_this_machine_is_refused(metrics, monkeypatch):
    monkeypatch.setenv(ADDRESS_VARIABLE, "192.0.2.1")
    with pytest.raises(ConfigurationError, match=f"192.0.2.1.*{ADDRESS_VARIABLE}"):
        metrics.serve(0)


def test_only_this_machine_is_answered_unless_another_address_is_given(metrics, monkeypatch):
    metrics.serve(0)
    with pytest.raises(urllib.error.URLError):
        fetched(metrics.port, host="127.0.0.2")
    monkeypatch.setenv(ADDRESS_VARIABLE, "127.0.0.2")
    other = Metrics("clothes")
    other.serve(0)
    assert "image_pipeline_runs_total" in fetched(other.port, host="127.0.0.2")


@pytest.fixture
def server(metrics):
    """A connection to the server of the metrics."""
    metrics.serve(0)
    with socket.create_connection(("127.0.0.1", metrics.port), timeout=60) as connection:
        yield connection


@pytest.mark.parametrize("said", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"])
def test_a_client_that_falls_silent_keeps_no_thread_and_no_file(monkeypatch, request, said):
    monkeypatch.setattr("operations.notifications.metrics._Handler.most_seconds", 0.1)
    server = request.getfixturevalue("server")
    server.sendall(said)
    # The other end is closed.
    assert server.recv(1) == b""


def test_a_client_that_drips_keeps_no_thread_and_no_file(monkeypatch, request):
    monkeypatch.setattr("operations.notifications.metrics._Handler.most_seconds", 0.5)
    server = request.getfixturevalue("server")
    server.sendall(b"GET /metrics?")
    server.settimeout(0.01)
    # Each byte is well within any time limit of a socket.
    with pytest.raises(ConnectionError):
        while True:
            server.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                if not server.recv(1):
                    raise ConnectionError
    waits_until(lambda: not answering())


def test_a_client_that_goes_away_shows_nowhere(server, metrics, capfd):
    server.sendall(b"GET /metr")
    waits_until(answering)
    # Closed with a reset, as where a machine is switched off.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    waits_until(lambda: not answering())
    assert fetched(metrics.port)
    assert capfd.readouterr() == ("", "")


def answering():
    """The threads of clients; each begins some time after its client has connected."""
    return [each for each in threading.enumerate() if "process_request_thread" in each.name]


def waits_until(reached):
    while not reached():
        time.sleep(0.01)


@pytest.fixture
def served_names(metrics, whole_receipt):
    """The names of all metrics that a scheduler may serve."""
    metrics.run_ended(whole_receipt, 0)
    metrics.next_run(None)
    return {key[0] for key in scraped(metrics) if not key[0].endswith("_created")}


def expressions():
    """Those of the alerts and of the dashboard."""
    rules = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    board = dashboard()
    targets = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    variables = [variable.get("definition", "") for variable in board["templating"]["list"]]
    return [rule["expr"] for rule in rules] + targets + variables


def dashboard():
    return json.loads((DOCS / "dashboard.json").read_text(encoding="utf-8"))


def test_alerts_and_dashboard_ask_for_metrics_that_there_are(served_names):
    asked = set(re.findall(r"image_pipeline_\w+", " ".join(expressions())))
    assert asked == served_names


def test_alerts_and_dashboard_ask_for_outcomes_that_there_are():
    asked = re.findall(r'outcome=~?"([^"]*)"', " ".join(expressions()))
    assert asked
    assert {outcome for found in asked for outcome in found.split("|")} <= set(OUTCOMES)


def test_the_docs_name_every_metric(served_names):
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(image_pipeline_\w+)", text, re.MULTILINE)) == served_names


def test_each_alert_says_what_is_wrong_and_how_bad():
    (group,) = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)


def test_the_tests_of_the_alerts_expect_what_each_alert_says():
    """As promtool does; it is not on every machine."""
    (group,) = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    tests = yaml.safe_load((DOCS / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    asked = [each for test in tests for each in test["alert_rule_test"]]
    expected = {
        (each["alertname"], alert["exp_annotations"]["description"])
        for each in asked
        for alert in each.get("exp_alerts", [])
    }
    said = {(rule["alert"], rule["annotations"]["description"]) for rule in group["rules"]}
    assert expected == said


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool, of Prometheus, is not here")
def test_alerts_fire_when_they_should_and_only_then():
    command = ["promtool", "test", "rules", DOCS / "alerts_test.yml"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_panel_has_a_unit_its_own_place_and_the_chosen_data_source():
    board = dashboard()
    cells = []
    for panel in board["panels"]:
        assert panel["fieldConfig"]["defaults"]["unit"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells += [
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len(set(cells)) == len(cells)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_dashboard_can_be_imported_anywhere():
    """It has no number of another server's database, and declares the variables that it uses."""
    board = dashboard()
    assert board["id"] is None
    assert board["schemaVersion"] >= 36
    declared = {variable["name"] for variable in board["templating"]["list"]}
    used = re.findall(r"\$\{?(\w+)", json.dumps(board["panels"]))
    assert set(used) == declared
