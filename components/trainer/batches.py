"""The input of training: raw bytes, stored once and preprocessed per batch."""

from __future__ import annotations

import functools

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components import features
from components.examples import Split, rows_within
from components.tensor_data import without_autotuner

# Images of a batch that is not trained on. A network needs many times the bytes of the raw images,
# so of large ones fewer are taken at a time.
_LARGEST_BATCH = 1000
_MOST_BATCH_BYTES = 2 * 2**20
_PREFETCHED = 4
_MOST_STEPS_AT_ONCE = 16
# The learning rate is set before steps that are taken at once, and changes this often in a training
# of so many steps or more.
_LEAST_RATES = 40


class TrainingBatches:
    """Batches of preprocessed images, one-hot labels and perhaps weights, shuffled in each epoch.

    The order of an epoch depends only on the seed and the number of the epoch, so a training may
    start at any epoch. Every batch is full. The images that are left over at the end of an epoch
    differ between epochs.

    Attributes:
      batch_size: Number of images in a batch.
      steps: Number of batches in an epoch.
      weights: Weight of an image of each class, float32 [classes]; None if all count alike.
    """

    def __init__(
        self,
        split: Split,
        classes: int,
        batch_size: int,
        seed: int,
        weights: np.ndarray | None = None,
    ):
        """Stores the images and labels to train on.

        Args:
          split: Raw images and labels.
          classes: Number of classes.
          batch_size: Number of images in a batch; a smaller split is a single batch.
          seed: Random seed of the order.
          weights: Weight of an image of each class, float32 [classes]; None for no weights.
        """
        self._split = split
        self._classes = classes
        self.batch_size = min(batch_size, len(split.labels))
        self._seed = seed
        self.steps = len(split.labels) // self.batch_size
        self.weights = weights

    def dataset(
        self, transform: tft.TFTransformOutput, first_epoch: int, epochs: int
    ) -> tf.data.Dataset:
        """Returns all batches of the epochs from `first_epoch` up to, but without, `epochs`.

        Args:
          transform: Output of Transform; its graph preprocesses every batch.
          first_epoch: First epoch, counted from 0.
          epochs: Number of epochs of the whole training.
        """
        labels = tf.constant(self._split.labels)

        def choose(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return _chosen(self._split.images, indices), tf.gather(labels, indices)

        batches = tf.data.Dataset.range(first_epoch, epochs).flat_map(self._order)
        return _prepared(batches.map(choose), transform, self._classes, self.weights)

    def _order(self, epoch: tf.Tensor) -> tf.data.Dataset:
        seed = tf.stack([tf.cast(self._seed, tf.int64), epoch])
        indices = tf.range(len(self._split.labels))
        shuffled = tf.random.experimental.stateless_shuffle(indices, seed)
        used = shuffled[: self.steps * self.batch_size]
        return tf.data.Dataset.from_tensor_slices(tf.reshape(used, [self.steps, -1]))

    def steps_at_once(self, epochs: int) -> int:
        """Returns the number of steps that TensorFlow takes without returning to Python.

        It divides the number of steps of an epoch; otherwise Keras would run past its end. In a
        short training it is small, so that the learning rate follows its schedule.

        Args:
          epochs: Number of epochs of the whole training.
        """
        most = min(_MOST_STEPS_AT_ONCE, max(1, self.steps * epochs // _LEAST_RATES))
        return max(n for n in range(1, most + 1) if self.steps % n == 0)


def labelled_batches(
    split: Split,
    transform: tft.TFTransformOutput,
    classes: int,
    weights: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Returns batches of preprocessed images and one-hot labels, in the order of the split.

    Args:
      split: Raw images and labels.
      transform: Output of Transform; its graph preprocesses every batch.
      classes: Number of classes.
      weights: Weight of an image of each class, float32 [classes]; None for no weights.
    """
    labels = tf.constant(split.labels)

    def choose(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _chosen(split.images, indices), tf.gather(labels, indices)

    return _prepared(_in_order(split.images).map(choose), transform, classes, weights)


def image_batches(images: np.ndarray, transform: tft.TFTransformOutput) -> tf.data.Dataset:
    """Returns batches of preprocessed images, in their order.

    Args:
      images: Raw images, uint8 [N, bytes per image].
      transform: Output of Transform; its graph preprocesses every batch.
    """
    layer = transform.transform_features_layer()

    # AutoGraph would spend seconds on rewriting the code of TFT, without any effect.
    @tf.autograph.experimental.do_not_convert
    def prepare(indices: tf.Tensor) -> tf.Tensor:
        return _image(layer, _chosen(images, indices))

    return _prefetched(_in_order(images).map(prepare))


def prepared_sample(split: Split, transform: tft.TFTransformOutput, count: int) -> np.ndarray:
    """Returns preprocessed images, evenly spaced over a split.

    Args:
      split: Raw images.
      transform: Output of Transform; its graph preprocesses the images.
      count: Number of images; a smaller split gives all its images.

    Returns:
      Images, float32 [N, height, width, channels] in [0, 1].
    """
    last = len(split.labels) - 1
    rows = np.linspace(0, last, min(last + 1, count)).astype(np.int64)
    return prepared_images(split.images[rows], transform)


def prepared_images(images: np.ndarray, transform: tft.TFTransformOutput) -> np.ndarray:
    """Preprocesses raw images, uint8 [N, ...], with Transform's graph.

    Returns:
      Images, float32 [N, height, width, channels] in [0, 1].
    """
    raw = tf.constant([image.tobytes() for image in images])
    return _image(transform.transform_features_layer(), raw).numpy()


def _in_order(images: np.ndarray) -> tf.data.Dataset:
    """Returns the rows of images, batch by batch."""
    size = rows_within(_MOST_BATCH_BYTES, images.shape[1], _LARGEST_BATCH)
    return tf.data.Dataset.range(len(images)).batch(size)


def _chosen(images: np.ndarray, rows: tf.Tensor) -> tf.Tensor:
    """Returns the bytes of the images at some rows, string [N]."""
    # A NumPy function: as a constant, TensorFlow would copy all images, and it cannot read
    # memory-mapped ones.
    raw = tf.numpy_function(functools.partial(_strings, images), [rows], tf.string)
    return tf.ensure_shape(raw, rows.shape)


def _strings(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.array([image.tobytes() for image in images[rows]], dtype=object)


def _image(layer: keras.layers.Layer, raw: tf.Tensor) -> tf.Tensor:
    return layer({features.IMAGE: tf.expand_dims(raw, 1)})[features.IMAGE]


def _prepared(
    batches: tf.data.Dataset,
    transform: tft.TFTransformOutput,
    classes: int,
    weights: np.ndarray | None,
) -> tf.data.Dataset:
    layer = transform.transform_features_layer()

    # AutoGraph would spend seconds on rewriting the code of TFT, without any effect.
    @tf.autograph.experimental.do_not_convert
    def prepare(raw: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        labelled = (_image(layer, raw), tf.one_hot(labels, classes))
        return labelled if weights is None else (*labelled, tf.gather(weights, labels))

    return _prefetched(batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE))


def _prefetched(data: tf.data.Dataset) -> tf.data.Dataset:
    return without_autotuner(data.prefetch(_PREFETCHED))
