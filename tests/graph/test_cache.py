"""What runs again and what does not: the same run twice, edited code, changed data."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from components.pusher.versions import served_versions
from pipeline.installation import packages
from pipeline.nodes import NODES

PROJECT = Path(__file__).resolve().parents[2]


def ran_anew(receipt):
    assert all(node["status"] in ("complete", "cached") for node in receipt["nodes"].values())
    return {name for name, node in receipt["nodes"].items() if node["status"] != "cached"}


def served(run):
    return served_versions(run.root / "serving")


@pytest.fixture(scope="module")
def settled_run(few_run, run_few, tmp_path_factory):
    """A second run on a copy of the first: the model that the first pushed is served now."""
    return run_few(few_run.copy(tmp_path_factory.mktemp("settled") / "outputs"))


@pytest.mark.slow
def test_the_second_run_computes_what_depends_on_the_served_model_alone(settled_run, few_run):
    # The first run compared with nothing, this one has a served model to compare with.
    judged_anew = {"Predictions", "Evaluator", "Blessing", "Pusher"}
    assert ran_anew(settled_run.receipt) == {"Resolver", "DataGate"} | judged_anew
    gates = {gate["metric"]: gate for gate in settled_run.receipt["gates"]}
    assert gates["accuracy against the served model"]["value"] == 0
    assert settled_run.evaluation["accuracy"] == few_run.evaluation["accuracy"]


@pytest.mark.slow
def test_the_second_run_pushes_no_second_copy(settled_run, few_run):
    assert settled_run.receipt["verdict"] == "pushed"
    assert settled_run.receipt["pushed_version"] == few_run.receipt["pushed_version"]
    assert served(settled_run) == [few_run.receipt["pushed_version"]]


@pytest.fixture(scope="module")
def third_run(settled_run, run_few):
    """A run in the same folder, after which nothing is left to compute."""
    return run_few(settled_run.output_dir)


@pytest.mark.slow
def test_the_third_run_computes_nothing(third_run, settled_run, few_run):
    assert ran_anew(third_run.receipt) == set()
    assert third_run.receipt["run_id"] > settled_run.receipt["run_id"]
    for key in ("verdict", "pushed_version", "evaluation", "model_digest"):
        assert third_run.receipt[key] == settled_run.receipt[key], key
    assert served(third_run) == [few_run.receipt["pushed_version"]]


@pytest.mark.slow
def test_another_gate_evaluates_anew_and_trains_nothing(third_run, run_few):
    changed = run_few(third_run.output_dir, "--set", "gates.accuracy=0.01")
    assert ran_anew(changed.receipt) == {"Evaluator", "Blessing", "Pusher"}
    assert changed.receipt["gates"][0]["threshold"] == 0.01


JUDGED_ANEW = {"Evaluator", "Blessing", "Pusher"}
TRAINED_ANEW = {"Trainer", "ServingCheck", "Predictions"} | JUDGED_ANEW


EDITS = {
    "components/trainer/model.py": TRAINED_ANEW,
    "components/transform.py": {"Transform"} | TRAINED_ANEW,
    "components/data_gate/checks.py": {"DataGate"},
    "components/serving_check/probe.py": {"ServingCheck", "Pusher"},
    "components/evaluation_metrics.py": JUDGED_ANEW,
    "pipeline/runners/engine.py": set(),
}


@pytest.mark.slow
@pytest.mark.parametrize("file", EDITS)
def test_an_edit_runs_anew_what_it_may_change(
    file, settled_run, run_few, few, command, project_copy, tmp_path
):
    """A comment is edit enough: the cache cannot know that nothing changed."""
    output_dir = settled_run.copy(tmp_path / "outputs")
    # The place of the serving folder is a parameter: here the Pusher has not been yet.
    run_few(output_dir)
    with (project_copy / file).open("a") as source:
        source.write("# An edit.\n")
    outcome = command(
        *("run", *few, "--output-dir", output_dir),
        # The path of the schema is a parameter too.
        *("--set", f"schema_file={PROJECT / 'schema' / 'schema.pbtxt'}"),
        root=project_copy,
    )
    assert outcome.code == 0, outcome.errors
    shown = command("runs", "show", "latest", "--json", "--output-dir", output_dir)
    assert ran_anew(shown.json) == EDITS[file]


@pytest.fixture
def other_environment(tmp_path):
    """The Python of an environment with the same libraries, which says that its lock is another."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    place = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    libraries = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (Path(place) / "libraries.pth").write_text(libraries)
    record = folder / packages.RECORDS / packages.NEWER.name
    record.parent.mkdir()
    record.write_text("another==1.0\n")
    return python


@pytest.mark.slow
def test_another_installed_lock_runs_everything_anew(
    settled_run, run_few, few, command, other_environment, tmp_path
):
    output_dir = settled_run.copy(tmp_path / "outputs")
    run_few(output_dir)
    outcome = command("run", *few, "--output-dir", output_dir, python=other_environment)
    assert outcome.code == 0, outcome.errors
    shown = command("runs", "show", "latest", "--json", "--output-dir", output_dir)
    assert ran_anew(shown.json) == set(NODES) - {"Resolver"}
    assert shown.json["environment"]["lock"] == packages.NEWER.name


@pytest.mark.slow
def test_one_changed_pixel_runs_everything_but_the_schema_anew(
    few_images, run_graph, undemanding, tmp_path
):
    """The file keeps its name, its size and, as far as anybody can tell, its date."""
    folder = few_images.write(tmp_path / "data")
    for _ in range(2):
        before = run_graph(tmp_path / "outputs", *undemanding(folder))
    images = few_images.train_images.copy()
    images[17, 14, 14] ^= 1
    few_images.change(train_images=images).write(folder)
    changed = run_graph(tmp_path / "outputs", *undemanding(folder))
    assert ran_anew(changed.receipt) == set(NODES) - {"ImportSchemaGen", "Resolver"}
    assert changed.receipt["data"]["sha256"] != before.receipt["data"]["sha256"]
