"""Whether the verdict of the last completed run stands."""

import dataclasses
import shutil

import pytest

from components.example_gen.request import Part
from components.pusher import versions
from operations import changes
from pipeline import config
from pipeline.installation import packages
from pipeline.records import history, provenance


def standing_run(prepared):
    return changes.standing_run(prepared, history.receipts_of(prepared.locations))


@pytest.fixture
def serve(locations):
    """Puts versions into the serving folder."""

    def put(*numbers):
        for version in numbers:
            (locations.serving / str(version)).mkdir(parents=True)

    return put


@pytest.fixture
def pushed(pushed_receipt, prepared, keep_receipt, serve):
    """A run with the same input, whose version is served."""
    serve(17)
    return keep_receipt(
        pushed_receipt,
        input_digest=changes.input_digest(prepared),
        served_version=17,
        export_digest=versions.content_digest(prepared.locations.serving / "17"),
    )


@pytest.fixture
def refused(pushed_receipt, prepared, keep_receipt, serve):
    """A run with the same input that was refused while another version was served."""
    serve(16)
    return keep_receipt(
        pushed_receipt,
        input_digest=changes.input_digest(prepared),
        verdict="refused",
        pushed_version=None,
        served_before=16,
        served_version=16,
    )


def test_before_the_first_run_nothing_stands(prepared):
    assert standing_run(prepared) is None


def test_a_push_stands_while_nothing_changes(pushed, prepared):
    assert standing_run(prepared) == pushed


def test_a_push_stands_after_a_rollback_from_it(pushed, prepared, serve):
    serve(18)
    assert standing_run(prepared) == pushed


def test_a_push_whose_version_is_gone_does_not_stand(pushed, prepared, locations):
    shutil.rmtree(locations.serving / "17")
    assert standing_run(prepared) is None


def test_a_push_whose_version_has_other_content_does_not_stand(pushed, prepared, locations):
    (locations.serving / "17" / "saved_model.pb").write_text("another model")
    assert standing_run(prepared) is None


def test_a_refusal_stands_while_the_same_model_is_served(refused, prepared, serve):
    assert standing_run(prepared) == refused
    serve(18)
    assert standing_run(prepared) is None


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_what_did_not_come_to_its_end_has_no_verdict(
    status, pushed_receipt, prepared, keep_receipt
):
    keep_receipt(pushed_receipt, input_digest=changes.input_digest(prepared), status=status)
    assert standing_run(prepared) is None


def test_a_failure_after_it_leaves_a_verdict_standing(pushed, prepared, keep_receipt):
    keep_receipt(
        pushed, run_id="20260102-040000", status="failed", verdict="none", input_digest="0" * 64
    )
    assert standing_run(prepared) == pushed


def test_a_later_run_with_other_input_ends_it(pushed, prepared, keep_receipt):
    keep_receipt(pushed, run_id="20260102-040000", input_digest="0" * 64)
    assert standing_run(prepared) is None


def test_runs_of_another_pipeline_do_not_count(pushed, prepared):
    other = dataclasses.replace(
        prepared,
        locations=dataclasses.replace(prepared.locations, root=prepared.locations.root / "x"),
    )
    assert standing_run(other) is None


def test_a_push_stands_wherever_the_metadata_moves(pushed, prepared):
    moved = config.load_config("default", ["seed=7", "metadata.uri=postgresql://a@b/c"])
    assert standing_run(dataclasses.replace(prepared, config=moved)) == pushed


def changed_data(prepared):
    return {"data": dataclasses.replace(prepared.data, digest="f" * 64)}


def other_reference(prepared):
    """The same spans, of which another one is tested on."""
    parts = (Part("span-1", "span-1", "train"), Part("span-2", "span-2", "all"))
    request = dataclasses.replace(prepared.data.request, parts=parts)
    return {"data": dataclasses.replace(prepared.data, request=request)}


@pytest.mark.parametrize(
    "change",
    [
        lambda prepared: {"config": config.load_config("default", ["seed=8"])},
        lambda prepared: {"config": config.load_config("best", ["seed=7"])},
        lambda prepared: {
            "config": config.load_config("default", ["seed=7", "gates.accuracy=0.91"])
        },
        changed_data,
        other_reference,
        lambda prepared: {"data": dataclasses.replace(prepared.data, schema_sha256="f" * 64)},
        lambda prepared: {"precision": "bfloat16"},
    ],
    ids=["seed", "profile", "gate", "data", "reference span", "schema", "precision"],
)
def test_each_input_counts(change, pushed, prepared):
    assert standing_run(dataclasses.replace(prepared, **change(prepared))) is None


def test_another_arithmetic_counts(pushed, prepared, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert standing_run(prepared) is None


def test_where_the_schema_lies_does_not_count(pushed, prepared):
    moved = prepared.config.model_copy(update={"schema_file": "/elsewhere/schema.pbtxt"})
    assert standing_run(dataclasses.replace(prepared, config=moved)) == pushed


@pytest.fixture
def edit(monkeypatch, tmp_path):
    """Edits a file of a copy of the project, whose code then counts in place of the project's."""
    copy = tmp_path / "project"
    for folder in ("components", "pipeline"):
        shutil.copytree(provenance._ROOT / folder, copy / folder)
    monkeypatch.setattr(provenance, "_ROOT", copy)

    def edited(path):
        with (copy / path).open("a") as file:
            file.write("# edited\n")

    return edited


@pytest.mark.parametrize(
    "path",
    [
        "components/trainer/model.py",
        "pipeline/datasets/spans.py",
        "pipeline/gates.py",
        "pipeline/profiles.py",
    ],
)
def test_code_that_decides_what_is_computed_counts(path, pushed, prepared, edit):
    assert standing_run(prepared) == pushed
    edit(path)
    assert standing_run(prepared) is None


@pytest.mark.parametrize("path", ["pipeline/records/history.py", "pipeline/lock.py"])
def test_code_that_only_records_or_reports_does_not(path, pushed, prepared, edit):
    edit(path)
    assert standing_run(prepared) == pushed


@pytest.mark.parametrize("change", [{"sha256": "b" * 64}, {"python": "3.99"}])
def test_the_installed_libraries_count(change, pushed, prepared, monkeypatch):
    other = dataclasses.replace(packages.installed(), **change)
    monkeypatch.setattr(packages, "installed", lambda: other)
    assert standing_run(prepared) is None


def test_a_lock_of_the_project_that_is_not_installed_does_not_count(
    pushed, prepared, monkeypatch, tmp_path
):
    """What is computed with is what is installed, until `make setup` installs the new lock."""
    monkeypatch.setattr(packages, "FOLDER", tmp_path)
    for lock in packages.LOCKS:
        lock.file.write_text("another==1.0\n")
    assert standing_run(prepared) == pushed
