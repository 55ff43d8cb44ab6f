"""Any of `artifacts`, `metadata.db`, `serving` and `runs` may be lost, and the next run goes on.

What is served decides with which model a new one is compared, whatever else is there.
"""

import contextlib
import itertools
import json
import shutil
from pathlib import Path

import pytest

from components.pusher import versions

PARTS = ("artifacts", "metadata.db", "serving", "runs")
# One part, or all but one: so any three of the parts are lost and left in all combinations.
LOSSES = [lost for count in (1, 3) for lost in itertools.combinations(PARTS, count)]
COMPARISON = "accuracy against the served model"

# Each test takes a run of the graph.
pytestmark = pytest.mark.slow


@contextlib.contextmanager
def changeable(run, aside):
    """The folder of a finished run, to be changed; it is put back in the end.

    In its place, since ML Metadata names the artifacts by their paths.
    """
    run.copy(aside)
    yield run.output_dir
    shutil.rmtree(run.output_dir)
    aside.rename(run.output_dir)


@pytest.fixture
def output_dir(few_run, tmp_path):
    """The folder of a run on few images."""
    with changeable(few_run, tmp_path / "aside") as folder:
        yield folder


def artifacts(root):
    """The folders of outputs, and those in which nodes worked."""
    return [
        path
        for pattern in ("artifacts/*/*/*", "artifacts/*/.system/*/*")
        for path in root.glob(pattern)
        if path.name.isdigit()
    ]


def lose(root, lost):
    for name in lost:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("lost", LOSSES, ids="+".join)
def test_whatever_is_lost_the_served_model_is_compared_with(
    few_run, few, output_dir, run_few, nodes_of, quick_command, digest_of, lost
):
    root = few_run.root
    lose(root, lost)
    left = {path: digest_of(path) for path in artifacts(root)}
    served = {path: digest_of(path) for path in (root / "serving").glob("[0-9]*")}

    run = run_few(output_dir)
    assert run.receipt["verdict"] == "pushed"

    # The comparison follows what is served, and so does drift.
    compared = nodes_of(run)["Resolver"].output("model")
    report = Path(nodes_of(run)["DataGate"].output("report").uri, "report.json").read_text()
    is_compared = COMPARISON in {gate["metric"] for gate in run.receipt["gates"]}
    assert (compared is None) == ("serving" in lost)
    assert is_compared == (compared is not None)
    assert bool(json.loads(report)["drifts"]) == (compared is not None)
    if compared:
        export = Path(compared.uri) / "Format-Serving"
        assert versions.content_digest(export) == few_run.receipt["export_digest"]

    # What is there is taken where it is known, and never overwritten.
    known = not {"artifacts", "metadata.db"} & set(lost)
    assert (run.receipt["nodes"]["Trainer"]["status"] == "cached") == known
    for path, digest in {**left, **served}.items():
        assert digest_of(path) == digest, path
    told = "metadata.db does not know: they stay as they are" in run.outcome.errors
    assert told == (lost.count("metadata.db") > lost.count("artifacts"))

    # What is kept of a version is kept of each, and the history is what is left of it.
    for version in versions.served_versions(root / "serving"):
        assert (versions.kept_folder(root / "serving", version) / "golden.npz").exists()
    listed = quick_command("runs", "--json", "--output-dir", output_dir)
    assert len(listed.json) == 2 - lost.count("runs")
    again = quick_command("run", *few, "--output-dir", output_dir)
    assert again.code == 0
    assert "Nothing changed" in again.errors


