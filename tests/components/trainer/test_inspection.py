"""The images for the review show the input and the feature maps of the network."""

import dataclasses

import keras
import numpy as np
import pytest

from components.examples import Split
from components.trainer import inspection, model


@pytest.fixture
def images(make_split):
    return inspection.first_of_each_class(make_split(40, seed=2), 1)


@pytest.fixture
def prepared(images, schema):
    return images.images.reshape(-1, *schema.shape).astype(np.float32) / 255


def test_the_first_of_each_class_are_taken_class_by_class():
    labels = np.array([2, 0, 2, 0, 0, 2])
    split = Split(np.arange(6)[:, None], labels, np.array(list("abcdef"), dtype=object))
    chosen = inspection.first_of_each_class(split, 2)
    assert chosen.ids.tolist() == ["b", "d", "a", "c"]
    assert chosen.labels.tolist() == [0, 0, 2, 2]
    assert chosen.images.ravel().tolist() == [1, 3, 0, 2]
    assert inspection.first_of_each_class(split, 2, most_classes=1).ids.tolist() == ["b", "d"]


def test_augmented_images_stand_beside_their_originals(
    images, prepared, settings, all_augmentation, schema, tmp_path
):
    path = tmp_path / "augmented.npz"
    changed = dataclasses.replace(settings, augmentation=all_augmentation)
    inspection.write_augmented(str(path), images, prepared, changed, schema)
    with np.load(path) as found:
        assert np.array_equal(found["originals"].reshape(len(images.ids), -1), images.images)
        assert found["ids"].tolist() == images.ids.tolist()
        variants = found["augmented"]
    assert variants.dtype == np.uint8
    assert variants.shape[2:] == schema.shape
    different = {variant.tobytes() for variant in variants[0]}
    assert len(different) == variants.shape[1]


def test_a_mirrored_image_keeps_its_pixels(
    images, prepared, settings, no_augmentation, schema, tmp_path
):
    """Exactly: the conversion to float and back changes no value."""
    flip = dataclasses.replace(no_augmentation, flip=True)
    path = tmp_path / "augmented.npz"
    inspection.write_augmented(
        str(path), images, prepared, dataclasses.replace(settings, augmentation=flip), schema
    )
    with np.load(path) as found:
        for original, variants in zip(found["originals"], found["augmented"], strict=True):
            allowed = {original.tobytes(), original[:, ::-1].tobytes()}
            assert {variant.tobytes() for variant in variants} == allowed


def test_without_augmentation_nothing_is_written(images, prepared, settings, schema, tmp_path):
    path = tmp_path / "augmented.npz"
    inspection.write_augmented(str(path), images, prepared, settings, schema)
    assert not path.exists()


def test_a_network_of_one_stage_has_one_block(images, prepared, settings, schema, tmp_path):
    single = dataclasses.replace(settings, widths=(5,))
    network = model.build_network(schema.shape, len(schema.class_names), single)
    classifier = model.build_classifier(network, single)
    path = tmp_path / "feature_maps.npz"
    inspection.write_feature_maps(str(path), images, prepared, classifier, schema)
    with np.load(path) as found:
        assert found["blocks"].tolist() == ["block1"]
        assert found["block1"].shape[:2] == (len(images.ids), 5)


def test_writing_feature_maps_changes_no_weight(
    images, prepared, settings, all_augmentation, schema, tmp_path
):
    augmented = dataclasses.replace(
        settings, augmentation=all_augmentation, flip_averaging=True, shift_averaging=True
    )
    network = model.build_network(schema.shape, len(schema.class_names), augmented)
    classifier = model.build_classifier(network, augmented)
    before = [weight.copy() for weight in classifier.get_weights()]
    path = tmp_path / "feature_maps.npz"
    inspection.write_feature_maps(str(path), images, prepared, classifier, schema)
    for old, new in zip(before, classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_each_map_is_that_of_its_layer_scaled_to_its_range(
    images, prepared, settings, schema, tmp_path
):
    network = model.build_network(schema.shape, len(schema.class_names), settings)
    averaging = dataclasses.replace(settings, flip_averaging=True, shift_averaging=True)
    classifier = model.build_classifier(network, averaging)
    path = tmp_path / "feature_maps.npz"
    inspection.write_feature_maps(str(path), images, prepared, classifier, schema)
    inner = keras.Model(network.input, network.get_layer("block2_add").output)
    expected = keras.ops.convert_to_numpy(inner(prepared, training=False))
    with np.load(path) as found:
        assert found["blocks"].tolist() == ["block1", "block2"]
        assert np.array_equal(found["images"].reshape(len(images.ids), -1), images.images)
        maps = found["block2"]
    assert maps.shape == (len(images.ids), settings.widths[1], *expected.shape[1:3])
    for image in range(len(images.ids)):
        for filter_number in range(settings.widths[1]):
            values = expected[image, :, :, filter_number]
            span = max(values.max() - values.min(), 1e-9)
            scaled = np.rint((values - values.min()) / span * 255)
            np.testing.assert_allclose(maps[image, filter_number], scaled, atol=1)
