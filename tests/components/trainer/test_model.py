"""The network and the classifier around it: shapes, names, precision."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from components.trainer import training
from components.trainer.augmentation import augmentation_layers
from components.trainer.model import build_classifier, build_network
from components.trainer.settings import Augmentation
from pipeline import config

PROJECT = Path(__file__).resolve().parents[3]

# How far the logits in bfloat16 may be from those in float32, as a share of the largest: its
# rounding, 2**-9, adds up over some ten layers.
BFLOAT16_TOLERANCE = 0.02

# Two steps under another backend, in a process of its own: Keras chooses it when it is imported.
STEP_UNDER_JAX = """
import json, sys
import keras, numpy as np
from components.trainer import augmentation, calibration, model, normalization, optimizer, whitening
from components.trainer.settings import Settings

network = model.build_network((8, 8, 1), 3, Settings.from_dict(json.load(sys.stdin)))
network.compile(
    optimizer.ConvolutionMuon(0.01), keras.losses.CategoricalCrossentropy(from_logits=True)
)
random = np.random.default_rng(1)
images, labels = random.random((6, 8, 8, 1), np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2] * 2]
whitening.begin(network, images)
before = network.get_weights()
# The first step changes the head alone, which begins at zero and lets nothing through.
losses = network.fit(images, labels, batch_size=6, epochs=2, verbose=0).history["loss"]
pairs = zip(before, network.get_weights(), strict=True)
changes = [float(abs(new - old).max()) for old, new in pairs]
found = {"backend": keras.backend.backend(), "losses": losses, "changes": changes}
print(json.dumps({**found, "tensorflow": "tensorflow" in sys.modules}))
"""


def pixels(*shape):
    return np.random.default_rng(1).random(shape, dtype=np.float32)


def build(settings, shape=(28, 28, 1), classes=10):
    keras.utils.set_random_seed(1)
    return build_network(shape, classes, settings)


def build_answering(settings, shape=(28, 28, 1), classes=10):
    """The same with a head that tells images apart, as it does after the first step."""
    network = build(settings, shape, classes)
    kernel, bias = network.get_layer("logits").get_weights()
    random = np.random.default_rng(2)
    drawn = [random.normal(size=weight.shape) for weight in (kernel, bias)]
    network.get_layer("logits").set_weights(drawn)
    return network


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (7, 5, 1), (1, 1, 3)])
@pytest.mark.parametrize("classes", [2, 10])
def test_images_of_any_size_become_logits_and_probabilities(
    settings, all_augmentation, shape, classes
):
    settings = dataclasses.replace(settings, augmentation=all_augmentation, label_smoothing=0.0)
    network, images = build_answering(settings, shape, classes), pixels(3, *shape)
    logits = network(images, training=False).numpy()
    assert logits.shape == (3, classes)
    assert logits.dtype == np.float32
    classifier = build_classifier(network, settings)
    answers = classifier(images, training=False).numpy()
    assert answers.shape == (3, classes)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(answers, odds / odds.sum(axis=1, keepdims=True), rtol=1e-4)


def test_every_layer_has_a_name_that_stays(settings, all_augmentation):
    """Keras numbers the layers that nobody named, on through all models of a process."""
    settings = dataclasses.replace(settings, augmentation=all_augmentation)
    first, second = (
        [layer.name for layer in build_network((28, 28, 1), 10, settings).layers] for _ in range(2)
    )
    assert first == second
    assert len(set(first)) == len(first)


def test_feature_maps_can_be_taken_by_name(settings):
    network = build(settings)
    for name in ("pixels", "whitening", "block1_conv1", "block1_add", "block2_add", "features"):
        assert network.get_layer(name) is not None
    assert network.get_layer("block2_add").output.shape == (None, 7, 7, 6)


@pytest.mark.parametrize("widths", [(4,), (4, 6), (2, 3, 4, 5, 6)])
def test_there_is_a_stage_for_each_width(settings, widths):
    network = build(dataclasses.replace(settings, widths=widths))
    found = [layer.filters for layer in network.layers if layer.name.endswith("_conv1")]
    assert found == list(widths)


def test_the_same_seed_gives_the_same_network(settings):
    first, second = build(settings), build(settings)
    np.testing.assert_equal(first.get_weights(), second.get_weights())


def test_an_untrained_network_finds_all_classes_equally_likely(settings):
    classifier = build_classifier(build(settings), settings)
    np.testing.assert_allclose(classifier(pixels(3, 28, 28, 1)), 0.1, rtol=1e-6)


def test_with_flip_averaging_an_image_and_its_mirror_image_get_one_answer(settings):
    network, images = build_answering(settings), pixels(4, 28, 28, 1)
    mirrored = images[:, :, ::-1]
    plain = build_classifier(network, settings)
    averaging = build_classifier(network, dataclasses.replace(settings, flip_averaging=True))
    assert not np.allclose(plain(images), plain(mirrored), atol=1e-4)
    np.testing.assert_allclose(averaging(images), averaging(mirrored), atol=1e-6)
    mean = (network(images, training=False) + network(mirrored, training=False)) / 2
    expected = averaging.get_layer("probabilities")(mean)
    np.testing.assert_allclose(averaging(images), expected, atol=1e-6)


@pytest.mark.parametrize("flip", [False, True])
def test_with_shift_averaging_an_answer_is_the_mean_over_moved_images(settings, flip):
    network, images = build_answering(settings), pixels(4, 28, 28, 1)
    # By a pixel along both axes; what moves in is black.
    down, up = np.zeros_like(images), np.zeros_like(images)
    down[:, 1:, 1:], up[:, :-1, :-1] = images[:, :-1, :-1], images[:, 1:, 1:]
    views = [images, down, up]
    views += [view[:, :, ::-1] for view in views] if flip else []
    averaging = dataclasses.replace(settings, flip_averaging=flip, shift_averaging=True)
    classifier = build_classifier(network, averaging)
    mean = np.mean([network(view, training=False) for view in views], axis=0)
    expected = classifier.get_layer("probabilities")(mean)
    np.testing.assert_allclose(classifier(images), expected, atol=1e-6)


def in_bfloat16(settings, all_augmentation):
    """The same network in float32 and in bfloat16, with weights that are not those of the start."""
    networks = [
        build_answering(
            dataclasses.replace(settings, precision=precision, augmentation=all_augmentation)
        )
        for precision in ("float32", "bfloat16")
    ]
    networks[0](pixels(16, 28, 28, 1), training=True)
    networks[1].set_weights(networks[0].get_weights())
    return networks


def test_in_bfloat16_the_network_answers_as_in_float32(settings, all_augmentation):
    exact, rounded = in_bfloat16(settings, all_augmentation)
    images = pixels(32, 28, 28, 1)
    expected, found = (model(images, training=False).numpy() for model in (exact, rounded))
    assert found.dtype == np.float32
    distance = np.abs(found - expected).max() / np.abs(expected).max()
    assert 0 < distance < BFLOAT16_TOLERANCE


def test_in_bfloat16_all_but_weights_augmentation_and_head_is_bfloat16(settings, all_augmentation):
    _, rounded = in_bfloat16(settings, all_augmentation)
    chosen = dataclasses.replace(settings, augmentation=all_augmentation)
    augmenting = {layer.name for layer in augmentation_layers(chosen, 1)}
    in_float32 = {"pixels", "logits"} | augmenting
    for layer in rounded.layers:
        expected = "float32" if layer.name in in_float32 else "bfloat16"
        assert layer.output.dtype == expected, layer.name
    assert {weight.dtype for weight in rounded.weights} == {"float32"}


def test_the_classifier_of_a_network_in_bfloat16_computes_in_float32(
    settings, all_augmentation, schema
):
    chosen = dataclasses.replace(
        settings, precision="bfloat16", augmentation=all_augmentation, widths=(4,)
    )
    network = build_answering(chosen, schema.shape, len(schema.class_names))
    classifier = training.build_classifier(network, chosen, schema)
    served = classifier.get_layer("network")
    assert {layer.compute_dtype for layer in (*classifier.layers, *served.layers)} == {"float32"}
    np.testing.assert_equal(served.get_weights(), network.get_weights())
    images = pixels(8, *schema.shape)
    exact = build(dataclasses.replace(chosen, precision="float32"), schema.shape, 3)
    exact.set_weights(network.get_weights())
    logits, rounded = (model(images, training=False) for model in (exact, network))
    assert not np.array_equal(logits, rounded)
    np.testing.assert_array_equal(served(images, training=False), logits)
    probabilities = classifier.get_layer("probabilities")(logits)
    np.testing.assert_array_equal(classifier(images, training=False), probabilities)


@pytest.mark.slow
def test_the_network_also_trains_under_jax(settings):
    """With the augmentation that production runs with."""
    augmentation = Augmentation(**config.load_config("default").training.augmentation.model_dump())
    chosen = dataclasses.replace(settings, widths=(4,), augmentation=augmentation)
    layers = [layer.name for layer in augmentation_layers(chosen, 1)]
    assert layers == ["flip", "shift", "erasing"]
    ended = subprocess.run(
        [sys.executable, "-c", STEP_UNDER_JAX],
        input=json.dumps(dataclasses.asdict(chosen)),
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(PROJECT)},
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["backend"] == "jax"
    assert not found["tensorflow"], "TensorFlow, and so its fused kernel, is not even imported"
    assert np.isfinite(found["losses"]).all()
    first, *others = found["changes"]
    assert first == 0, "what whitens is not trained"
    assert min(others) > 0


def test_the_network_answers_the_same_twice_and_trains_on_changed_images(
    settings, all_augmentation
):
    changing = dataclasses.replace(settings, augmentation=all_augmentation, dropout=0.0)
    network, images = build_answering(changing), pixels(4, 28, 28, 1)
    first, second = (network(images, training=False).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)
    first, second = (network(images, training=True).numpy() for _ in range(2))
    assert not np.allclose(first, second, atol=1e-6)


def test_each_image_is_answered_by_itself(settings, all_augmentation):
    """What else is in a batch does not matter when the model is asked."""
    settings = dataclasses.replace(settings, augmentation=all_augmentation)
    network, images = build_answering(settings), pixels(4, 28, 28, 1)
    together = network(images, training=False).numpy()
    alone = np.concatenate([network(image[None], training=False).numpy() for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-5)
