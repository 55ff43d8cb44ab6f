"""The exit handler of a cluster: what it says of each end, and what it does without an address.

`tests/graph/test_kubeflow.py` has it send messages to a server.
"""

import pytest
from google.protobuf import struct_pb2

from components.kubeflow.notification import AddressError, Executor, compose
from components.notifications.sending import ADDRESSES_VARIABLE

SECRET = "hunter2secret"


def properties(state, run_url=""):
    """Parameters as TFX's entry point hands them on."""
    status = struct_pb2.Struct()
    status.update({"state": state, "pipelineTaskName": "tfx-dag", "error": {}})
    return {
        "final_status": status,
        "pipeline": "clothes",
        "run_name": "nightly",
        "run": "b6f0",
        "run_url": run_url,
    }


@pytest.mark.parametrize(
    ("state", "kind", "title", "fragment"),
    [
        ("COMPLETE", "success", "clothes: SUCCEEDED", "Every node ended well"),
        ("SUCCEEDED", "success", "clothes: SUCCEEDED", "Every node ended well"),
        ("FAILED", "failure", "clothes: FAILED", "A node failed"),
        ("RUNNING", "failure", "clothes: FAILED", "was killed"),
    ],
)
def test_it_says_how_the_run_ended(state, kind, title, fragment):
    message = compose(properties(state))
    assert (message.kind, message.title) == (kind, title)
    assert fragment in message.body and "nightly (b6f0) of clothes" in message.body
    assert "Review  " not in message.body
    assert ("may have been published" in message.body) == (kind == "failure")


def test_it_names_the_run_in_the_dashboard():
    url = "https://kf.example.org/#/runs/details/"
    assert f"{url}b6f0" in compose(properties("FAILED", url)).body


@pytest.mark.parametrize("secret", ["", "# none yet", f"nosuch://{SECRET}", f"mailto://{SECRET}"])
def test_a_secret_without_a_usable_address_fails_the_node_and_is_not_repeated(
    secret, monkeypatch, caplog
):
    monkeypatch.setenv(ADDRESSES_VARIABLE, secret)
    with pytest.raises(AddressError, match="expected Apprise addresses") as caught:
        Executor().Do({}, {}, properties("COMPLETE"))
    assert SECRET not in str(caught.value) + caplog.text


def test_a_message_that_reaches_nobody_is_only_logged(monkeypatch, caplog):
    # Nothing listens on this port, and no proxy is asked.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv(ADDRESSES_VARIABLE, f"json://127.0.0.1:1/{SECRET}")
    Executor().Do({}, {}, properties("COMPLETE"))
    assert "did not reach" in caplog.text
    assert SECRET not in caplog.text
