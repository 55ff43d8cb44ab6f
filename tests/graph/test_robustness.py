"""Robustness: measured where it is asked for, and what it refuses is not pushed."""

from pathlib import Path

import numpy as np
import pytest

from components import features
from components.robustness import corruptions
from pipeline.nodes import NODES, expected_nodes
from pipeline.records import metadata
from pipeline.records.outcomes import NodeStatus

ROBUST_NODES = list(expected_nodes(tuner=False, robustness=True))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def asked(set_values):
    """Arguments of `run` for an evaluation of robustness, with its gates."""

    def arguments(**gates):
        return set_values(robustness__enabled="true", **gates)

    return arguments


@pytest.fixture(scope="module")
def robust_run(run_few, asked, tmp_path_factory):
    """A first run: measured under corruptions, and gated by what any model reaches."""
    folder = tmp_path_factory.mktemp("robust_run")
    return run_few(folder / "outputs", *asked(robustness__accuracy_1=0.05))


@pytest.fixture(scope="module")
def ran(store_of):
    """How the nodes of a run ended, by name."""

    def read(run):
        return metadata.read_nodes(
            store_of(run), run.root.name, run.receipt["run_id"], ROBUST_NODES
        )

    return read


def refused_by(run):
    return {gate["metric"] for gate in run.receipt["gates"] if not gate["passed"]}


def blessed(nodes, name):
    return nodes[name].output("blessing").properties["blessed"] == 1


def model_of(nodes):
    return nodes["Trainer"].output("model").uri


def test_a_run_measures_no_robustness_unless_asked(few_run):
    assert few_run.receipt["robustness"] is None
    assert list(few_run.receipt["nodes"]) == list(NODES)
    assert not (few_run.root / "artifacts" / "Corruption").exists()


def test_the_receipt_has_each_corruption_beside_the_clean_images(robust_run, check_receipt):
    receipt = robust_run.receipt
    check_receipt(receipt)
    assert list(receipt["nodes"]) == ROBUST_NODES
    assert {node["status"] for node in receipt["nodes"].values()} == {"complete"}
    robustness = receipt["robustness"]
    found = {(s["corruption"], s["strength"]): s["amount"] for s in robustness}
    assert found == corruptions.amounts()
    per_class = receipt["evaluation"]["per_class"]
    supports = {name: found["support"] for name, found in per_class.items()}
    for scores in robustness:
        assert scores["count"] == receipt["evaluation"]["count"]
        assert {n: found["support"] for n, found in scores["per_class"].items()} == supports


def test_its_gates_stand_beside_those_of_the_clean_images(robust_run):
    gates = [g for g in robust_run.receipt["gates"] if g["metric"] == "accuracy under corruption"]
    assert [g["slice"] for g in gates] == [f"{c}, strength 1" for c in corruptions.CORRUPTIONS]
    assert {g["threshold"] for g in gates} == {0.05}


def test_the_accuracy_is_that_of_the_pushed_export(robust_run, few_images):
    """Asked here for the classes of the same corrupted pixels."""
    import tensorflow as tf

    export = tf.saved_model.load(str(robust_run.export))
    images = few_images.test_images[..., None]
    ids = [f"t10k-{number:08d}".encode() for number in range(len(images))]
    seed = robust_run.receipt["config"]["seed"]
    for scores in robust_run.receipt["robustness"]:
        name, strength = scores["corruption"], scores["strength"]
        pixels = corruptions.corrupt(images, ids, name, strength, seed, 0)
        answers = export.signatures["predict_pixels"](pixels=pixels)["class_id"].numpy()
        right = answers == few_images.test_labels
        # One image in 500 may lie so near the border of two classes that a sum in another order
        # decides it.
        assert scores["accuracy"] == pytest.approx(right.mean(), abs=0.0021)
        for label, found in enumerate(scores["per_class"].values()):
            of_class = right[few_images.test_labels == label]
            assert found["recall"] == pytest.approx(of_class.mean(), abs=0.021)


