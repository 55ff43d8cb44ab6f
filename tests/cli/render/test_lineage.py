"""What is printed of the lineage of a model."""

import dataclasses
import json
import shutil

import pytest

from cli.render.lineage import print_lineage
from components.quality_gates import JudgedGate
from operations import rollback
from operations.lineage import lineage


@pytest.fixture
def trace(locations):
    return lambda subject: lineage(str(subject), None, locations.root.parent)


@pytest.fixture
def lines(capsys):
    """Prints a lineage as text; returns its lines, with single spaces."""

    def printed(found):
        print_lineage(found, as_json=False)
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    return printed


@pytest.fixture
def document(capsys):
    """Prints a lineage as JSON; returns the document."""

    def printed(found):
        print_lineage(found, as_json=True)
        return json.loads(capsys.readouterr().out)

    return printed


def test_a_version_is_printed_with_its_origin(past, trace, lines, locations):
    receipt = past.run("20260101-120000", "a")
    version = str(receipt.pushed_version)
    past.run("20260102-120000", "a")
    text = "\n".join(lines(trace(version)))
    environment = receipt.environment
    file, digest = next(iter(receipt.data.sha256.items()))
    for line in (
        f"Pipeline clothes\nVersion {version}, served now",
        f"Folder {locations.serving / version}, as it was pushed",
        f"Export {receipt.export_digest}",
        "Trained by 20260101-120000\nPushed by 20260101-120000\nReused by 20260102-120000",
        f"Run 20260101-120000, pushed: {receipt.command}",
        f"Data /data\n{file} {digest}",
        f"Lock {environment.lock_name}, {environment.lock_sha256}",
        f"Python {environment.versions['python']}, on glibc {environment.versions['glibc']}",
        "Profile default\nseed 7 instead of 1\nAccuracy 0.9492 on 12,000 test images",
        "gate slice value threshold\naccuracy overall 0.9492 0.8000 passed",
        f"node status output sha256 where\nExampleGen complete examples {past.examples('a')}",
        f"Trainer complete model {'e' * 16} {past.model('a')}",
    ):
        assert f"\n{line}\n" in f"\n{text}\n"


def test_a_value_that_fails_never_looks_like_its_threshold(past, trace, lines):
    narrow = JudgedGate("accuracy", "overall", 53_999 / 60_000, 0.9, False)
    found = trace(str(past.run("20260101-120000", "a").pushed_version))
    found = dataclasses.replace(found, run=found.run.changed(gates=(narrow,)))
    assert "accuracy overall 0.89998 0.90000 refused" in lines(found)


def test_libraries_that_were_installed_by_hand_have_no_lock(past, trace, lines):
    environment = past.template.environment.model_copy(update={"lock": None})
    receipt = past.run("20260101-120000", "a", environment=environment)
    expected = f"Lock none: installed by hand, {environment.lock_sha256}"
    assert expected in lines(trace(receipt.pushed_version))


def test_a_rollback_is_printed(past, trace, lines, document, locations, sound_versions):
    first = past.run("20260101-120000", "a").pushed_version
    second = past.run("20260102-120000", "b").pushed_version
    done = rollback.rollback(locations, None)
    text = lines(trace(second))
    assert f"Version {second}, version {done.new_version} is served now" in text
    assert (
        f"Rollback {done.time} by {done.user}: from {second} back to {first}, "
        f"served again as {done.new_version}"
    ) in text
    (entry,) = document(trace(second))["rollbacks"]
    assert entry["rolled_back_to"] == first


def test_a_removed_artifact_is_printed_as_such(past, trace, lines, locations):
    receipt = past.run("20260101-120000", "a")
    shutil.rmtree(past.model("a"))
    row = f"Trainer complete model {'e' * 16}"
    assert f"{row} removed: {past.model('a')}" in lines(trace(receipt.pushed_version))
    locations.metadata.unlink()
    assert f"{row} not known to ML Metadata" in lines(trace(receipt.pushed_version))


def test_a_model_that_was_never_pushed_is_printed(past, trace, lines):
    past.run("20260101-120000", "a", push=False)
    text = lines(trace(past.model("a") / "Format-Serving"))
    assert "Version never pushed" in text
    assert "Pushed by no known run" in text


def test_the_document_has_the_parts_of_the_receipt(past, trace, document, locations):
    receipt = past.run("20260101-120000", "a")
    found, written = document(trace(receipt.pushed_version)), receipt.as_json_value()
    for key in ("data", "code", "environment", "config", "gates", "export_digest", "model_digest"):
        assert found[key] == written[key], key
    for key in ("evaluation", "calibration", "robustness"):
        assert found["metrics"][key] == written[key], key
    for key in ("run_id", "command", "host", "user", "began", "seconds", "status", "verdict"):
        assert found["run"][key] == written[key], key
    assert found["path"] == str(locations.serving / str(receipt.pushed_version))
    assert found["served"]
    assert found["config_changes"] == {"seed": {"value": 7, "default": 1}}
    assert found["nodes"]["Trainer"] == {
        **written["nodes"]["Trainer"],
        "artifacts": {
            "model": {"digest": "e" * 64, "path": str(past.model("a")), "there": True},
        },
    }


def test_the_document_is_null_where_no_run_is_known(trace, past, document, lines, locations):
    stray = locations.serving / "99999999999"
    stray.mkdir(parents=True)
    (stray / "saved_model.pb").write_text("stray")
    found = document(trace(stray.name))
    assert (found["served"], found["served_version"]) == (True, 99999999999)
    for key in ("run", "data", "environment", "config_changes", "metrics", "nodes", "gates"):
        assert found[key] is None, key
    assert lines(trace(stray.name))[-1] == "Pushed by no known run"
