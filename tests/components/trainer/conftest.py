"""Fixtures for the tests of Trainer: settings, and a little data with its Transform graph."""

import dataclasses
import functools
import types

import numpy as np
import pytest

from components import features, reading_report
from components.image_schema import ImageSchema
from components.trainer.settings import Augmentation, Settings


@pytest.fixture(scope="session")
def no_augmentation():
    return Augmentation(
        rotation=0.0,
        shift=0.0,
        shear=0.0,
        zoom=0.0,
        crop=0.0,
        flip=False,
        flip_vertical=False,
        fill="background",
        brightness=0.0,
        contrast=0.0,
        colour=0.0,
        erasing=0.0,
    )


@pytest.fixture(scope="session")
def all_augmentation():
    return Augmentation(
        rotation=20.0,
        shift=0.2,
        shear=0.2,
        zoom=0.2,
        crop=0.3,
        flip=True,
        flip_vertical=True,
        fill="edge",
        brightness=0.2,
        contrast=0.4,
        colour=0.4,
        erasing=1.0,
    )


@pytest.fixture(scope="session")
def settings(no_augmentation):
    """Settings of a small network."""
    return Settings(
        precision="float32",
        widths=(4, 6),
        whitening=True,
        dropout=0.2,
        l2=1e-4,
        weight_decay=0.1,
        epochs=2,
        minutes=None,
        batch_size=8,
        optimizer="muon",
        learning_rate=0.01,
        warm_up=0.2,
        ema_momentum=0.9,
        class_weights="none",
        label_smoothing=0.05,
        plateau_patience=2,
        plateau_factor=0.3,
        early_stopping_patience=5,
        flip_averaging=False,
        shift_averaging=False,
        warm_start=False,
        deterministic=True,
        memory_megabytes=64,
        seed=1,
        augmentation=no_augmentation,
        identity="data and code",
        background=0,
    )


@pytest.fixture(scope="session")
def schema():
    return ImageSchema(height=8, width=8, channels=1, class_names=("bag", "shirt", "shoe"))


@pytest.fixture(scope="session")
def make_split(schema):
    """Makes a split of images: the pattern of the class with noise."""
    from components.examples import Split

    patterns = np.random.default_rng(0).integers(
        0, 256, (len(schema.class_names), schema.bytes_per_image)
    )

    def made(count, seed):
        random = np.random.default_rng(seed)
        labels = random.integers(0, len(patterns), count)
        noise = random.integers(0, 256, (count, schema.bytes_per_image))
        ids = np.array([b"%05d" % number for number in range(count)], dtype=object)
        return Split(((patterns[labels] + noise) // 2).astype(np.uint8), labels, ids)

    return made


@pytest.fixture(scope="session")
def write_transform(schema):
    """Writes the output of Transform for the images of `schema`, made like TFX without analysis."""
    import tensorflow as tf
    from tensorflow_transform import impl_helper

    def write(preprocess, folder):
        impl_helper.analyze_in_place(
            preprocess,
            force_tf_compat_v1=False,
            feature_specs={features.IMAGE: tf.io.FixedLenFeature([1], tf.string)},
            type_specs={features.IMAGE: tf.TensorSpec([None, 1], tf.string)},
            transform_output_path=str(folder),
        )
        return str(folder)

    return write


@pytest.fixture(scope="session")
def transform_folder(schema, write_transform, tmp_path_factory):
    from components import transform

    preprocess = functools.partial(transform.preprocessing_fn, image_shape=schema.shape)
    return write_transform(preprocess, tmp_path_factory.mktemp("transform"))


@pytest.fixture(scope="session")
def transform_output(transform_folder):
    import tensorflow_transform as tft

    return tft.TFTransformOutput(transform_folder)


@pytest.fixture
def arguments_of(transform_folder, tmp_path):
    """Makes what TFX hands to `training.run_fn`, for settings."""

    def make(settings, base_model=None, hyperparameters=None, form="IDX", fit="pad"):
        read = reading_report.ReadingReport(form, "", (), {}, (), 0, fit, 0, "dark", 0.0)
        examples_folder = tmp_path / "examples"
        examples_folder.mkdir(exist_ok=True)
        reading_report.write(read, str(examples_folder))
        folders = {
            **dict.fromkeys(features.TRAINER_FOLDERS),
            features.BASE_MODEL_FOLDER: base_model,
            features.EXAMPLES_FOLDER: str(examples_folder),
        }
        return types.SimpleNamespace(
            custom_config={**dataclasses.asdict(settings), **folders},
            hyperparameters=hyperparameters,
            schema_path=str(tmp_path / "schema.pbtxt"),
            transform_graph_path=transform_folder,
            model_run_dir=str(tmp_path / "model_run" / "1"),
        )

    return make
