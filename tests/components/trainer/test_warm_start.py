"""A training may start with the weights of an earlier model, or is refused with the reason."""

import dataclasses

import keras
import numpy as np
import pytest

from components import examples, features, image_schema
from components.arrays import write_arrays
from components.images import Fit, Preparation, preparation_digest
from components.trainer import seen_images, training, warm_start
from components.trainer.model import build_network

SHAPE = (8, 8, 1)


def network_of(settings, seed, shape=SHAPE, classes=3):
    keras.utils.set_random_seed(seed)
    return build_network(shape, classes, settings)


@pytest.fixture
def served(settings, schema, tmp_path):
    """The folder of a model artifact, and the network with the same weights."""
    network = network_of(settings, seed=1)
    network(np.random.default_rng(0).random((4, *SHAPE), dtype=np.float32), training=True)
    training.build_classifier(network, settings, schema).save(tmp_path / "model.keras")
    return str(tmp_path), network


def refusal(network, uri):
    before = network.get_weights()
    with pytest.raises(warm_start.WarmStartError) as caught:
        warm_start.begin_at(network, uri)
    np.testing.assert_equal(network.get_weights(), before)
    assert caught.value.changes == ("training.warm_start=false",)
    return str(caught.value)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_begins_at_the_weights_of_the_earlier_model(settings, served, precision):
    folder, earlier = served
    network = network_of(dataclasses.replace(settings, precision=precision), seed=2)
    kernels = [model.get_layer("block1_conv1").get_weights()[0] for model in (network, earlier)]
    assert not np.array_equal(*kernels)
    warm_start.begin_at(network, folder)
    np.testing.assert_equal(network.get_weights(), earlier.get_weights())


def test_weights_fit_under_another_augmentation_dropout_and_averaging(
    settings, schema, all_augmentation, tmp_path
):
    """Layers without weights may differ, and so may the size of the images."""
    earlier = network_of(settings, seed=1)
    averaging = dataclasses.replace(settings, flip_averaging=True)
    training.build_classifier(earlier, averaging, schema).save(tmp_path / "model.keras")
    other = dataclasses.replace(settings, augmentation=all_augmentation, dropout=0.0)
    network = network_of(other, seed=2, shape=(12, 10, 1))
    warm_start.begin_at(network, str(tmp_path))
    np.testing.assert_array_equal(
        network.get_layer("logits").get_weights()[0], earlier.get_layer("logits").get_weights()[0]
    )


def test_other_widths_are_refused_with_layer_and_shapes(settings, served):
    network = network_of(dataclasses.replace(settings, widths=(4, 8)), seed=2)
    message = refusal(network, served[0])
    assert "layer block2_conv1 of the served model" in message
    assert "shapes [(3, 3, 4, 6)]; expected [(3, 3, 4, 8)]." in message
    assert "Use the training.widths and training.whitening of the served model" in message
    assert "or set training.warm_start=false" in message


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        ((4, 6, 6), "no layer block3_conv1; expected one"),
        ((4,), "a layer block2_conv1; expected none"),
    ],
)
def test_a_stage_more_or_less_is_refused(settings, served, widths, expected):
    network = network_of(dataclasses.replace(settings, widths=widths), seed=2)
    assert f"the served model has {expected}" in refusal(network, served[0])


def test_a_model_without_whitening_is_no_beginning_for_one_with_it(
    settings, served, schema, tmp_path
):
    plain = dataclasses.replace(settings, whitening=False)
    message = refusal(network_of(plain, seed=2), served[0])
    assert "the served model has a layer whitening; expected none" in message
    earlier = training.build_classifier(network_of(plain, seed=1), plain, schema)
    earlier.save(tmp_path / "model.keras")
    message = refusal(network_of(settings, seed=2), str(tmp_path))
    assert "the served model has no layer whitening; expected one" in message


def test_other_classes_are_refused(settings, served):
    folder, _ = served
    message = refusal(network_of(settings, seed=2, classes=5), folder)
    assert "layer logits" in message and "expected [(6, 5), (5,)]" in message


def test_a_model_with_only_an_export_is_refused(settings, tmp_path):
    message = refusal(network_of(settings, seed=2), str(tmp_path))
    assert f"{tmp_path}/model.keras does not exist" in message
    assert "expected the Keras weights of the served model, but only its export is known" in message
    assert "Set training.warm_start=false." in message


@pytest.fixture
def splits(make_split):
    return {name: make_split(30, number) for number, name in enumerate(features.SPLITS)}


def seen(trained, validated, prepared=""):
    return seen_images.Seen(seen_images.hashes(trained), seen_images.hashes(validated), prepared)


def begun_at(folder, splits):
    return warm_start.seen_with(str(folder), splits["test"], seen_images.in_run(splits, ""))


def test_a_model_knows_what_it_and_the_earlier_one_have_seen(splits, make_split, tmp_path):
    further, other = make_split(12, 7), make_split(5, 8)
    seen_images.write(str(tmp_path), seen(further, other))
    found = begun_at(tmp_path, splits)
    for split, hashes in (("train", found.trained), ("val", found.validated)):
        earlier = further if split == "train" else other
        both = [seen_images.hashes(each) for each in (splits[split], earlier)]
        np.testing.assert_array_equal(hashes, np.union1d(*both))
    seen_images.write(str(tmp_path), found)
    again = seen_images.of_model(str(tmp_path))
    np.testing.assert_array_equal(again.all, found.all)


