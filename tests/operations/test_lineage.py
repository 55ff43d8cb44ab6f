"""Lineage: from a version, or a file of a model, back to its run, and on to what became of it."""

import shutil

import pytest

from components.pusher import versions
from operations import lineage, rollback
from pipeline.errors import PathError, UnknownRunError

pytestmark = pytest.mark.usefixtures("sound_versions")


@pytest.fixture
def trace(output_dir):
    return lambda subject, pipeline=None: lineage.lineage(str(subject), pipeline, output_dir)


def test_a_version_leads_to_its_run_and_so_to_data_code_configuration_and_gates(past, trace):
    receipt = past.run("20260101-120000", "a")
    found = trace(receipt.pushed_version)
    assert found.run == receipt
    assert found.export_digest == receipt.export_digest
    assert found.is_served
    assert found.content == "as it was pushed"
    assert (found.trained_by, found.pushed_by) == ("20260101-120000", "20260101-120000")
    assert (found.reused_by, found.rollbacks) == ((), ())


def test_the_changes_of_the_configuration_are_those_from_the_profile(past, trace):
    """The template was made with another seed."""
    receipt = past.run("20260101-120000", "a")
    assert trace(receipt.pushed_version).config_changes == {"seed": lineage.Change(7, 1)}


def test_a_change_in_a_section_is_named_by_its_dotted_key(past, trace):
    config = past.template.config
    augmentation = {**config["training"]["augmentation"], "flip": False}
    training = {**config["training"], "augmentation": augmentation}
    receipt = past.run("20260101-120000", "a", config={**config, "training": training})
    changes = trace(receipt.pushed_version).config_changes
    assert changes["training.augmentation.flip"] == lineage.Change(False, True)
    assert set(changes) == {"seed", "training.augmentation.flip"}


def test_all_values_are_changes_where_the_profile_is_gone(past, trace):
    receipt = past.run("20260101-120000", "a", config={**past.template.config, "profile": "gone"})
    changes = trace(receipt.pushed_version).config_changes
    assert changes["training.augmentation.flip"] == lineage.Change(True, None)
    assert {"profile", "schema_file"}.isdisjoint(changes)


def test_a_checkout_that_was_moved_is_no_change(past, trace):
    config = {**past.template.config, "schema_file": "/elsewhere/schema/schema.pbtxt"}
    receipt = past.run("20260101-120000", "a", config=config)
    assert set(trace(receipt.pushed_version).config_changes) == {"seed"}


def test_artifacts_have_digest_and_place(past, trace):
    receipt = past.run("20260101-120000", "a")
    found = trace(receipt.pushed_version).artifacts["Trainer"]["model"]
    assert found.digest == receipt.digests["Trainer.model"]
    assert found.path == str(past.model("a"))
    assert found.there
    shutil.rmtree(found.path)
    removed = trace(receipt.pushed_version).artifacts["Trainer"]["model"]
    assert (removed.path, removed.there) == (found.path, False)


def test_without_ml_metadata_an_artifact_still_has_its_digest(past, trace, locations):
    receipt = past.run("20260101-120000", "a")
    locations.metadata.unlink()
    found = trace(receipt.pushed_version).artifacts["Trainer"]["model"]
    assert found == lineage.Artifact(receipt.digests["Trainer.model"], None, False)


def test_a_run_that_took_the_model_again_pushed_nothing(past, trace):
    """Its receipt names the standing version all the same."""
    first = past.run("20260101-120000", "a")
    again = past.run("20260102-120000", "a")
    assert again.pushed_version == first.pushed_version
    found = trace(first.pushed_version)
    assert found.pushed_by == found.run.run_id == "20260101-120000"
    assert found.reused_by == ("20260102-120000",)


def test_a_model_that_was_pushed_again_names_who_trained_and_who_pushed(past, trace):
    """A, B, and A again from the cache."""
    past.run("20260101-120000", "a")
    past.run("20260102-120000", "b")
    third = past.run("20260103-120000", "a")
    found = trace(third.pushed_version)
    assert (found.trained_by, found.pushed_by) == ("20260101-120000", "20260103-120000")


def test_a_version_of_a_rollback_leads_to_the_one_it_repeats_and_its_run(past, trace, locations):
    first = past.run("20260101-120000", "a")
    second = past.run("20260102-120000", "b")
    done = rollback.rollback(locations, None)
    found = trace(done.new_version)
    assert found.run.run_id == "20260101-120000"
    assert found.is_served
    assert found.rollbacks == (done,)
    assert done.rolled_back_to == first.pushed_version
    for version in (first.pushed_version, second.pushed_version):
        other = trace(version)
        assert not other.is_served
        assert other.served_version == done.new_version
        assert other.rollbacks == (done,)


def test_a_rollback_of_a_rollback_leads_to_the_first_run(past, trace, locations):
    past.run("20260101-120000", "a")
    past.run("20260102-120000", "b")
    first = rollback.rollback(locations, None)
    rollback.rollback(locations, first.rolled_back_from)
    last = rollback.rollback(locations, first.new_version)
    assert trace(last.new_version).run.run_id == "20260101-120000"


