"""Augmentation: random changes of the training images, as Keras layers."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras

from components.trainer.settings import Augmentation, Settings

# Keras's names of what moves into an image. Its `reflect` repeats the outermost pixel.
_FILL_MODES = {"background": "constant", "edge": "nearest", "reflect": "reflect"}
_COLOUR_CHANNELS = 3


def augmentation_layers(settings: Settings, channels: int) -> list[keras.layers.Layer]:
    """Returns the augmentation as Keras layers, which are active only in training.

    Erased rectangles become noise (Zhong et al. 2017, arXiv:1708.04896), which looks like no
    garment. They come last, so that no other layer changes the noise. The layers compute in
    float32, whatever the precision of the network: bfloat16 has too few values between 0 and 1 for
    the 256 values of a pixel.

    Args:
      settings: Settings with the augmentation, the background and the base seed. A change that is
        0 or false gets no layer.
      channels: Channels of an image. With one, there is no colour to change.
    """
    augmentation = settings.augmentation
    layers = keras.layers
    rotation, shift = augmentation.rotation, augmentation.shift
    shear, zoom = augmentation.shear, augmentation.zoom
    colour = augmentation.colour if channels == _COLOUR_CHANNELS else 0.0
    # Without interpolation: four interpolating layers in a row would blur the training images, but
    # not the others.
    fill: dict[str, Any] = {
        "fill_mode": _FILL_MODES[augmentation.fill],
        "fill_value": settings.background / 255,
        "interpolation": "nearest",
    }
    # One seed per layer: layers with the same seed would draw the same numbers. The number of a
    # layer never changes, or the same settings would draw other numbers than before.
    builders = [
        (1, augmentation.flip, partial(layers.RandomFlip, "horizontal", name="flip")),
        (
            7,
            augmentation.flip_vertical,
            partial(layers.RandomFlip, "vertical", name="flip_vertical"),
        ),
        (2, rotation, partial(layers.RandomRotation, rotation / 360, name="rotation", **fill)),
        (3, shift, partial(layers.RandomTranslation, shift, shift, name="shift", **fill)),
        (4, shear, partial(LoadableShear, shear, name="shear", **fill)),
        (5, zoom, partial(layers.RandomZoom, zoom, name="zoom", **fill)),
        (8, augmentation.crop, partial(RandomResizedCrop, augmentation.crop, name="crop")),
        (9, augmentation.brightness, partial(_random_brightness, augmentation)),
        (10, augmentation.contrast, partial(_random_contrast, augmentation)),
        (11, colour, partial(_random_colour, colour)),
        (6, augmentation.erasing, partial(_random_erasing, augmentation.erasing)),
    ]
    return [
        build(seed=settings.seed + number, dtype="float32")
        for number, wanted, build in builders
        if wanted
    ]


@keras.saving.register_keras_serializable(package="image_classifier")
class RandomResizedCrop(keras.layers.Layer):
    """Cuts off up to a share of each side, and enlarges the rest to the whole size, in training.

    Height and width keep their proportions, and the place of the crop is random. Keras has only
    RandomCrop, which cuts all images of a batch alike, and RandomZoom, which keeps the middle.

    Input and output: float32 [N, height, width, channels].
    """

    def __init__(self, share: float, seed: int, **arguments: Any):
        """Creates the layer.

        Args:
          share: Maximum share of a side to cut off, below 1.
          seed: Random seed.
          **arguments: Name and dtype, as for any Keras layer.
        """
        super().__init__(**arguments)
        self.share, self.seed = share, seed
        self._generator = keras.random.SeedGenerator(seed)
        # As Keras's own layers that move pixels: XLA cannot.
        self.supports_jit = False

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Returns the crops; the images themselves, if not in training."""
        if not training:
            return images
        count, height, width = keras.ops.shape(images)[:3]
        kept = 1.0 - self._drawn(count, self.share)
        none = keras.ops.zeros_like(kept)
        across = (kept, none, self._offset(kept, count, width))
        down = (none, kept, self._offset(kept, count, height))
        # Nothing moves in: rounding alone may ask for a pixel beyond the edge.
        return keras.ops.image.affine_transform(
            images,
            keras.ops.stack([*across, *down, none, none], axis=1),
            interpolation="nearest",
            fill_mode="nearest",
        )

    def _offset(self, kept: Any, count: Any, side: int) -> Any:
        """Where the first pixel of a side comes from, as the position of its centre."""
        first = self._drawn(count, 1.0) * (1.0 - kept) * side
        return first + (kept - 1.0) / 2

    def _drawn(self, count: Any, most: float) -> Any:
        return keras.random.uniform((count,), 0.0, most, seed=self._generator)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        return {**super().get_config(), "share": self.share, "seed": self.seed}


