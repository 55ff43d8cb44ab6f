"""What is recorded of code and libraries, whatever the environment says."""

import platform
from pathlib import Path

from pipeline.installation import packages
from pipeline.records import provenance


def test_the_revision_is_that_of_the_checkout_also_in_a_hook_of_another(monkeypatch, tmp_path):
    usual = provenance.code()
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert provenance.code() == usual


def test_the_versions_name_python_and_glibc(monkeypatch):
    found = provenance.versions()
    assert found["python"] == platform.python_version()
    assert found["glibc"] == packages.dotted(packages.read_system().glibc)
    monkeypatch.setattr(packages, "glibc", lambda: None)
    assert "glibc" not in provenance.versions()


# Modules that report, record, install or name places: they change no result of a graph.
BESIDE = {
    "contexts",
    "database",
    "exclusion",
    "store_connection",
    "store_text",
    "__init__",
    "class_weights",
    "errors",
    "installation",
    "locations",
    "lock",
    "machine",
    "moments",
    "paths",
    "records",
    "streams",
}


def test_of_each_module_of_the_pipeline_it_is_known_whether_it_decides_results():
    """Whoever adds a module says so here, or adds it to the code that counts."""
    counted = {Path(place).stem for place in provenance._CODE if place.startswith("pipeline/")}
    folder = Path(provenance.__file__).parents[1]
    modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert modules - {"__pycache__"} == counted | BESIDE
    assert not counted & BESIDE
