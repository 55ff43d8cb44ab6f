"""Training, choice of the best epoch, calibration and export; TFX's Trainer calls `run_fn`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
import tempfile

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.utils import io_utils

from components import examples, features, image_schema, reading_report, training_report
from components.arrays import write_arrays
from components.data_form import OF_PIXELS
from components.images import Fit, Preparation, preparation_digest
from components.trainer import (
    batches,
    budget,
    calibration,
    callbacks,
    class_weights,
    export,
    halves,
    inspection,
    model,
    seen_images,
    threads,
    warm_start,
    whitening,
)
from components.trainer.optimizer import build_optimizer
from components.trainer.resumption import load_best_weights, read_progress
from components.trainer.settings import Settings, with_hyperparameters
from components.training_report import FittedCalibration, TrainingReport

# Name of the accuracy with weights, where the settings have some. On `val`, with balanced weights,
# it is the balanced accuracy.
WEIGHTED_ACCURACY = "weighted_accuracy"

_GOLDEN_PER_CLASS = 2
# As many as the review shows.
_INSPECTED_CLASSES = 10
_LOGS_FOLDER = "logs"
_BACKUP_NAME_LENGTH = 16

logger = logging.getLogger(__name__)


def run_fn(fn_args: FnArgs) -> None:
    """Trains a model, and writes the model artifact and the model run artifact.

    The model artifact has the serving export, the Keras model, the statistics of the training
    data, and golden examples with reference predictions for checking the export. The model run
    artifact has the logs, the history, a report on the training, augmented images and feature maps.

    Args:
      fn_args: Arguments from TFX. `custom_config` has the settings and, from `component.Executor`,
        the folders of the examples, of their statistics and of the served model, if any.
        `hyperparameters` has the choice of Tuner, if there is a Tuner.

    Raises:
      TrainingDiverged: If the loss is no longer a number.
      WarmStartError: If the served model has no weights for this network.
      PreprocessingError: If the export would prepare images otherwise than Transform's graph.
    """
    config = dict(fn_args.custom_config)
    folders = {name: config.pop(name) for name in features.TRAINER_FOLDERS}
    tuned = fn_args.hyperparameters["values"] if fn_args.hyperparameters else None
    settings = with_hyperparameters(Settings.from_dict(config), tuned or {})
    schema = image_schema.read_artifact(os.path.dirname(fn_args.schema_path))
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    # Before the training, which would be in vain.
    export.check_preprocessing(transform, schema)
    splits = {
        name: examples.read_split(folders[features.EXAMPLES_FOLDER], name, settings.most_in_memory)
        for name in features.SPLITS
    }
    base_model = folders[features.BASE_MODEL_FOLDER] if settings.warm_start else None
    reading = reading_report.read(folders[features.EXAMPLES_FOLDER])
    preparation = Preparation(*schema.shape, Fit(reading.fit), reading.background)
    prepared = "" if reading.form in OF_PIXELS else preparation_digest(preparation)
    seen = seen_images.in_run(splits, prepared)
    if base_model is not None:
        seen = warm_start.seen_with(base_model, splits[features.TEST_SPLIT], seen)
    backup_dir = _backup_folder(fn_args.model_run_dir, settings, schema, splits, base_model)
    if settings.minutes is not None:
        epochs = epochs_within(settings.minutes, settings, schema, transform, splits, backup_dir)
        settings = dataclasses.replace(settings, epochs=epochs)
    try:
        network = train(settings, schema, transform, splits, backup_dir, base_model)
    except callbacks.TrainingDiverged as error:
        if tuned and "learning_rate" in tuned:
            raise error.at_tuned_rate() from error
        raise
    classifier = build_classifier(network, settings, schema)
    validation = splits[features.VALIDATION_SPLIT]
    temperature = calibrate(classifier, validation, transform)
    report = TrainingReport(
        precision=settings.precision,
        settled_epochs=None if settings.minutes is None else settings.epochs,
        hyperparameters=tuned,
        warm_start_from=base_model,
        calibration=FittedCalibration(temperature, settings.label_smoothing),
    )
    _write_model_run(report, backup_dir, fn_args.model_run_dir)
    _write_inspection(classifier, settings, schema, transform, splits, fn_args.model_run_dir)
    model_dir = os.path.dirname(fn_args.serving_model_dir)
    export.export_model(
        classifier, transform, schema, preparation, reading.border, fn_args.serving_model_dir
    )
    _save_keras_model(classifier, model_dir)
    seen_images.write(model_dir, seen)
    _copy_statistics(folders[features.STATISTICS_FOLDER], model_dir)
    golden = inspection.first_of_each_class(splits[features.TEST_SPLIT], _GOLDEN_PER_CLASS)
    _save_golden(golden, schema.shape, predict(classifier, golden, transform), model_dir)
    shutil.rmtree(backup_dir)


def epochs_within(
    minutes: float,
    settings: Settings,
    schema: image_schema.ImageSchema,
    transform: tft.TFTransformOutput,
    splits: dict[str, examples.Split],
    backup_dir: str,
) -> int:
    """Returns how many epochs this machine trains in a number of minutes.

    The number of an interrupted training stays. Further arguments are as in `train`.
    """
    kept = budget.kept_epochs(backup_dir)
    if kept is not None:
        return kept
    network, data = prepare(settings, schema, splits[features.TRAIN_SPLIT])
    validation = splits[features.VALIDATION_SPLIT]
    validated = validation_batches(settings, schema, validation, transform)
    epochs = budget.measured_epochs(minutes, network, data, transform, validated)
    budget.keep_epochs(epochs, backup_dir)
    # Keras numbers the layers of all networks: those of the training are named as ever.
    keras.utils.clear_session()
    return epochs


def train(
    settings: Settings,
    schema: image_schema.ImageSchema,
    transform: tft.TFTransformOutput,
    splits: dict[str, examples.Split],
    backup_dir: str,
    base_model: str | None = None,
) -> keras.Model:
    """Trains a network and returns it with the weights of its best epoch.

    Args:
      settings: Settings of network and training.
      schema: Shape of the images and class names.
      transform: Output of Transform; its graph preprocesses every batch.
      splits: Splits `train` and `val`.
      backup_dir: Local folder for logs and snapshots; an interrupted training resumes from it.
      base_model: Folder of the model artifact for a warm start; None starts from random weights.

    Raises:
      TrainingDiverged: If the loss is no longer a number.
      WarmStartError: If `base_model` has no weights for this network.
    """
    network, data = prepare(settings, schema, splits[features.TRAIN_SPLIT])
    return train_network(network, data, settings, schema, transform, splits, backup_dir, base_model)


def prepare(
    settings: Settings, schema: image_schema.ImageSchema, split: examples.Split
) -> tuple[keras.Model, batches.TrainingBatches]:
    """Seeds Keras and returns the compiled network, untrained, and the batches to train it on."""
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    data = training_batches(settings, schema, split)
    at_once = data.steps_at_once(settings.epochs)
    return compiled_network(settings, schema, data.batch_size, at_once), data


def training_batches(
    settings: Settings, schema: image_schema.ImageSchema, split: examples.Split
) -> batches.TrainingBatches:
    """Returns the batches of a split to train on, weighted if the settings say so."""
    weights = class_weights.by_label(settings.class_weights, split.labels, schema.class_names)
    classes = len(schema.class_names)
    return batches.TrainingBatches(split, classes, settings.batch_size, settings.seed, weights)


def validation_batches(
    settings: Settings,
    schema: image_schema.ImageSchema,
    split: examples.Split,
    transform: tft.TFTransformOutput,
) -> tf.data.Dataset:
    """Returns the batches of a split to validate on, weighted if the settings say so.

    The best epoch is that with the lowest loss there. Balanced weights are those of this split: its
    classes may be even where those of `train` are not.
    """
    weights = class_weights.by_label(settings.class_weights, split.labels, schema.class_names)
    return batches.labelled_batches(split, transform, len(schema.class_names), weights)


def train_network(
    network: keras.Model,
    data: batches.TrainingBatches,
    settings: Settings,
    schema: image_schema.ImageSchema,
    transform: tft.TFTransformOutput,
    splits: dict[str, examples.Split],
    backup_dir: str,
    base_model: str | None,
) -> keras.Model:
    """Trains the network from `prepare`; further arguments, result and errors are as in `train`."""
    if settings.whitening:
        wanted = whitening.images_needed(network.input_shape[1:])
        images = batches.prepared_sample(splits[features.TRAIN_SPLIT], transform, wanted)
        whitening.begin(network, images)
    if base_model is not None:
        warm_start.begin_at(network, base_model)
    validation = splits[features.VALIDATION_SPLIT]
    validated = validation_batches(settings, schema, validation, transform)
    _fit(network, settings, data, transform, validated, backup_dir)
    load_best_weights(network, backup_dir)
    return network


def _fit(
    network: keras.Model,
    settings: Settings,
    data: batches.TrainingBatches,
    transform: tft.TFTransformOutput,
    validated: tf.data.Dataset,
    backup_dir: str,
) -> None:
    progress = read_progress(backup_dir)
    if progress.epochs:
        logger.info("resuming after epoch %d of %d", progress.epochs, settings.epochs)
    if progress.finished:
        return
    log_dir = os.path.join(backup_dir, _LOGS_FOLDER)
    os.makedirs(log_dir, exist_ok=True)
    network.fit(
        data.dataset(transform, progress.epochs, settings.epochs),
        validation_data=validated,
        initial_epoch=progress.epochs,
        epochs=settings.epochs,
        steps_per_epoch=data.steps,
        # The dataset is already shuffled.
        shuffle=False,
        verbose=0,
        callbacks=callbacks.training_callbacks(settings, data.steps, log_dir, backup_dir),
    )


def compiled_network(
    settings: Settings, schema: image_schema.ImageSchema, batch_size: int, steps_at_once: int
) -> keras.Model:
    """Builds the network and gives it its optimizer, loss and metrics.

    Args:
      settings: Settings of network and training.
      schema: Shape of the images and class names.
      batch_size: Number of images in a training batch. Of little data, it is smaller than that of
        the settings.
      steps_at_once: Number of steps that TensorFlow takes without returning to Python.
    """
    whole = model.build_network(schema.shape, len(schema.class_names), settings)
    network = halves.in_halves(whole, threads.are_halved(batch_size))
    compile_network(network, settings, loss_function(settings), steps_at_once)
    return network


def compile_network(
    network: keras.Model, settings: Settings, loss: keras.losses.Loss, steps_at_once: int
) -> None:
    """Gives a network its optimizer, loss and metrics."""
    network.compile(
        optimizer=build_optimizer(settings),
        loss=loss,
        metrics=["accuracy"],
        weighted_metrics=_weighted_metrics(settings),
        steps_per_execution=steps_at_once,
        # XLA is slower than oneDNN on a CPU; Keras would choose it by itself.
        jit_compile=False,
    )
    _create_training_state(network)


def _weighted_metrics(settings: Settings) -> list[keras.metrics.Metric] | None:
    if settings.class_weights == class_weights.NONE:
        return None
    return [keras.metrics.CategoricalAccuracy(WEIGHTED_ACCURACY)]


def _create_training_state(network: keras.Model) -> None:
    """Creates the variables of optimizer and metrics.

    Otherwise Keras creates them in the first step, and TensorFlow has to trace the step twice.
    """
    network.optimizer.build(network.trainable_variables)
    labels = keras.ops.zeros((1, network.output_shape[-1]))
    network.compute_metrics(None, labels, labels)
    network.reset_metrics()


def loss_function(settings: Settings) -> keras.losses.Loss:
    """Returns the cross-entropy of logits and one-hot labels, with label smoothing."""
    return keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=settings.label_smoothing
    )


def build_classifier(
    network: keras.Model, settings: Settings, schema: image_schema.ImageSchema
) -> keras.Model:
    """Returns the model to serve: the trained weights with probabilities as outputs.

    It computes in float32, whatever the precision of the training: so its predictions are alike on
    every machine, and it is fast on machines without bfloat16, too.
    """
    exact = dataclasses.replace(settings, precision="float32")
    served = model.build_network(schema.shape, len(schema.class_names), exact)
    served.set_weights(network.get_weights())
    return model.build_classifier(served, settings)


def calibrate(
    classifier: keras.Model, validation: examples.Split, transform: tft.TFTransformOutput
) -> float:
    """Fits the temperature on `val`, sets it in the classifier and returns it."""
    probabilities = classifier.get_layer("probabilities")
    logits = predict(keras.Model(classifier.input, probabilities.input), validation, transform)
    temperature = calibration.fit_temperature(
        logits, validation.labels, probabilities.label_smoothing
    )
    probabilities.temperature.assign(temperature)
    return temperature


def predict(
    network: keras.Model, split: examples.Split, transform: tft.TFTransformOutput
) -> np.ndarray:
    """Returns the outputs of a Keras model for raw images, float32 [count, classes]."""
    data = batches.image_batches(split.images, transform)
    return halves.in_halves(network).predict(data, verbose=0)


def _write_inspection(
    classifier: keras.Model,
    settings: Settings,
    schema: image_schema.ImageSchema,
    transform: tft.TFTransformOutput,
    splits: dict[str, examples.Split],
    folder: str,
) -> None:
    trained = inspection.first_of_each_class(splits[features.TRAIN_SPLIT], 1, _INSPECTED_CLASSES)
    inspection.write_augmented(
        os.path.join(folder, features.AUGMENTED_FILE),
        trained,
        batches.prepared_images(trained.images, transform),
        settings,
        schema,
    )
    unseen = inspection.first_of_each_class(splits[features.TEST_SPLIT], 1, _INSPECTED_CLASSES)
    inspection.write_feature_maps(
        os.path.join(folder, features.FEATURE_MAPS_FILE),
        unseen,
        batches.prepared_images(unseen.images, transform),
        classifier,
        schema,
    )


def _backup_folder(
    model_run_dir: str,
    settings: Settings,
    schema: image_schema.ImageSchema,
    splits: dict[str, examples.Split],
    base_model: str | None,
) -> str:
    """Returns the folder for snapshots; it lies outside the outputs, which TFX deletes on failure.

    On a cluster, it lies in the container: a snapshot is renamed, and a mounted bucket may refuse
    to rename a folder.

    Its name depends on everything that determines the weights, so that a changed run never uses a
    stale snapshot. Of the examples, that is what they are: which of them are trained on, and with
    which label, depends on more than the data and its digest.
    """
    classes = [schema.shape, schema.class_names]
    used = [splits[name].digest() for name in (features.TRAIN_SPLIT, features.VALIDATION_SPLIT)]
    deciding = json.dumps([dataclasses.asdict(settings), classes, used, base_model], sort_keys=True)
    name = hashlib.sha256(deciding.encode()).hexdigest()[:_BACKUP_NAME_LENGTH]
    node_dir = os.path.dirname(os.path.dirname(os.path.normpath(model_run_dir)))
    parent = os.environ.get(features.SNAPSHOTS_VARIABLE) or os.path.join(node_dir, "backups")
    return os.path.join(parent, name)


def _write_model_run(report: TrainingReport, backup_dir: str, model_run_dir: str) -> None:
    io_utils.copy_dir(os.path.join(backup_dir, _LOGS_FOLDER), model_run_dir)
    training_report.write(report, model_run_dir)


def _save_keras_model(classifier: keras.Model, model_dir: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, features.KERAS_MODEL_FILE)
        classifier.save(path)
        io_utils.copy_file(path, os.path.join(model_dir, features.KERAS_MODEL_FILE))


def _copy_statistics(statistics_uri: str, model_dir: str) -> None:
    source = os.path.join(
        statistics_uri, features.split_folder(features.TRAIN_SPLIT), features.STATISTICS_FILE
    )
    io_utils.copy_file(source, os.path.join(model_dir, features.REFERENCE_STATISTICS_FILE))


def _save_golden(
    golden: examples.Split, shape: tuple[int, ...], probabilities: np.ndarray, model_dir: str
) -> None:
    write_arrays(
        os.path.join(model_dir, features.GOLDEN_FILE),
        images=golden.images,
        image_shape=np.array(shape),
        labels=golden.labels,
        probabilities=probabilities,
    )
