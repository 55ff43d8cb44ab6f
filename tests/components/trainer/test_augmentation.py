"""Augmentation: what each change does to pixels, in training alone."""

import colorsys
import dataclasses
import hashlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer import model
from components.trainer.augmentation import augmentation_layers
from components.trainer.settings import Settings
from pipeline import config

# A value of each change, and the layer that it makes of a colour image; None for what changes
# nothing by itself.
AUGMENTATIONS = {
    "rotation": (20.0, "rotation"),
    "shift": (0.2, "shift"),
    "shear": (0.3, "shear"),
    "zoom": (0.3, "zoom"),
    "crop": (0.5, "crop"),
    "flip": (True, "flip"),
    "flip_vertical": (True, "flip_vertical"),
    "fill": ("reflect", None),
    "brightness": (0.2, "brightness"),
    "contrast": (0.5, "contrast"),
    "colour": (0.5, "colour"),
    "erasing": (1.0, "erasing"),
}
CHANGES = [key for key, (_, name) in AUGMENTATIONS.items() if name]
# What moves something into the image.
MOVING = ["rotation", "shift", "shear", "zoom"]
# SHA-256 of the JSON of the profile's network, with the seeds of its random layers. Whoever changes
# it changes what every model of Fashion-MNIST learns.
DEFAULT_NETWORK = "e980871622faa1c6"


def pixels(*shape):
    return np.random.default_rng(1).random(shape, dtype=np.float32)


@pytest.fixture
def layers(settings, no_augmentation):
    """Makes the layers of some changes."""

    def make(channels=3, background=0, seed=1, **changes):
        chosen = dataclasses.replace(no_augmentation, **changes)
        found = dataclasses.replace(settings, augmentation=chosen, background=background, seed=seed)
        return augmentation_layers(found, channels)

    return make


@pytest.fixture
def augmented(layers):
    """Changes images as in training."""

    def change(images, **how):
        (layer,) = layers(images.shape[-1], **how)
        return np.asarray(layer(images, training=True))

    return change


def defaults():
    values = config.load_config("default").training.model_dump()
    return Settings.from_dict(
        {**values, "precision": "float32", "seed": 1, "identity": "any", "background": 0}
    )


def test_the_default_network_is_as_ever():
    text = model.build_network((28, 28, 1), 10, defaults()).to_json()
    assert hashlib.sha256(text.encode()).hexdigest().startswith(DEFAULT_NETWORK)


def test_the_default_images_are_as_ever():
    made = keras.layers
    shift = {"fill_mode": "constant", "fill_value": 0.0, "interpolation": "nearest"}
    before = [
        made.RandomFlip("horizontal", seed=2),
        made.RandomTranslation(0.04, 0.04, seed=4, **shift),
    ]
    expected = found = pixels(64, 28, 28, 1)
    *layers, erasing = augmentation_layers(defaults(), 1)
    assert (erasing.name, erasing.seed, erasing.probability) == ("erasing", 7, 0.1)
    for old, new in zip(before, layers, strict=True):
        expected, found = old(expected, training=True), new(found, training=True)
    np.testing.assert_array_equal(found, expected)


def test_a_further_change_leaves_the_numbers_of_the_others(layers):
    old = {"flip": True, "rotation": 9.0, "shift": 0.1, "shear": 0.1, "zoom": 0.1, "erasing": 0.5}
    seeds = {layer.name: layer.seed for layer in layers(seed=10, **old)}
    assert seeds == {
        "flip": 11, "rotation": 12, "shift": 13, "shear": 14, "zoom": 15, "erasing": 16
    }  # fmt: skip
    every = {key: value for key, (value, _) in AUGMENTATIONS.items()}
    found = {layer.name: layer.seed for layer in layers(seed=10, **every)}
    assert seeds.items() <= found.items()
    assert len(set(found.values())) == len(found) == len(CHANGES)


def test_what_is_switched_off_is_no_layer(layers):
    assert layers() == []


