"""The smoke run: what it leaves behind, and that its receipt says what is true."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from components import features, image_schema
from components.pusher import versions
from pipeline import precision
from pipeline.nodes import NODES

PROJECT = Path(__file__).resolve().parents[2]
BINS = 15


@pytest.fixture(scope="module")
def class_names():
    path = PROJECT / "schema" / "schema.pbtxt"
    return image_schema.parse_schema(path.read_text(), str(path)).class_names


@pytest.fixture(scope="module")
def probabilities(sample_run, sample_images):
    """What the pushed model says of the test images; asked without any code of the project."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(sample_run.export))
    pixels = tf.constant(sample_images.test_images)
    return loaded.signatures["predict_pixels"](pixels=pixels)["probabilities"].numpy()


def test_it_ends_pushed_with_every_node_complete(sample_run):
    receipt = sample_run.receipt
    assert (receipt["status"], receipt["verdict"]) == ("completed", "pushed")
    assert receipt["failure"] is None
    assert list(receipt["nodes"]) == list(NODES)
    assert {node["status"] for node in receipt["nodes"].values()} == {"complete"}
    assert len(NODES) == 13
    assert receipt["runner"] == {
        "dag": "LocalDagRunner",
        "node": "FnApiRunner",
        "address": None,
        "workers": "this process",
    }


def test_its_receipt_has_the_promised_form(sample_run, check_receipt):
    check_receipt(sample_run.receipt)
    nodes = sample_run.receipt["nodes"]
    assert [name for name in nodes if nodes[name]["code_fingerprint"] is None] == ["Resolver"]


def test_its_receipt_names_the_precision_that_trainer_computed_in(sample_run, nodes_of):
    receipt = sample_run.receipt
    folder = Path(nodes_of(sample_run)["Trainer"].output("model_run").uri)
    report = json.loads((folder / features.TRAINING_REPORT_FILE).read_text())
    assert receipt["config"]["training"]["precision"] == "auto"
    assert receipt["precision"] == precision.resolve("auto", receipt["environment"]["cpu_features"])
    assert receipt["precision"] == report["precision"]


def test_the_smoke_network_learns_the_sample(sample_run):
    assert sample_run.evaluation["accuracy"] >= 0.90
    assert sample_run.evaluation["count"] == 1000


def test_every_gate_names_its_measure_and_passed(sample_run, class_names):
    gates = sample_run.receipt["gates"]
    assert [(gate["metric"], gate["slice"]) for gate in gates] == [
        ("accuracy", "overall"),
        *(("recall", name) for name in class_names),
    ]
    assert all(gate["passed"] and gate["value"] >= gate["threshold"] for gate in gates)