@pytest.mark.parametrize("part", ["trained", "validated"])
def test_an_earlier_model_that_has_seen_test_images_is_no_beginning(splits, part, tmp_path):
    """Another reference span, or a drawn test split of another size, makes them test images."""
    moved = splits["test"].at(slice(0, 3))
    earlier = (moved, splits["val"]) if part == "trained" else (splits["train"], moved)
    seen_images.write(str(tmp_path), seen(*earlier))
    with pytest.raises(warm_start.WarmStartError) as caught:
        begun_at(tmp_path, splits)
    assert "trained on 3 of the 30 test images" in str(caught.value)
    assert caught.value.changes == ("training.warm_start=false",)


def test_an_earlier_model_that_was_trained_on_validation_images_is_no_beginning(splits, tmp_path):
    """Another seed, more validation images, or images that are gone make them validate."""
    moved = splits["val"].at(slice(0, 4))
    seen_images.write(str(tmp_path), seen(moved, splits["val"]))
    with pytest.raises(warm_start.WarmStartError) as caught:
        begun_at(tmp_path, splits)
    assert "trained on 4 of the 30 validation images" in str(caught.value)
    assert "Use the seed and split.validation of the served model" in str(caught.value)
    assert caught.value.changes == ("training.warm_start=false",)


def test_what_validated_before_may_validate_or_train_again(splits, tmp_path):
    seen_images.write(str(tmp_path), seen(splits["train"], splits["val"]))
    begun_at(tmp_path, splits)
    seen_images.write(str(tmp_path), seen(splits["test"].at(slice(0)), splits["train"]))
    begun_at(tmp_path, splits)


@pytest.fixture
def begin(settings, schema, splits, arguments_of, monkeypatch):
    """Begins a training at a model; `Began` says that nothing kept it from that."""

    def begun(model, **read):
        warm = dataclasses.replace(settings, warm_start=True)
        training.run_fn(arguments_of(warm, base_model=str(model), **read))

    def began(*_):
        raise Began

    monkeypatch.setattr(image_schema, "read_artifact", lambda folder: schema)
    monkeypatch.setattr(examples, "read_split", lambda folder, name, most: splits[name])
    monkeypatch.setattr(training, "train", began)
    return begun


class Began(Exception):
    """The training has begun."""


def test_a_training_does_not_begin_at_a_model_that_has_seen_test_images(splits, begin, tmp_path):
    moved = splits["test"].at(slice(0, 3))
    seen_images.write(str(tmp_path), seen(splits["val"], moved))
    with pytest.raises(warm_start.WarmStartError, match="trained on 3 of the 30 test images"):
        begin(tmp_path)


@pytest.fixture
def padded(schema, splits, tmp_path):
    """A model that was trained on image files."""
    prepared = preparation_digest(Preparation(*schema.shape, Fit.PAD, 0))
    seen_images.write(str(tmp_path), seen(splits["train"], splits["val"], prepared))
    return tmp_path


def test_a_model_whose_images_were_prepared_alike_is_a_beginning(padded, begin):
    with pytest.raises(Began):
        begin(padded, form="class folders", fit="pad")


@pytest.mark.parametrize(("form", "fit"), [("class folders", "crop"), ("IDX", "pad")])
def test_a_model_whose_images_were_prepared_otherwise_is_no_beginning(padded, begin, form, fit):
    """The same file then has other pixels, so nobody knows whether it was a test image."""
    with pytest.raises(warm_start.WarmStartError, match="were prepared otherwise than") as caught:
        begin(padded, form=form, fit=fit)
    assert caught.value.changes == ("training.warm_start=false",)


def test_how_pixels_are_prepared_does_not_matter(splits, begin, tmp_path):
    seen_images.write(str(tmp_path), seen(splits["train"], splits["val"]))
    with pytest.raises(Began):
        begin(tmp_path, form="IDX", fit="crop")


@pytest.mark.parametrize("split", ["test", "val"])
def test_what_the_run_itself_also_trains_on_is_for_data_gate(splits, split, tmp_path):
    splits[split].images[0] = splits["train"].images[0]
    seen_images.write(str(tmp_path), seen(splits["train"], splits["train"].at(slice(0))))
    begun_at(tmp_path, splits)


def test_a_model_of_before_training_and_validation_were_kept_apart_is_no_beginning(
    splits, tmp_path
):
    known = seen_images.in_run(splits, "").all
    write_arrays(str(tmp_path / features.SEEN_IMAGES_FILE), hashes=known)
    with pytest.raises(warm_start.WarmStartError, match="does not say which images"):
        begun_at(tmp_path, splits)


def test_a_model_that_does_not_say_what_it_has_seen_is_no_beginning(splits, tmp_path):
    with pytest.raises(warm_start.WarmStartError, match="does not say which images"):
        begun_at(tmp_path, splits)