@pytest.mark.parametrize("key", CHANGES)
def test_each_augmentation_has_a_switch_of_its_own(layers, key):
    value, name = AUGMENTATIONS[key]
    assert [layer.name for layer in layers(**{key: value})] == [name]


def test_every_augmentation_is_tried(no_augmentation):
    assert {field.name for field in dataclasses.fields(no_augmentation)} == set(AUGMENTATIONS)


@pytest.mark.parametrize(
    ("key", "channels"), [(key, n) for key in CHANGES for n in (1, 3) if (key, n) != ("colour", 1)]
)
def test_an_augmentation_acts_in_training_alone(layers, key, channels):
    (layer,) = layers(channels, **{key: AUGMENTATIONS[key][0]})
    images = pixels(16, 28, 20, channels)
    np.testing.assert_array_equal(layer(images, training=False), images)
    changed = np.asarray(layer(images, training=True))
    assert changed.shape == images.shape
    assert changed.dtype == np.float32
    assert not np.array_equal(changed, images)
    assert changed.min() >= 0
    assert changed.max() <= 1 + 1e-5
    assert len({image.tobytes() for image in changed - images}) > 1, "each image by itself"


@pytest.mark.parametrize("key", CHANGES)
def test_the_largest_value_that_is_taken_works(augmented, key):
    form = config.AugmentationConfig.model_json_schema()["properties"][key]
    largest = form.get("maximum", 0.999) if form["type"] == "number" else True
    changed = augmented(pixels(64, 9, 7, 3), **{key: largest})
    assert np.isfinite(changed).all()
    assert changed.min() >= 0
    assert changed.max() <= 1 + 1e-5


@pytest.mark.parametrize("background", [0, 128, 255])
@pytest.mark.parametrize("key", MOVING)
def test_the_background_moves_in(augmented, key, background):
    images = np.full((32, 20, 20, 3), 0.25, np.float32)
    value = AUGMENTATIONS[key][0]
    changed = augmented(images, fill="background", background=background, **{key: value})
    expected = {np.float32(0.25), np.float32(background / 255)}
    assert set(np.unique(changed)) == expected


@pytest.mark.parametrize("fill", ["edge", "reflect"])
@pytest.mark.parametrize("key", MOVING)
def test_no_other_brightness_moves_in(augmented, key, fill):
    images = np.full((32, 20, 20, 1), 0.25, np.float32)
    changed = augmented(images, fill=fill, background=255, **{key: AUGMENTATIONS[key][0]})
    np.testing.assert_array_equal(changed, images)


@pytest.mark.parametrize("fill", ["edge", "reflect"])
def test_the_edge_is_repeated_or_mirrored(augmented, fill):
    images = np.tile(np.arange(20, dtype=np.float32) / 20, (64, 20, 1))[..., None]
    modes = {"edge": "edge", "reflect": "symmetric"}
    padded = np.pad(images[0, 0, :, 0], 10, mode=modes[fill])
    possible = {padded[start : start + 20].tobytes() for start in range(21)}
    rows = {row.tobytes() for row in augmented(images, shift=0.2, fill=fill)[:, 10, :, 0]}
    assert len(rows) > 5
    assert rows <= possible


def test_a_vertical_flip_turns_some_images_upside_down(augmented):
    images = pixels(64, 6, 5, 3)
    changed = augmented(images, flip_vertical=True)
    turned = (changed == images[:, ::-1]).all(axis=(1, 2, 3))
    kept = (changed == images).all(axis=(1, 2, 3))
    assert (turned ^ kept).all()
    assert 16 < turned.sum() < 48


