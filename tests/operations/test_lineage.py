"""Lineage: from a version, or a file of a model, back to its run, and on to what became of it."""

import json
import shutil

import pytest

from operations import lineage, rollback
from pipeline.errors import PathError, UnknownRunError


@pytest.fixture(autouse=True)
def sound(monkeypatch):
    """Every version passes its check."""
    monkeypatch.setattr(rollback, "check_export", lambda *_: [])


@pytest.fixture
def output_dir(locations):
    return locations.root.parent


@pytest.fixture
def tell(output_dir):
    def told(subject, pipeline=None):
        return lineage.lineage(str(subject), pipeline, output_dir)

    return told


def test_a_version_leads_to_data_code_configuration_run_and_gates(past, tell):
    receipt = past.run("20260101-120000", "a")
    found = tell(receipt["pushed_version"])
    assert found["run"]["run_id"] == "20260101-120000"
    assert found["run"]["command"] == receipt["command"]
    for key in (
        "data",
        "code",
        "lock",
        "lock_sha256",
        "config",
        "gates",
        "export_digest",
        "model_digest",
    ):
        assert found[key] == receipt[key], key
    assert found["metrics"]["test_accuracy"] == receipt["test_accuracy"]
    assert found["served"]
    assert found["content"] == "as it was pushed"
    assert (found["trained_by"], found["pushed_by"]) == ("20260101-120000", "20260101-120000")
    assert (found["reused_by"], found["rollbacks"]) == ([], [])


def test_the_changes_of_the_configuration_are_those_from_the_profile(past, tell):
    """The template was made with another seed."""
    receipt = past.run("20260101-120000", "a")
    changes = tell(receipt["pushed_version"])["config_changes"]
    assert changes == {"seed": {"value": 7, "default": 1}}


def test_a_checkout_that_was_moved_is_no_change(past, tell):
    configured = {**past.template["config"], "schema_file": "/elsewhere/schema/schema.pbtxt"}
    receipt = past.run("20260101-120000", "a", config=configured)
    assert set(tell(receipt["pushed_version"])["config_changes"]) == {"seed"}


def test_artifacts_are_told_with_digest_and_place(past, tell):
    receipt = past.run("20260101-120000", "a")
    found = tell(receipt["pushed_version"])["nodes"]["Trainer"]["artifacts"]["model"]
    assert found["digest"] == receipt["digests"]["Trainer.model"]


def test_a_run_that_took_the_model_again_pushed_nothing(past, tell):
    """Its receipt names the standing version all the same."""
    first = past.run("20260101-120000", "a")
    again = past.run("20260102-120000", "a")
    assert again["pushed_version"] == first["pushed_version"]
    found = tell(first["pushed_version"])
    assert found["pushed_by"] == found["run"]["run_id"] == "20260101-120000"
    assert found["reused_by"] == ["20260102-120000"]


def test_a_model_that_was_pushed_again_names_who_trained_and_who_pushed(past, tell):
    """A, B, and A again from the cache."""
    past.run("20260101-120000", "a")
    past.run("20260102-120000", "b")
    third = past.run("20260103-120000", "a")
    found = tell(third["pushed_version"])
    assert (found["trained_by"], found["pushed_by"]) == ("20260101-120000", "20260103-120000")


def test_a_version_of_a_rollback_leads_to_the_one_it_repeats_and_its_run(past, tell, locations):
    first = past.run("20260101-120000", "a")
    second = past.run("20260102-120000", "b")
    done = rollback.rollback(locations, None)
    found = tell(done.new_version)
    assert found["run"]["run_id"] == "20260101-120000"
    assert found["served"]
    (noted,) = found["rollbacks"]
    assert noted["rolled_back_to"] == first["pushed_version"]
    for version in (first["pushed_version"], second["pushed_version"]):
        other = tell(version)
        assert not other["served"]
        assert other["served_version"] == done.new_version
        assert other["rollbacks"] == [noted]


def test_a_rollback_of_a_rollback_leads_to_the_first_run(past, tell, locations):
    past.run("20260101-120000", "a")
    past.run("20260102-120000", "b")
    first = rollback.rollback(locations, None)
    rollback.rollback(locations, first.rolled_back_from)
    last = rollback.rollback(locations, first.new_version)
    assert tell(last.new_version)["run"]["run_id"] == "20260101-120000"


@pytest.mark.parametrize("inside", [".", "saved_model.pb", "assets.extra/image_schema.json"])
def test_a_file_in_the_serving_folder_leads_back(past, tell, locations, inside):
    past.run("20260101-120000", "a")
    second = past.run("20260102-120000", "b")
    path = locations.serving / str(second["pushed_version"]) / inside
    assert tell(path) == tell(second["pushed_version"])