@keras.saving.register_keras_serializable(package="image_classifier")
class LoadableShear(keras.layers.RandomShear):
    """Keras's RandomShear, which a saved model can be loaded with.

    Keras saves a range with a negative end, which its constructor refuses.
    """

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        largest = {"x_factor": self.x_factor[1], "y_factor": self.y_factor[1]}
        return {**super().get_config(), **largest}


@keras.saving.register_keras_serializable(package="image_classifier")
class TrainingSaturation(keras.layers.RandomSaturation):
    """Keras's RandomSaturation, which draws a number in training alone.

    Keras draws it in predictions too, so that an exported model would change its own state.
    """

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Any = None
    ) -> dict[str, Any] | None:
        """Returns the factors of the saturation; None, if not in training."""
        return super().get_random_transformation(data, training, seed) if training else None


@keras.saving.register_keras_serializable(package="image_classifier")
class SparseErasing(keras.layers.RandomErasing):
    """Keras's RandomErasing, which draws rectangles and noise for the erased images alone.

    Keras draws them for every image and keeps those of a few, which takes four times as long as
    this layer if one image in ten is erased. With another backend than TensorFlow, the layer uses
    the code of the parent class.

    Input and output: float32 [N, height, width, channels].
    """

    def __init__(self, probability: float, **arguments: Any):
        """Creates the layer.

        Args:
          probability: Probability that an image is erased, 0 to 1.
          **arguments: Seed, value range, name and dtype, as for RandomErasing.
        """
        # Keras draws the probability from a range; both ends are equal here.
        super().__init__((probability, probability), **arguments)
        self.probability = probability
        # XLA needs to know how many images are erased.
        self.supports_jit = False

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        config = {**super().get_config(), "probability": self.probability}
        del config["factor"]
        return config

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Any = None
    ) -> dict[str, Any] | None:
        """Returns which images to erase, their rectangles and noise; None, if not in training."""
        if not training or keras.backend.backend() != "tensorflow":
            return super().get_random_transformation(data, training, seed)
        # Import TensorFlow only here: the network also trains with other backends.
        import tensorflow as tf

        drawn = keras.random.uniform((keras.ops.shape(data)[0],), seed=self.generator)
        erased = tf.where(drawn < self.probability)
        found = super().get_random_transformation(tf.gather_nd(data, erased), training, seed)
        return {**found, "erased": erased}

    def transform_images(
        self, images: Any, transformation: dict[str, Any] | None = None, training: bool = True
    ) -> Any:
        """Returns the images, with a rectangle of noise in some of them if in training."""
        if transformation is None or "erased" not in transformation:
            return super().transform_images(images, transformation, training)
        import tensorflow as tf

        noisy = tf.where(
            transformation["batch_masks"],
            transformation["fill_value"],
            tf.gather_nd(images, transformation["erased"]),
        )
        return tf.tensor_scatter_nd_update(images, transformation["erased"], noisy)


# All of them count on values from 0 to 255, if they are not told otherwise.
_VALUE_RANGE = (0.0, 1.0)


def _random_brightness(augmentation: Augmentation, **arguments: Any) -> keras.layers.Layer:
    return keras.layers.RandomBrightness(
        augmentation.brightness, value_range=_VALUE_RANGE, name="brightness", **arguments
    )


def _random_contrast(augmentation: Augmentation, **arguments: Any) -> keras.layers.Layer:
    # From a single number, Keras takes only higher contrasts.
    factor = (augmentation.contrast, augmentation.contrast)
    return keras.layers.RandomContrast(
        factor, value_range=_VALUE_RANGE, name="contrast", **arguments
    )


def _random_colour(most: float, **arguments: Any) -> keras.layers.Layer:
    # Keras multiplies the saturation by f / (1 - f).
    factor = ((1 - most) / (2 - most), (1 + most) / (2 + most))
    return TrainingSaturation(factor, value_range=_VALUE_RANGE, name="colour", **arguments)


def _random_erasing(probability: float, **arguments: Any) -> keras.layers.Layer:
    return SparseErasing(probability, value_range=_VALUE_RANGE, name="erasing", **arguments)
