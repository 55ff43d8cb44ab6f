"""The code changes while a run is at work, as by `git pull`: no result gets the name of other code.

Where a whole run is too slow, something stands in for the reading of the data and for the graph.
"""

import pytest

from operations import run
from operations.notifications.notifying import Notifier
from pipeline.errors import CodeChangedError
from pipeline.records import history, provenance

SPLIT = "components/example_gen/split.py"


@pytest.fixture
def checkout(project_copy, monkeypatch):
    """A copy of the sources to edit, which this process takes for its own."""
    monkeypatch.setattr(provenance, "_ROOT", project_copy)
    provenance.code_at_start.cache_clear()
    yield project_copy
    provenance.code_at_start.cache_clear()


@pytest.fixture
def run_with(monkeypatch, prepared, request_, progress):
    """Runs with something that happens while the data is read, and while the graph is built."""

    def start(reading=lambda: None, building=lambda: None):
        def prepare(*_):
            reading()
            return prepared

        def build(_):
            building()
            raise ValueError("the end of the test")

        prepared.locations.root.mkdir(parents=True, exist_ok=True)
        # TensorFlow takes its threads once in a process, which other tests may have done.
        monkeypatch.setattr(run.threads, "share", lambda *_: None)
        monkeypatch.setattr(run, "prepare", prepare)
        monkeypatch.setattr(run._Run, "_graph", build)
        return run.run(request_, progress, Notifier([], None))

    return start


def edit(file):
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as source:
        source.write("# An edit.\n")


CHANGES = {
    "an edit": lambda root: edit(root / SPLIT),
    "an edit of what builds the graph": lambda root: edit(root / "pipeline" / "dag.py"),
    "a new module": lambda root: edit(root / "components" / "new.py"),
    "a module less": lambda root: (root / SPLIT).unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_run_begins_where_the_code_changed_while_the_data_was_read(
    change, run_with, checkout, output_dir
):
    with pytest.raises(CodeChangedError, match=r"changed while .*; expected .* run again") as error:
        run_with(reading=lambda: CHANGES[change](checkout))
    assert error.value.exit_code == 1
    assert history.read_receipts(output_dir) == []


def test_code_that_changed_while_the_data_was_read_has_no_standing_run(
    run_with, checkout, monkeypatch
):
    """A receipt of the new code says nothing of what the old one has read."""
    monkeypatch.setattr(run.changes, "standing_run", lambda *_: pytest.fail("it was asked for"))
    with pytest.raises(CodeChangedError, match="changed while the command was at work"):
        run_with(reading=lambda: edit(checkout / SPLIT))


def test_no_graph_runs_where_the_code_changed_while_it_was_built(run_with, checkout):
    """The change is told, also where the graph could not be built for it."""
    receipt = run_with(building=lambda: edit(checkout / SPLIT))
    assert (receipt.status, receipt.verdict, receipt.exit_code) == ("failed", "none", 1)
    assert receipt.failure.message.startswith("the code of the project changed while")


def test_what_no_node_runs_may_change_meanwhile(run_with, checkout):
    components = checkout / "components"

    def update():
        edit(checkout / "docs" / "operations.md")
        edit(checkout / "tests" / "test_new.py")
        edit(checkout / "benchmarks" / "scale.py")
        # A message of a command.
        edit(checkout / "cli" / "running.py")
        # The same content again.
        (checkout / SPLIT).write_bytes((checkout / SPLIT).read_bytes())
        edit(components / "__pycache__" / "files.cpython-313.pyc")
        # What Emacs, Vim and Jupyter leave beside a file.
        (components / ".#files.py").symlink_to("me@host.7")
        edit(components / "files.py~")
        edit(components / ".ipynb_checkpoints" / "files-checkpoint.py")

    assert run_with(reading=update).failure.message == "the end of the test"


def test_the_message_names_what_changed(run_with, checkout):
    def update():
        edit(checkout / SPLIT)
        edit(checkout / "pipeline" / "dag.py")

    with pytest.raises(CodeChangedError, match=rf"\({SPLIT} and 1 more\)"):
        run_with(reading=update)


def test_a_process_that_has_imported_the_code_does_not_run_again_after_a_change(run_with, checkout):
    """As in a notebook: its modules are still those of before."""
    run_with()
    edit(checkout / SPLIT)
    with pytest.raises(CodeChangedError, match="changed while the command was at work"):
        run_with()


# Edits a module of the checkout when `run` begins to import what it computes with.
EDITED_DURING_IMPORTS = f"""
import sys

class Editing:
    def find_spec(self, name, path=None, target=None):
        if name == "operations.preparation":
            open("{SPLIT}", "a").write("# An edit.\\n")

sys.meta_path.insert(0, Editing())
sys.argv = ["pipeline_runner.py", "run", "--data", "sample", "--output-dir", "outputs"]
from cli.main import main
main()
"""


def test_a_change_while_the_code_is_imported_is_found(python, project_copy):
    ended = python("-c", EDITED_DURING_IMPORTS, cwd=project_copy, PYTHONPATH=str(project_copy))
    assert ended.returncode == 1
    assert f"changed while the command was at work ({SPLIT})" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (project_copy / "outputs").exists()