def test_a_path_in_another_output_folder_leads_back(past, locations, tmp_path):
    version = past.run("20260101-120000", "a")["pushed_version"]
    path = locations.serving / str(version)
    found = lineage.lineage(str(path), None, tmp_path / "elsewhere")
    assert found["run"]["run_id"] == "20260101-120000"


def test_a_copy_is_known_by_its_content(past, tell, locations, tmp_path):
    version = past.run("20260101-120000", "a")["pushed_version"]
    past.run("20260102-120000", "b")
    copy = shutil.copytree(locations.serving / str(version), tmp_path / "backup" / "model")
    assert tell(copy / "saved_model.pb") == tell(version)


def test_a_refused_model_is_known_by_its_content(past, tell):
    past.run("20260101-120000", "a", push=False)
    found = tell(past.model("a") / "Format-Serving")
    assert (found["version"], found["pushed_by"]) == (None, None)
    assert found["trained_by"] == found["run"]["run_id"] == "20260101-120000"


def test_served_files_that_were_changed_are_told(past, tell, locations):
    version = past.run("20260101-120000", "a")["pushed_version"]
    (locations.serving / str(version) / "saved_model.pb").write_text("other")
    found = tell(locations.serving / str(version))
    assert found["content"] == "changed since it was pushed"
    assert found["run"]["run_id"] == "20260101-120000"


def test_a_version_whose_files_are_gone_keeps_its_lineage(past, tell, locations):
    version = past.run("20260101-120000", "a")["pushed_version"]
    past.run("20260102-120000", "b")
    shutil.rmtree(locations.serving / str(version))
    found = tell(version)
    assert found["content"] == "removed"
    assert found["run"]["run_id"] == "20260101-120000"


def test_a_version_without_a_record_is_told_with_what_is_there(past, tell, locations):
    past.run("20260101-120000", "a")
    stray = locations.serving / "99999999999"
    stray.mkdir()
    (stray / "saved_model.pb").write_text("stray")
    found = tell(stray.name)
    assert found["served"]
    assert found["run"] is found["pushed_by"] is found["trained_by"] is None


def test_an_unknown_version_is_refused_with_those_that_are_known(past, tell):
    first = past.run("20260101-120000", "a")["pushed_version"]
    second = past.run("20260102-120000", "b")["pushed_version"]
    with pytest.raises(UnknownRunError, match=f"no version 17 .* newest first: {second}, {first}"):
        tell(17)


def test_where_nothing_was_pushed_it_is_said_so(past, tell):
    past.run("20260101-120000", "a", push=False)
    with pytest.raises(UnknownRunError, match="no model has been pushed"):
        tell(17)


@pytest.mark.parametrize("subject", ["absent", "", "-1", "../..", "²"])
def test_what_is_neither_version_nor_model_is_refused(past, tell, subject):
    past.run("20260101-120000", "a")
    with pytest.raises(UnknownRunError, match="neither the number of a version nor a path"):
        tell(subject)


def test_a_model_that_no_run_made_is_refused(past, tell, tmp_path):
    past.run("20260101-120000", "a")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "saved_model.pb").write_text("other")
    with pytest.raises(UnknownRunError, match=r"no run below .* made the model"):
        tell(tmp_path / "other")


def test_an_unknown_pipeline_is_refused(past, tell):
    past.run("20260101-120000", "a")
    with pytest.raises(UnknownRunError, match="no pipeline 'shoes'"):
        tell(17, "shoes")


def test_it_is_told_as_text_and_as_json(past, output_dir, capsys):
    version = past.run("20260101-120000", "a")["pushed_version"]
    past.run("20260102-120000", "a")
    lineage.main(str(version), None, output_dir, as_json=True)
    assert json.loads(capsys.readouterr().out) == lineage.lineage(str(version), None, output_dir)
    lineage.main(str(version), None, output_dir, as_json=False)
    told = capsys.readouterr().out
    assert f"{version}, served now" in told
    for expected in ("20260101-120000", "Taken again", "7 in place of 1", "a" * 64, "Trainer"):
        assert expected in told, expected


@pytest.mark.parametrize(("name", "fragment"), [("loop", "in a circle"), ("d" * 256, "256 bytes")])
def test_a_path_that_leads_nowhere_is_refused(name, fragment, tell, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PathError, match=fragment):
        tell(tmp_path / name)
