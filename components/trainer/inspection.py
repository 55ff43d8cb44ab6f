"""Images for the review of a training: augmented images and feature maps."""

from __future__ import annotations

import keras
import numpy as np

from components.arrays import write_arrays
from components.examples import Split
from components.image_schema import ImageSchema
from components.trainer.augmentation import augmentation_layers
from components.trainer.settings import Settings

_VARIANTS = 8
_MAPS_PER_BLOCK = 16


def first_of_each_class(split: Split, count: int, most_classes: int | None = None) -> Split:
    """Returns the first `count` examples of each class in the split, class by class.

    Args:
      split: Examples.
      count: Number of examples of a class.
      most_classes: Maximum number of classes, the first ones; None means all.
    """
    classes = np.unique(split.labels)[:most_classes]
    members = [np.flatnonzero(split.labels == label)[:count] for label in classes]
    chosen = np.concatenate(members)
    return split.at(chosen)


def write_augmented(
    path: str, split: Split, prepared: np.ndarray, settings: Settings, schema: ImageSchema
) -> None:
    """Writes images with augmented variants; writes nothing if there is no augmentation.

    Args:
      path: Path of the file; `components.features` describes its content.
      split: Raw images.
      prepared: The same images preprocessed, float32 [N, height, width, channels] in [0, 1].
      settings: Settings with the augmentation.
      schema: Shape of the images.
    """
    layers = augmentation_layers(settings, schema.channels)
    if not layers:
        return
    augmented = np.repeat(prepared, _VARIANTS, axis=0)
    for layer in layers:
        augmented = layer(augmented, training=True)
    pixels = np.rint(keras.ops.convert_to_numpy(augmented) * 255).astype(np.uint8)
    write_arrays(
        path,
        ids=split.ids.astype(np.bytes_),
        originals=split.images.reshape(-1, *schema.shape),
        augmented=pixels.reshape(-1, _VARIANTS, *schema.shape),
    )


def write_feature_maps(
    path: str, split: Split, prepared: np.ndarray, classifier: keras.Model, schema: ImageSchema
) -> None:
    """Writes the most active feature maps of each block of the network for some images.

    Args:
      path: Path of the file; `components.features` describes its content.
      split: Raw images.
      prepared: The same images preprocessed, float32 [N, height, width, channels] in [0, 1].
      classifier: Classifier from `training.build_classifier`.
      schema: Shape of the images.
    """
    network = classifier.get_layer("network")
    # Each block ends with an addition (see `model`).
    ends = {
        layer.name.removesuffix("_add"): layer.output
        for layer in network.layers
        if layer.name.endswith("_add")
    }
    # `training=False` is needed: without it, Keras's random layers and all layers after them would
    # run in training mode, and normalisation would learn from these images.
    outputs = keras.Model(network.input, ends)(prepared, training=False)
    blocks = {name: _maps(keras.ops.convert_to_numpy(outputs[name])) for name in ends}
    write_arrays(
        path,
        ids=split.ids.astype(np.bytes_),
        images=split.images.reshape(-1, *schema.shape),
        blocks=np.array(list(blocks)),
        **blocks,
    )


def _maps(activations: np.ndarray) -> np.ndarray:
    """Converts float [N, height, width, filters] to uint8 [N, maps, height, width].

    Each map is scaled to the range from 0 to 255. All images have maps of the same filters, so that
    they are comparable.
    """
    strongest = np.argsort(-activations.mean(axis=(0, 1, 2)), kind="stable")[:_MAPS_PER_BLOCK]
    maps = np.moveaxis(activations[..., np.sort(strongest)], 3, 1)
    low = maps.min(axis=(2, 3), keepdims=True)
    span = maps.max(axis=(2, 3), keepdims=True) - low
    return np.rint((maps - low) / np.where(span > 0, span, 1) * 255).astype(np.uint8)
