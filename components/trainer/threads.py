"""How many cores compute one operation of a training, and how many its neighbour."""

from __future__ import annotations

# Minimum number of images of a training batch to halve. Batch normalisation takes its statistics
# from a half: from few images, they are too rough.
_LEAST_TO_HALVE = 128


def are_halved(batch_size: int) -> bool:
    """Tells whether training batches of a size are halved, as in `halves.HalvingModel`."""
    return batch_size >= _LEAST_TO_HALVE


def share(cores: int, batch_size: int) -> None:
    """Tells TensorFlow how to share the cores, before it computes anything in this process.

    Two operations run at the same time where batches are halved, so each has half of the cores.

    Args:
      cores: Number of cores.
      batch_size: Number of images of a training batch.

    Raises:
      RuntimeError: If TensorFlow has computed something.
    """
    # Imported here: a run imports TensorFlow late.
    import tensorflow as tf

    each = (cores + 1) // 2 if are_halved(batch_size) else cores
    tf.config.threading.set_intra_op_parallelism_threads(each)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
