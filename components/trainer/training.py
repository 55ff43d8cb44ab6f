"""Trains, chooses the best epoch and exports: what TFX's Trainer runs."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components import examples, features, image_schema
from components.trainer import callbacks, export, model
from components.trainer.settings import Settings

_GOLDEN_PER_CLASS = 2
_VALIDATION_BATCH = 1000


def run_fn(fn_args: FnArgs) -> None:
    """Trains and writes the model artifact and the model run artifact.

    The model artifact holds the serving export, the Keras model, the statistics of the data that
    it was trained on, and golden answers against which the export is checked.

    Args:
      fn_args: `custom_config` holds the settings, and from `component.Executor` the folders of
        the examples and of their statistics.
    """
    config = dict(fn_args.custom_config)
    examples_uri, statistics_uri = config.pop("examples_uri"), config.pop("statistics_uri")
    settings = Settings.from_dict(config)
    schema = image_schema.read_artifact(os.path.dirname(fn_args.schema_path))
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    splits = {name: examples.read_split(examples_uri, name) for name in features.SPLITS}
    backup_dir = _backup_folder(fn_args.model_run_dir, settings)
    with _local_folder(fn_args.model_run_dir) as run_dir:
        network = train(settings, schema, transform, splits, run_dir, backup_dir)
    model_dir = os.path.dirname(fn_args.serving_model_dir)
    export.export_model(network, transform, schema, fn_args.serving_model_dir)
    _save_keras_model(network, model_dir)
    _copy_statistics(statistics_uri, model_dir)
    golden = choose_golden(splits[features.TEST_SPLIT])
    answers = predict(network, golden, transform)
    _save_golden(golden, schema.shape, answers, model_dir)
    shutil.rmtree(backup_dir)


def train(
    settings: Settings,
    schema: image_schema.ImageSchema,
    transform: tft.TFTransformOutput,
    splits: dict[str, examples.Split],
    run_dir: str,
    backup_dir: str,
) -> keras.Model:
    """Trains a model and returns it with the weights of its best epoch.

    Args:
      settings: see `Settings`.
      schema: the shape of the images and the class names.
      transform: Transform's output; its graph prepares every batch.
      splits: `train` and `val`.
      run_dir: local folder for the logs of the training.
      backup_dir: local folder for what must survive a crash; a training that was cut short goes
        on from there.

    Raises:
      TrainingDiverged: where the loss is no longer a number.
    """
    keras.utils.set_random_seed(settings.seed)
    tf.config.experimental.enable_op_determinism()
    network = compiled_model(settings, schema)
    classes = len(schema.class_names)
    training, validation = splits[features.TRAIN_SPLIT], splits[features.VALIDATION_SPLIT]
    os.makedirs(backup_dir, exist_ok=True)
    network.fit(
        training_batches(training, transform, classes, settings),
        validation_data=labelled_batches(validation, transform, classes),
        epochs=settings.epochs,
        verbose=0,
        callbacks=callbacks.training_callbacks(settings, run_dir, backup_dir),
    )
    network.load_weights(os.path.join(backup_dir, callbacks.BEST_WEIGHTS_FILE))
    return network


def compiled_model(settings: Settings, schema: image_schema.ImageSchema) -> keras.Model:
    """Builds the model and gives it its optimizer, loss and metrics."""
    network = model.build_model(schema.shape, len(schema.class_names), settings)
    network.compile(
        optimizer=keras.optimizers.Adam(settings.learning_rate),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing),
        metrics=["accuracy"],
        # XLA is slower than oneDNN on a CPU; Keras would choose it by itself.
        jit_compile=False,
    )
    return network


def training_batches(
    split: examples.Split, transform: tft.TFTransformOutput, classes: int, settings: Settings
) -> tf.data.Dataset:
    """Batches of prepared images and one-hot labels, shuffled anew in each epoch.

    Raw bytes stay in memory; Transform's graph is applied batch by batch.
    """
    data = _raw_dataset(split).shuffle(len(split.labels), seed=settings.seed)
    return _prepared(data.batch(settings.batch_size), transform, classes)


def labelled_batches(
    split: examples.Split, transform: tft.TFTransformOutput, classes: int
) -> tf.data.Dataset:
    """Batches of prepared images and one-hot labels, in the order of the split."""
    return _prepared(_raw_dataset(split).batch(_VALIDATION_BATCH), transform, classes)


def predict(
    network: keras.Model, split: examples.Split, transform: tft.TFTransformOutput
) -> np.ndarray:
    """Probabilities, float32 [count, classes], of the Keras model on raw images."""
    layer = transform.transform_features_layer()
    raw = tf.constant([[image.tobytes()] for image in split.images])
    images = layer({features.IMAGE: raw})[features.IMAGE]
    return network(images, training=False).numpy()


def choose_golden(split: examples.Split) -> examples.Split:
    """The first images of each class, on which the export is checked."""
    labels = np.unique(split.labels)
    members = [np.flatnonzero(split.labels == label)[:_GOLDEN_PER_CLASS] for label in labels]
    chosen = np.concatenate(members)
    return examples.Split(split.images[chosen], split.labels[chosen], split.ids[chosen])


def _raw_dataset(split: examples.Split) -> tf.data.Dataset:
    images = np.array([image.tobytes() for image in split.images], dtype=object)
    return tf.data.Dataset.from_tensor_slices((images, split.labels))


def _prepared(
    batches: tf.data.Dataset, transform: tft.TFTransformOutput, classes: int
) -> tf.data.Dataset:
    layer = transform.transform_features_layer()

    def prepare(raw: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = layer({features.IMAGE: tf.expand_dims(raw, 1)})[features.IMAGE]
        return images, tf.one_hot(labels, classes)

    return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def _backup_folder(model_run_dir: str, settings: Settings) -> str:
    """The folder that survives a crash: beside the node's outputs, which TFX deletes on failure."""
    node_dir = os.path.dirname(os.path.dirname(os.path.normpath(model_run_dir)))
    return os.path.join(node_dir, "backups", settings.backup_name)


@contextlib.contextmanager
def _local_folder(destination: str) -> Iterator[str]:
    """A local folder for libraries that only know local files; copied to `destination`."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder
        io_utils.copy_dir(folder, destination)


def _save_keras_model(network: keras.Model, model_dir: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, features.KERAS_MODEL_FILE)
        network.save(path)
        io_utils.copy_file(path, os.path.join(model_dir, features.KERAS_MODEL_FILE))


def _copy_statistics(statistics_uri: str, model_dir: str) -> None:
    source = os.path.join(statistics_uri, f"Split-{features.TRAIN_SPLIT}", "FeatureStats.pb")
    io_utils.copy_file(source, os.path.join(model_dir, features.REFERENCE_STATISTICS_FILE))


def _save_golden(
    golden: examples.Split, shape: tuple[int, ...], probabilities: np.ndarray, model_dir: str
) -> None:
    content = io.BytesIO()
    np.savez(
        content,
        images=golden.images,
        image_shape=np.array(shape),
        labels=golden.labels,
        probabilities=probabilities,
    )
    with fileio.open(os.path.join(model_dir, features.GOLDEN_FILE), "wb") as file:
        file.write(content.getvalue())
