"""The answers that a run keeps are those of the models that it judged."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from components import features

RUN_FEATURES = ("augmented.npz", "feature_maps.npz")


def predictions(run, nodes_of):
    uri = nodes_of(run)["Predictions"].output("predictions").uri
    return pq.read_table(f"{uri}/{features.PREDICTIONS_FILE}")


def answers(table, name):
    return np.stack(table.column(name).to_pandas())


def test_the_report_of_the_answers_is_that_of_the_receipt(sample_run, nodes_of):
    table = predictions(sample_run, nodes_of)
    labels, chosen = table.column("label").to_numpy(), answers(table, "candidate").argmax(axis=1)
    receipt = sample_run.receipt
    assert metrics.confusion_matrix(labels, chosen).tolist() == receipt["evaluation"]["confusion"]
    assert metrics.accuracy_score(labels, chosen) == pytest.approx(
        receipt["evaluation"]["accuracy"]
    )
    right = answers(table, "candidate")[np.arange(len(labels)), labels].astype(float)
    # Keras, which TFMA asks, moves probabilities away from 0 and 1 by a little.
    assert -np.log(right).mean() == pytest.approx(receipt["evaluation"]["cross_entropy"], abs=1e-5)
    assert table.column("baseline").null_count == table.num_rows


def test_the_answers_are_those_of_the_pushed_export(sample_run, nodes_of):
    import tensorflow as tf

    table = predictions(sample_run, nodes_of)
    shape = json.loads(table.schema.metadata[b"image_shape"])
    images = np.stack([np.frombuffer(b, np.uint8) for b in table.column("image").to_pylist()[:50]])
    export = tf.saved_model.load(str(sample_run.export))
    answered = export.signatures["predict_pixels"](pixels=images.reshape(-1, *shape))
    expected = answered["probabilities"].numpy()
    np.testing.assert_allclose(answers(table, "candidate")[:50], expected, atol=1e-6)


def test_the_images_are_those_of_the_test_files(sample_run, sample_images, nodes_of):
    table = predictions(sample_run, nodes_of)
    kept = [np.frombuffer(b, np.uint8) for b in table.column("image").to_pylist()]
    assert np.array_equal(np.stack(kept), sample_images.test_images.reshape(len(kept), -1))
    assert table.column("label").to_pylist() == sample_images.test_labels.tolist()


def test_a_run_keeps_augmented_images_and_feature_maps(sample_run, nodes_of):
    uri = nodes_of(sample_run)["Trainer"].output("model_run").uri
    augmented, maps = (np.load(f"{uri}/{name}") for name in RUN_FEATURES)
    classes = len(sample_run.evaluation["per_class"])
    assert augmented["originals"].shape == (classes, 28, 28, 1)
    assert augmented["augmented"].shape[0] == classes
    changed = augmented["augmented"] != augmented["originals"][:, None]
    assert changed.any(axis=(1, 2, 3, 4)).all()
    assert list(maps["blocks"]) == ["block1", "block2", "block3"]
    assert [maps[block].shape[2:] for block in maps["blocks"]] == [(14, 14), (7, 7), (4, 4)]
    assert maps["block1"].dtype == np.uint8
    assert len(maps["ids"]) == len(maps["images"]) == len(maps["block1"]) == classes


@pytest.mark.slow
def test_the_second_run_has_the_answers_of_the_served_model_too(run_few, nodes_of, tmp_path):
    outputs = tmp_path / "outputs"
    first = run_few(outputs)
    second = run_few(outputs, "--seed", "7")
    before, now = predictions(first, nodes_of), predictions(second, nodes_of)
    served = answers(now, "baseline")
    np.testing.assert_allclose(served, answers(before, "candidate"), atol=1e-6)
    assert not np.allclose(served, answers(now, "candidate"), atol=1e-3)