def test_a_bad_model_does_not_replace_a_good_one_though_metadata_and_artifacts_are_lost(
    sample_run, quick_command, run_graph, set_values, tmp_path
):
    output_dir = sample_run.copy(tmp_path / "outputs")
    root = output_dir / sample_run.receipt["pipeline"]
    lose(root, ("artifacts", "metadata.db"))
    bad = set_values(
        training__epochs=1, training__learning_rate=0.0001, gates__accuracy=0, gates__class_recall=0
    )
    run = run_graph(output_dir, "--data", "sample", *bad, code=3)
    assert run.receipt["verdict"] == "refused"
    assert run.evaluation["accuracy"] < sample_run.evaluation["accuracy"] - 0.1
    (gate,) = [gate for gate in run.receipt["gates"] if not gate["passed"]]
    assert gate["metric"] == COMPARISON
    version = sample_run.receipt["pushed_version"]
    assert versions.served_versions(root / "serving") == [version]


def test_a_model_is_not_judged_by_a_part_of_the_test_images(few_run, run_few, output_dir, nodes_of):
    """A cache hands out the artifact of examples, whatever is left of it."""
    other = ("--set", "training.epochs=2")
    served = versions.served_versions(few_run.root / "serving")
    examples = Path(nodes_of(few_run)["ExampleGen"].output("examples").uri)
    max((examples / "Split-test").iterdir()).unlink()
    run = run_few(output_dir, *other, code=1)
    assert "files are missing" in run.receipt["failure"]["message"]
    assert versions.served_versions(few_run.root / "serving") == served
    assert run_few(output_dir, *other, "--no-cache").receipt["verdict"] == "pushed"


def test_ml_metadata_that_is_older_than_the_artifacts_counts_on_above_them(
    few_run, run_few, output_dir, digest_of
):
    """As where `metadata.db` alone is restored from a backup."""
    root = output_dir / few_run.receipt["pipeline"]
    backup = (root / "metadata.db").read_bytes()
    run_few(output_dir, "--seed", "2")
    (root / "metadata.db").write_bytes(backup)
    left = {path: digest_of(path) for path in artifacts(root)}
    third = run_few(output_dir, "--seed", "3")
    assert COMPARISON in {gate["metric"] for gate in third.receipt["gates"]}
    assert {path: digest_of(path) for path in left} == left


@pytest.mark.slow
def test_artifacts_that_are_older_than_ml_metadata_are_made_again(
    few_run, run_few, output_dir, tmp_path
):
    """As where `artifacts` alone is restored from a backup."""
    root = output_dir / few_run.receipt["pipeline"]
    shutil.copytree(root / "artifacts", tmp_path / "backup")
    second = run_few(output_dir, "--seed", "2")
    shutil.rmtree(root / "artifacts")
    shutil.copytree(tmp_path / "backup", root / "artifacts")
    third = run_few(output_dir, "--seed", "2")
    assert third.receipt["nodes"]["Trainer"]["status"] != "cached"
    assert third.receipt["model_digest"] == second.receipt["model_digest"]


@pytest.mark.slow
def test_a_served_model_for_other_classes_is_replaced_by_a_new_line_alone(
    few_run, run_few, few, nodes_of, quick_command, output_dir
):
    root = output_dir / few_run.receipt["pipeline"]
    version = few_run.receipt["pushed_version"]
    path = root / "serving" / str(version) / "assets.extra" / "image_schema.json"
    described = json.loads(path.read_text())
    path.write_text(json.dumps({**described, "class_names": ["cat", "dog"]}))
    shutil.rmtree(root / "serving" / ".kept")
    place = ("run", *few, "--output-dir", output_dir)
    refused = quick_command(*place)
    assert refused.code == 2
    assert "in 2 classes (cat, dog)" in refused.errors

    run = run_few(output_dir, "--new-line")
    assert run.receipt["request"]["new_line"]
    assert nodes_of(run)["Resolver"].output("model") is None
    assert COMPARISON not in {gate["metric"] for gate in run.receipt["gates"]}
    assert run.receipt["pushed_version"] > version
    # From now on there is a model to compare with.
    assert quick_command(*place, "--new-line").code == 2
    assert "Nothing changed" in quick_command(*place).errors
    assert quick_command("verify", "latest", "--output-dir", output_dir).code == 0