def test_the_clean_metrics_stay_as_they_are(robust_run, few_run):
    for key in ("accuracy", "count", "confusion", "per_class"):
        assert robust_run.evaluation[key] == few_run.evaluation[key]


def test_there_is_a_preview_for_people(robust_run, ran):
    folder = ran(robust_run)["Corruption"].output("examples").uri
    preview = np.load(Path(folder) / features.PREVIEW_FILE)
    assert preview["images"].shape == (1 + len(corruptions.amounts()), 28, 28, 1)


@pytest.fixture(scope="module")
def later_runs(robust_run, run_few, asked, set_values, tmp_path_factory):
    """Another model refused by robustness alone, then by the clean images; the first again."""
    output_dir = robust_run.copy(tmp_path_factory.mktemp("later_runs") / "outputs")
    return (
        run_few(output_dir, "--seed", "2", *asked(robustness__accuracy_3=1), code=3),
        run_few(
            output_dir,
            *("--seed", "2", *asked(robustness__accuracy_1=0.05), *set_values(gates__accuracy=1)),
            code=3,
        ),
        run_few(output_dir),
    )


def test_a_model_that_robustness_alone_refuses_is_not_pushed(later_runs, ran):
    run, *_ = later_runs
    assert (run.receipt["status"], run.receipt["verdict"]) == ("completed", "refused")
    assert refused_by(run) == {"accuracy under corruption"}
    assert run.receipt["pushed_version"] is None
    assert "noise, strength 3" in run.outcome.output
    nodes = ran(run)
    assert blessed(nodes, "Evaluator")
    assert not blessed(nodes, "RobustnessEvaluator")
    assert not blessed(nodes, "Blessing")


def test_a_model_that_the_clean_images_refuse_is_not_pushed_however_robust(later_runs, ran):
    _, run, _ = later_runs
    assert refused_by(run) == {"accuracy"}
    assert run.receipt["pushed_version"] is None
    nodes = ran(run)
    assert not blessed(nodes, "Evaluator")
    assert blessed(nodes, "RobustnessEvaluator")
    assert not blessed(nodes, "Blessing")


def test_a_model_that_either_refused_is_never_compared_with(robust_run, later_runs, ran):
    """Either evaluation blessed it, which is all that TFX's resolver looks for."""
    served = model_of(ran(robust_run))
    for run in later_runs:
        assert ran(run)["Resolver"].output("model").uri == served
    assert model_of(ran(later_runs[0])) == model_of(ran(later_runs[1])) != served
    assert later_runs[-1].outcome.code == 0
    assert later_runs[-1].receipt["pushed_version"] == robust_run.receipt["pushed_version"]


def test_without_gates_it_measures_and_refuses_nothing(few_run, run_few, asked, ran, tmp_path):
    """The first run of the pipeline was without it: only what is new runs."""
    output_dir = few_run.copy(tmp_path / "outputs")
    run = run_few(output_dir, *asked())
    assert run.receipt["verdict"] == "pushed"
    assert len(run.receipt["robustness"]) == len(corruptions.amounts())
    assert "accuracy under corruption" not in {gate["metric"] for gate in run.receipt["gates"]}
    nodes = ran(run)
    assert nodes["Trainer"].status == NodeStatus.CACHED
    assert nodes["Blessing"].output("blessing").properties["blessed"] == 1
    # TFX's Evaluator does not decide without thresholds.
    assert "blessed" not in nodes["RobustnessEvaluator"].output("blessing").properties


def test_the_second_run_corrupts_and_measures_nothing_anew(robust_run, run_few, asked, tmp_path):
    output_dir = robust_run.copy(tmp_path / "outputs")
    second = run_few(output_dir, *asked(robustness__accuracy_1=0.05))
    for node in ("Corruption", "RobustnessEvaluator"):
        assert second.receipt["nodes"][node]["status"] == "cached"
    assert second.receipt["robustness"] == robust_run.receipt["robustness"]
