"""One preparation of images: eagerly, through Transform's graph and inside the export."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components import transform
from pipeline.nodes import NODES
from pipeline.records import metadata

SHAPE = (28, 28, 1)


@pytest.fixture(scope="module")
def nodes(sample_run):
    store = metadata.open_store(sample_run.root / "metadata.db")
    return metadata.read_nodes(
        store, sample_run.root.name, sample_run.receipt["run_id"], list(NODES)
    )


@pytest.fixture(scope="module")
def images(sample_images):
    """Images of the sample, and one that holds every value a byte may have."""
    every_value = np.arange(28 * 28).astype(np.uint8).reshape(1, 28, 28)
    return np.concatenate([sample_images.test_images[:50], every_value])


@pytest.fixture(scope="module")
def raw(images):
    return {"image": tf.constant([[image.tobytes()] for image in images])}


@pytest.fixture(scope="module")
def eager(raw):
    return transform.preprocessing_fn(raw, SHAPE)["image"].numpy()


def test_it_scales_bytes_to_at_most_one(eager, images):
    assert eager.dtype == np.float32
    np.testing.assert_allclose(eager[..., 0], images / 255, rtol=0, atol=1e-7)
    assert (eager.min(), eager.max()) == (0.0, 1.0)


def test_the_graph_of_transform_gives_the_same_bits(eager, raw, nodes):
    output = tft.TFTransformOutput(nodes["Transform"].output("transform_graph").uri)
    transformed = output.transform_features_layer()(raw)
    assert set(transformed) == {"image"}
    np.testing.assert_array_equal(transformed["image"].numpy(), eager)


def test_the_graph_of_transform_scales_pixels_as_the_export_does(eager, images):
    """By the one function, which the export calls for pixels that never were bytes."""
    scaled = transform.scaled(tf.constant(images[..., np.newaxis]))
    np.testing.assert_array_equal(scaled.numpy(), eager)


def test_the_export_prepares_images_as_training_did(eager, images, nodes, sample_run):
    """The Keras model on images prepared eagerly answers as the export does on raw bytes."""
    import keras

    # Loading takes the layers of the project's own, which register themselves here.
    import components.trainer.model  # noqa: F401

    trained = keras.models.load_model(f"{nodes['Trainer'].output('model').uri}/model.keras")
    export = tf.saved_model.load(str(sample_run.export))
    answer = export.signatures["predict_pixels"](pixels=tf.constant(images))["probabilities"]
    np.testing.assert_allclose(answer.numpy(), trained(eager, training=False), atol=1e-5)
