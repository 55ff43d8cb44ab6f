"""From a file in the serving folder back to the run that made it."""

import shutil
from pathlib import Path


def test_a_served_file_leads_back_to_data_code_and_artifacts(sample_run, light_command):
    told = light_command("lineage", sample_run.export / "saved_model.pb", "--json")
    assert told.code == 0, told.errors
    found, receipt = told.json, sample_run.receipt
    assert found["version"] == receipt["pushed_version"]
    assert found["run"]["run_id"] == found["trained_by"] == receipt["run_id"]
    assert (found["served"], found["content"]) == (True, "as it was pushed")
    for key in ("data", "code", "config", "environment", "gates", "model_digest"):
        assert found[key] == receipt[key], key
    # The sample's own values are no changes.
    assert found["config_changes"] == {}
    for name, node in found["nodes"].items():
        for key, artifact in node["artifacts"].items():
            assert artifact["there"], (name, key)
            assert artifact["digest"] == receipt["digests"].get(f"{name}.{key}")
    model = Path(found["nodes"]["Trainer"]["artifacts"]["model"]["path"])
    assert (model / "golden.npz").exists()


def test_a_copy_elsewhere_is_known_by_its_content(sample_run, light_command, tmp_path):
    copy = shutil.copytree(sample_run.export, tmp_path / "copy")
    told = light_command("lineage", copy, "--output-dir", sample_run.output_dir)
    assert told.code == 0, told.errors
    assert f"{sample_run.receipt['pushed_version']}, served now" in told.output
    assert "Pushed by" in told.output
    (copy / "saved_model.pb").write_bytes(b"")
    refused = light_command("lineage", copy, "--output-dir", sample_run.output_dir)
    assert refused.code == 2
    assert refused.errors.startswith("error: no run below ")