def test_the_scores_are_those_of_scikit_learn(
    sample_run, sample_images, probabilities, class_names
):
    expected = metrics.classification_report(
        sample_images.test_labels,
        probabilities.argmax(axis=1),
        target_names=class_names,
        output_dict=True,
        zero_division=0,
    )
    evaluation = sample_run.evaluation
    averages = {f"{kind} avg": evaluation[f"{kind}_avg"] for kind in ("macro", "weighted")}
    found = {**evaluation["per_class"], **averages}
    assert list(evaluation["per_class"]) == list(class_names)
    for name, scores in found.items():
        row = {key.replace("-score", ""): value for key, value in expected[name].items()}
        assert scores == pytest.approx(row, abs=1e-6), name
    assert evaluation["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-6)


def test_the_confusion_matrix_is_that_of_scikit_learn(sample_run, sample_images, probabilities):
    labels, predicted = sample_images.test_labels, probabilities.argmax(axis=1)
    confusion = sample_run.evaluation["confusion"]
    assert confusion == metrics.confusion_matrix(labels, predicted, labels=range(10)).tolist()
    supports = [scores["support"] for scores in sample_run.evaluation["per_class"].values()]
    assert [sum(row) for row in confusion] == supports


def calibration_error(probabilities, labels):
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    distances = [abs((right - confidence)[bins == number].sum()) for number in range(BINS)]
    return sum(distances) / len(right)


def test_the_calibration_error_is_that_of_fifteen_bins(sample_run, sample_images, probabilities):
    expected = calibration_error(probabilities, sample_images.test_labels)
    assert expected > 0
    assert sample_run.receipt["calibration"]["ece_after"] == pytest.approx(expected, abs=1e-6)


def test_the_error_before_is_that_of_the_softmax_alone(sample_run, nodes_of, sample_images):
    import keras

    # Loading takes the layers of the project's own, which register themselves here.
    import components.trainer.model  # noqa: F401

    model = nodes_of(sample_run)["Trainer"].output("model")
    trained = keras.models.load_model(f"{model.uri}/model.keras")
    network = trained.get_layer("network")
    pixels = sample_images.test_images.reshape(-1, 28, 28, 1).astype(np.float32) / 255
    before = keras.ops.convert_to_numpy(keras.ops.softmax(network.predict(pixels, verbose=0)))
    expected = calibration_error(before, sample_images.test_labels)
    calibration = sample_run.receipt["calibration"]
    assert calibration["temperature"] > 0
    assert calibration["label_smoothing"] == 0.1
    assert calibration["ece_before"] == pytest.approx(expected, abs=1e-3)


def test_losses_and_top_2_are_those_of_the_pushed_model(sample_run, sample_images, probabilities):
    labels = sample_images.test_labels
    own = probabilities[np.arange(len(labels)), labels]
    among_two = metrics.top_k_accuracy_score(labels, probabilities, k=2)
    assert sample_run.evaluation["cross_entropy"] == pytest.approx(-np.log(own).mean(), abs=1e-4)
    assert sample_run.evaluation["top_2_accuracy"] == pytest.approx(among_two, abs=1e-6)


def test_it_leaves_nothing_temporary_behind(sample_run):
    run_folder = sample_run.root / "runs" / sample_run.receipt["run_id"]
    assert not (run_folder / "tmp").exists()
    assert (run_folder / "log.txt").stat().st_size > 0
    serving, version = sample_run.root / "serving", sample_run.receipt["pushed_version"]
    assert versions.served_versions(serving) == [version]
    assert versions.unfinished(serving) == []


def test_it_keeps_what_a_comparison_and_a_rollback_need(sample_run):
    kept = versions.kept_folder(sample_run.root / "serving", sample_run.receipt["pushed_version"])
    assert {path.name for path in kept.iterdir()} == {
        "digests.json",
        features.GOLDEN_FILE,
        features.KERAS_MODEL_FILE,
        features.REFERENCE_STATISTICS_FILE,
        features.SEEN_IMAGES_FILE,
    }


def test_it_tells_where_it_stands_without_tracebacks(sample_run):
    errors = sample_run.outcome.errors
    assert "Traceback" not in errors
    for node in NODES:
        assert f" {node} " in errors
    assert "epoch 1 of " in errors


def test_runs_lists_it(sample_run, light_command):
    listed = light_command("runs", "--output-dir", sample_run.output_dir)
    row = next(line for line in listed.output.splitlines() if sample_run.receipt["run_id"] in line)
    assert listed.code == 0
    assert {"completed", "pushed", str(sample_run.receipt["pushed_version"])} <= set(row.split())


def test_runs_show_prints_the_latest_as_it_was_printed_then(sample_run, light_command):
    shown = light_command("runs", "show", "latest", "--output-dir", sample_run.output_dir)
    assert shown.code == 0
    assert shown.output == sample_run.outcome.output
    assert "Pushed as version" in shown.output


def test_runs_show_as_json_is_the_receipt(sample_run, light_command):
    arguments = ("--output-dir", sample_run.output_dir, "--json")
    assert light_command("runs", "show", "latest", *arguments).json == sample_run.receipt
    assert light_command("runs", "show", sample_run.receipt["run_id"], *arguments).code == 0


def test_runs_show_of_an_unknown_run_is_a_usage_error(sample_run, light_command):
    shown = light_command("runs", "show", "19990101", "--output-dir", sample_run.output_dir)
    assert shown.code == 2
    assert shown.errors.startswith("error: 0 runs ")
