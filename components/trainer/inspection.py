"""What people look at to see whether a training makes sense: augmented images, feature maps."""

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


def first_of_each_class(split: Split, count: int) -> Split:
    """The first `count` examples of each class that occurs, class by class."""
    members = [np.flatnonzero(split.labels == label)[:count] for label in np.unique(split.labels)]
    chosen = np.concatenate(members)
    return Split(split.images[chosen], split.labels[chosen], split.ids[chosen])


def write_augmented(
    path: str, split: Split, prepared: np.ndarray, settings: Settings, schema: ImageSchema
) -> None:
    """Writes images beside what augmentation makes of them; nothing where there is none.

    Args:
      path: of the file, whose content `components.features` describes.
      split: the images, raw.
      prepared: the same prepared, float32 [N, height, width, channels] in [0, 1].
      settings: which augmentation.
      schema: the shape of the images.
    """
    layers = augmentation_layers(settings.augmentation, settings.seed)
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
    """Writes what each block of the network makes of images: of its maps the most active ones.

    Args:
      path: of the file, whose content `components.features` describes.
      split: the images, raw.
      prepared: the same prepared, float32 [N, height, width, channels] in [0, 1].
      classifier: from `training.build_classifier`.
      schema: the shape of the images.
    """
    network = classifier.get_layer("network")
    # Each stage ends in an addition (`model`).
    ends = {
        layer.name.removesuffix("_add"): layer.output
        for layer in network.layers
        if layer.name.endswith("_add")
    }
    # Said outright: Keras's random layers take a call for training where nothing is said, and so do
    # all after them; normalisation would then learn from these images.
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
    """Float [N, height, width, filters] to uint8 [N, maps, height, width], each map from 0 to 255.

    The same filters for all images, so that these can be compared.
    """
    strongest = np.argsort(-activations.mean(axis=(0, 1, 2)), kind="stable")[:_MAPS_PER_BLOCK]
    maps = np.moveaxis(activations[..., np.sort(strongest)], 3, 1)
    low = maps.min(axis=(2, 3), keepdims=True)
    span = maps.max(axis=(2, 3), keepdims=True) - low
    return np.rint((maps - low) / np.where(span > 0, span, 1) * 255).astype(np.uint8)