@pytest.mark.parametrize("inside", [".", "saved_model.pb", "assets.extra/image_schema.json"])
def test_a_file_in_the_serving_folder_leads_back(past, trace, locations, inside):
    past.run("20260101-120000", "a")
    second = past.run("20260102-120000", "b")
    path = locations.serving / str(second.pushed_version) / inside
    assert trace(path) == trace(second.pushed_version)


def test_a_path_in_another_output_folder_leads_back(past, locations, tmp_path):
    version = past.run("20260101-120000", "a").pushed_version
    path = locations.serving / str(version)
    found = lineage.lineage(str(path), None, tmp_path / "elsewhere")
    assert found.run.run_id == "20260101-120000"


def test_a_version_in_a_serving_folder_that_is_a_link_leads_back(past, trace, locations, tmp_path):
    """By its place, not by its content, which an earlier version has too."""
    past.run("20260101-120000", "a")
    past.run("20260102-120000", "b")
    locations.serving.rename(tmp_path / "models")
    locations.serving.symlink_to(tmp_path / "models")
    done = rollback.rollback(locations, None)
    found = trace(locations.serving / str(done.new_version))
    assert found.version == done.new_version
    assert found == trace(done.new_version)


def test_a_copy_is_known_by_its_content(past, trace, locations, tmp_path):
    version = past.run("20260101-120000", "a").pushed_version
    past.run("20260102-120000", "b")
    copy = shutil.copytree(locations.serving / str(version), tmp_path / "backup" / "model")
    assert trace(copy / "saved_model.pb") == trace(version)


def test_a_refused_model_is_known_by_its_content(past, trace):
    past.run("20260101-120000", "a", push=False)
    found = trace(past.model("a") / "Format-Serving")
    assert (found.version, found.pushed_by) == (None, None)
    assert found.trained_by == found.run.run_id == "20260101-120000"


def test_served_files_that_were_changed_are_told(past, trace, locations):
    version = past.run("20260101-120000", "a").pushed_version
    (locations.serving / str(version) / "saved_model.pb").write_text("other")
    found = trace(locations.serving / str(version))
    assert found.content == "changed since it was pushed"
    assert found.run.run_id == "20260101-120000"


def test_a_version_whose_files_are_gone_keeps_its_lineage(past, trace, locations):
    version = past.run("20260101-120000", "a").pushed_version
    past.run("20260102-120000", "b")
    shutil.rmtree(locations.serving / str(version))
    found = trace(version)
    assert found.content == "removed"
    assert found.run.run_id == "20260101-120000"


def test_a_version_without_a_record_is_told_with_what_is_there(past, trace, locations):
    past.run("20260101-120000", "a")
    stray = locations.serving / "99999999999"
    stray.mkdir()
    (stray / "saved_model.pb").write_text("stray")
    found = trace(stray.name)
    assert found.is_served
    assert found.run is found.pushed_by is found.trained_by is None


def test_a_run_that_was_cut_off_after_its_push_is_known_by_its_version(past, trace, locations):
    """Its receipt has no digest of the export."""
    version = past.run("20260101-120000", "a", export_digest=None).pushed_version
    found = trace(version)
    assert found.run.run_id == found.pushed_by == "20260101-120000"
    assert found.export_digest == versions.content_digest(locations.serving / str(version))


def test_an_unknown_version_is_refused_with_those_that_are_known(past, trace):
    first = past.run("20260101-120000", "a").pushed_version
    second = past.run("20260102-120000", "b").pushed_version
    with pytest.raises(UnknownRunError, match=f"no version 17 .* newest first: {second}, {first}"):
        trace(17)


def test_where_nothing_was_pushed_it_is_said_so(past, trace):
    past.run("20260101-120000", "a", push=False)
    with pytest.raises(UnknownRunError, match="no model has been pushed"):
        trace(17)


@pytest.mark.parametrize("subject", ["absent", "", "-1", "../..", "²"])
def test_what_is_neither_version_nor_model_is_refused(past, trace, subject):
    past.run("20260101-120000", "a")
    with pytest.raises(UnknownRunError, match="neither the number of a version nor a path"):
        trace(subject)


def test_a_model_that_no_run_made_is_refused(past, trace, tmp_path):
    past.run("20260101-120000", "a")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "saved_model.pb").write_text("other")
    with pytest.raises(
        UnknownRunError, match=r"no run below .* made the model .* Try another --out"
    ):
        trace(tmp_path / "other")


def test_an_unknown_pipeline_is_refused(past, trace):
    past.run("20260101-120000", "a")
    with pytest.raises(UnknownRunError, match="no pipeline 'shoes'"):
        trace(17, "shoes")


@pytest.mark.parametrize(
    ("name", "fragment"), [("loop", "circular symbolic links"), ("d" * 256, "256 bytes")]
)
def test_a_path_that_leads_nowhere_is_refused(name, fragment, trace, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PathError, match=fragment):
        trace(tmp_path / name)