def test_a_crop_is_a_part_of_the_image_at_its_proportions(augmented):
    """Pixels that hold their own position say where they came from."""
    height, width, share = 40, 60, 0.5
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    images = np.repeat(np.stack([rows, columns], axis=-1)[None], 256, axis=0)
    changed = augmented(images, crop=share)
    tops, bottoms = changed[:, 0, 0, 0], changed[:, -1, 0, 0]
    lefts, rights = changed[:, 0, 0, 1], changed[:, 0, -1, 1]
    assert min(tops.min(), lefts.min()) == 0
    assert (bottoms.max(), rights.max()) == (height - 1, width - 1)
    kept = (bottoms - tops + 1) / height, (rights - lefts + 1) / width
    # Up to a pixel at each end.
    np.testing.assert_allclose(*kept, atol=2 / height + 2 / width)
    for side, length in zip(kept, (height, width), strict=True):
        assert share - 2 / length <= side.min() < share + 0.05
        assert 0.95 < side.max() <= 1
    # Small crops come from everywhere, not from the middle alone.
    small = kept[0] < 0.6
    assert tops[small].min() < 4
    assert tops[small].max() > 12


def test_brightness_is_added_to_all_pixels_of_an_image(augmented):
    images = 0.4 + 0.2 * pixels(256, 5, 5, 3)
    added = augmented(images, brightness=0.2) - images
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1, :1, :1], added.shape), atol=1e-6)
    assert -0.2 <= added.min() < -0.15
    assert 0.15 < added.max() <= 0.2
    darkest = augmented(np.zeros((64, 2, 2, 1), np.float32), brightness=1.0)
    assert (darkest.min(), darkest.max() > 0.5) == (0, True)


def test_contrast_is_raised_and_lowered_around_the_mean(augmented):
    images = 0.4 + 0.2 * pixels(256, 6, 6, 3)
    changed = augmented(images, contrast=0.5)
    np.testing.assert_allclose(changed.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=1e-5)
    factors = changed.std(axis=(1, 2)) / images.std(axis=(1, 2))
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1], factors.shape), rtol=1e-3)
    assert 0.5 <= factors.min() + 1e-3 < 0.6
    assert 1.4 < factors.max() - 1e-3 <= 1.5


def test_colour_is_raised_and_lowered_at_the_same_hue(augmented):
    images = np.tile(np.float32([0.6, 0.4, 0.3]), (256, 2, 2, 1))
    hue, saturation, value = colorsys.rgb_to_hsv(0.6, 0.4, 0.3)
    changed = augmented(images, colour=0.5)[:, 0, 0]
    found = np.array([colorsys.rgb_to_hsv(*map(float, pixel)) for pixel in changed])
    np.testing.assert_allclose(found[:, 0], hue, atol=1e-4)
    np.testing.assert_allclose(found[:, 2], value, atol=1e-5)
    factors = found[:, 1] / saturation
    assert 0.5 <= factors.min() + 1e-4 < 0.6
    assert 1.4 < factors.max() - 1e-4 <= 1.5
    assert 0.3 < (factors > 1).mean() < 0.6


def test_colour_leaves_gray_as_it_is(layers, augmented):
    gray = np.repeat(pixels(16, 5, 5, 1), 3, axis=-1)
    np.testing.assert_allclose(augmented(gray, colour=1.0), gray, atol=1e-6)
    assert layers(1, colour=1.0) == []


def test_what_is_erased_is_a_rectangle_of_noise(augmented):
    images = np.full((16, 28, 28, 1), 0.5, np.float32)
    for image in augmented(images, erasing=1.0)[..., 0]:
        rows, columns = np.nonzero(image != 0.5)
        erased = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert erased.size == len(rows)
        assert len(np.unique(erased)) > erased.size / 4


@pytest.mark.parametrize("probability", [0.1, 0.5, 1.0])
def test_as_many_images_are_erased_as_asked_for_and_as_much_of_each_as_keras_does(
    augmented, probability
):
    images = np.full((4000, 28, 28, 1), 0.5, np.float32)
    areas = (augmented(images, erasing=probability) != 0.5).mean(axis=(1, 2, 3))
    keras_own = keras.layers.RandomErasing((1.0, 1.0), value_range=(0.0, 1.0), seed=1)
    expected = (np.asarray(keras_own(images, training=True)) != 0.5).mean(axis=(1, 2, 3))
    # Four standard errors.
    error = 4 * np.sqrt(probability * (1 - probability) / len(images))
    assert abs((areas > 0).mean() - probability) <= error
    erased = areas[areas > 0]
    error = 4 * np.sqrt(erased.var() / len(erased) + expected.var() / len(expected))
    assert abs(erased.mean() - expected.mean()) < error


