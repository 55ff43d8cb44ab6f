"""The fingerprint of a node: it follows the node's own code, and no other."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from pipeline import fingerprint
from pipeline.installation.packages import Packages

PROJECT = Path(__file__).resolve().parents[2]
LIBRARIES = Packages("3.12", "glibc-2.39.txt", "a" * 64)
TRAINER = ("components.trainer.training",)
TRAINER_FILES = (
    "components/__init__.py",
    "components/examples.py",
    "components/features.py",
    "components/image_schema.py",
    "components/trainer/__init__.py",
    "components/trainer/callbacks.py",
    "components/trainer/export.py",
    "components/trainer/model.py",
    "components/trainer/settings.py",
    "components/trainer/training.py",
)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A copy of the project's sources, which a test may change."""
    folder = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("components", "pipeline"):
        shutil.copytree(PROJECT / name, folder / name, ignore=ignored)
    monkeypatch.setattr(fingerprint, "_ROOT", folder)
    return folder


def fingerprint_of(modules, **changes):
    return fingerprint.Sources(dataclasses.replace(LIBRARIES, **changes)).fingerprint(modules)


def files_that_count(root, modules):
    """The files of the project whose change changes the fingerprint."""
    before = fingerprint_of(modules)
    found = []
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        path.write_bytes(content + b"\n# changed\n")
        if fingerprint_of(modules) != before:
            found.append(path.relative_to(root).as_posix())
        path.write_bytes(content)
    assert fingerprint_of(modules) == before
    return found


def test_the_trainer_depends_on_all_that_it_imports_and_on_nothing_else(root):
    found = files_that_count(root, TRAINER)
    assert set(TRAINER_FILES) <= set(found)
    other_nodes = (
        "data_gate",
        "evaluation_metrics",
        "example_gen",
        "pusher",
        "serving_check",
        "tuner",
    )
    others = ("pipeline/", *(f"components/{name}" for name in other_nodes))
    assert not [path for path in found if path.startswith(others)]


def test_the_tuner_depends_on_its_search_and_on_the_training(root):
    found = files_that_count(root, ("components.tuner.search",))
    assert {"components/tuner/search.py", "components/trainer/model.py"} <= set(found)


def test_the_data_gate_does_not_depend_on_the_network(root):
    found = files_that_count(root, ("components.data_gate.component",))
    assert {"components/data_gate/checks.py", "components/data_gate/executor.py"} <= set(found)
    assert not [path for path in found if path.startswith("components/trainer/")]


def test_code_that_is_imported_by_way_of_another_module_counts(root):
    (root / "components" / "first.py").write_text("from components import second\n")
    (root / "components" / "second.py").write_text("import components.third\n")
    (root / "components" / "third.py").write_text("VALUE = 1\n")
    assert {"components/second.py", "components/third.py"} <= set(
        files_that_count(root, ("components.first",))
    )


def test_code_that_is_imported_inside_a_function_counts(root):
    (root / "components" / "first.py").write_text(
        "def load():\n    from components.second import VALUE\n\n    return VALUE\n"
    )
    (root / "components" / "second.py").write_text("VALUE = 1\n")
    assert "components/second.py" in files_that_count(root, ("components.first",))


def test_modules_that_import_each_other_come_to_an_end(root):
    (root / "components" / "first.py").write_text("import components.second\n")
    (root / "components" / "second.py").write_text("import components.first\n")
    assert fingerprint_of(("components.first",)) != fingerprint_of(("components.features",))


@pytest.mark.parametrize("change", [{"sha256": "b" * 64}, {"python": "3.11"}])
def test_other_libraries_count(root, change):
    """The same lock has other versions for another Python."""
    assert fingerprint_of(TRAINER, **change) != fingerprint_of(TRAINER)


def test_a_renamed_file_counts(root):
    for name in ("first", "second"):
        (root / "components" / f"{name}.py").write_text("VALUE = 1\n")
    first, second = (fingerprint_of((f"components.{name}",)) for name in ("first", "second"))
    assert first != second


def test_the_place_of_the_project_does_not_count(root):
    """Two checkouts of the same code share their cache."""
    copied = fingerprint_of(TRAINER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "_ROOT", PROJECT)
        assert fingerprint_of(TRAINER) == copied


def test_a_combined_name_follows_every_part():
    names = [
        fingerprint.combined({"a": 1, "b": 2}, "x"),
        fingerprint.combined({"a": 1, "b": 3}, "x"),
        fingerprint.combined({"a": 1, "b": 2}, "y"),
    ]
    assert len(set(names)) == 3
    assert fingerprint.combined({"b": 2, "a": 1}, "x") == names[0]
