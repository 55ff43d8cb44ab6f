"""The module file of stock TFX: `preprocessing_fn` and `run_fn`, as its MNIST example has them.

After `tfx/examples/mnist/mnist_utils_native_keras.py` and `mnist_utils_native_keras_base.py`: Keras
2, since TensorFlow Transform's layer is one of it, training on the materialised floats, and a
`serving_default` that parses examples and transforms them. Other than there, the network is a
convolutional one, and no MirroredStrategy is opened, which mirrors nothing on one machine.
"""

from __future__ import annotations

import math
import pathlib
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import DataAccessor, FnArgs
from tfx_bsl.tfxio import dataset_options

from benchmarks import stock_network
from benchmarks.epoch_clock import EpochClock

IMAGE_KEY = "image"
LABEL_KEY = "label"


def transformed_name(key: str) -> str:
    """What a feature is called behind Transform."""
    return f"{key}_xf"


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]
) -> dict[str, tf.Tensor]:
    """Turns the bytes of an image into floats, and scales them by what Transform finds in all."""
    raw = tf.reshape(inputs[IMAGE_KEY], [-1])
    size = math.prod(custom_config["image_shape"])
    floats = tf.cast(tf.reshape(tf.io.decode_raw(raw, tf.uint8), [-1, size]), tf.float32)
    return {
        transformed_name(IMAGE_KEY): tft.scale_by_min_max(floats, 0.0, 1.0),
        transformed_name(LABEL_KEY): inputs[LABEL_KEY],
    }


def run_fn(fn_args: FnArgs) -> None:
    """Trains, and writes the SavedModel."""
    config = fn_args.custom_config
    transform = tft.TFTransformOutput(fn_args.transform_output)
    train, evaluation = (
        _dataset(files, fn_args.data_accessor, transform, config["batch_size"])
        for files in (fn_args.train_files, fn_args.eval_files)
    )
    model = build_model(config)
    clock = EpochClock()
    model.fit(
        train,
        epochs=config["epochs"],
        steps_per_epoch=fn_args.train_steps,
        validation_data=evaluation,
        validation_steps=fn_args.eval_steps,
        verbose=0,
        callbacks=[
            tf.keras.callbacks.TensorBoard(log_dir=fn_args.model_run_dir, update_freq="epoch"),
            tf.keras.callbacks.LambdaCallback(on_epoch_begin=clock.begin, on_epoch_end=clock.end),
        ],
    )
    clock.write(pathlib.Path(fn_args.model_run_dir))
    specification = tf.TensorSpec([None], tf.string, name="examples")
    serving = _serving_function(model, transform).get_concrete_function(specification)
    tf.saved_model.save(model, fn_args.serving_model_dir, {"serving_default": serving})


def build_model(config: dict[str, Any]) -> tf.keras.Model:
    """Our layers in Keras 2, from the flat floats of Transform."""
    shape = config["image_shape"]
    network = stock_network.build(
        shape,
        config["class_count"],
        config["widths"],
        config["dropout"],
        config["whitening_filters"],
        tf.keras,
    )
    floats = tf.keras.Input((math.prod(shape),), name=transformed_name(IMAGE_KEY))
    model = tf.keras.Model(floats, network(tf.keras.layers.Reshape(shape)(floats)))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _dataset(
    files: list[str], accessor: DataAccessor, transform: tft.TFTransformOutput, batch_size: int
) -> tf.data.Dataset:
    options = dataset_options.TensorFlowDatasetOptions(
        batch_size=batch_size, label_key=transformed_name(LABEL_KEY)
    )
    schema = transform.transformed_metadata.schema
    return accessor.tf_dataset_factory(files, options, schema).repeat()


def _serving_function(model: tf.keras.Model, transform: tft.TFTransformOutput) -> Any:
    # Tracked by the model, so that it is saved with it.
    model.transform_layer = transform.transform_features_layer()

    @tf.function
    def serve(serialized_examples: tf.Tensor) -> tf.Tensor:
        specification = transform.raw_feature_spec()
        specification.pop(LABEL_KEY)
        parsed = tf.io.parse_example(serialized_examples, specification)
        return model(model.transform_layer(parsed))

    return serve