def test_what_is_erased_depends_on_the_seed_alone(layers):
    images = pixels(64, 28, 28, 1)

    def changed(seed):
        (layer,) = layers(1, erasing=0.5, seed=seed)
        step = tf.function(lambda images: layer(images, training=True))
        return [step(images).numpy().tobytes() for _ in range(2)]

    first, second = changed(seed=1)
    assert first != second
    assert changed(seed=1) == [first, second]
    assert changed(seed=2)[0] != first


def test_a_network_that_erases_is_not_compiled_by_xla(layers):
    """Keras would choose XLA by itself, where all layers say that they support it."""
    (layer,) = layers(1, erasing=0.5)
    network = keras.Sequential([keras.Input((8, 8, 1)), layer, keras.layers.Flatten()])
    network.compile(loss="mse", jit_compile="auto")
    network.fit(pixels(4, 8, 8, 1), np.zeros((4, 64)), verbose=0)


def test_a_batch_of_which_nothing_is_erased_stays(layers):
    (layer,) = layers(1, erasing=1e-9)
    images = pixels(8, 28, 28, 1)
    np.testing.assert_array_equal(layer(images, training=True), images)


def test_a_saved_network_with_every_change_can_be_loaded(settings, all_augmentation, tmp_path):
    """As a warm start does."""
    chosen = dataclasses.replace(settings, augmentation=all_augmentation, background=255)
    network = model.build_network((9, 7, 3), 4, chosen)
    classifier = model.build_classifier(network, chosen)
    classifier.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    images = pixels(4, 9, 7, 3)
    np.testing.assert_array_equal(
        loaded(images, training=False), classifier(images, training=False)
    )
    for layer in augmentation_layers(chosen, 3):
        again = loaded.get_layer("network").get_layer(layer.name)
        np.testing.assert_array_equal(layer(images, training=True), again(images, training=True))


def test_a_prediction_draws_no_number(settings, all_augmentation):
    """An exported model must not change its own state."""
    network = model.build_network(
        (9, 7, 3), 4, dataclasses.replace(settings, augmentation=all_augmentation)
    )
    predict = tf.function(lambda images: network(images, training=False))
    graph = predict.get_concrete_function(tf.TensorSpec((None, 9, 7, 3))).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert not [kind for kind in kinds if "Random" in kind or "Assign" in kind]
    train = tf.function(lambda images: network(images, training=True))
    graph = train.get_concrete_function(tf.TensorSpec((None, 9, 7, 3))).graph
    assert "AssignVariableOp" in {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize(
    ("fill", "mode"), [("background", "constant"), ("edge", "edge"), ("reflect", "edge")]
)
def test_shifted_views_are_filled_alike(settings, no_augmentation, fill, mode):
    chosen = dataclasses.replace(
        settings,
        augmentation=dataclasses.replace(no_augmentation, fill=fill),
        background=255,
        shift_averaging=True,
    )
    network = model.build_network((8, 8, 3), 4, chosen)
    head = network.get_layer("logits")
    head.set_weights([pixels(*weight.shape) for weight in head.get_weights()])
    classifier = model.build_classifier(network, chosen)
    images = pixels(4, 8, 8, 3)
    value = {"constant_values": 1.0} if mode == "constant" else {}
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode, **value)
    views = [images, padded[:, :8, :8], padded[:, 2:, 2:]]
    mean = np.mean([network(view, training=False) for view in views], axis=0)
    expected = classifier.get_layer("probabilities")(mean)
    np.testing.assert_allclose(classifier(images, training=False), expected, atol=1e-6)
