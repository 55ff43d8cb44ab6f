"""Which training batches are halved, and how TensorFlow's threads follow from it.

Without Keras, since a run decides it before it imports any library.
"""

from __future__ import annotations

# Minimum number of images of a training batch to halve. Batch normalisation takes its statistics
# from a half, and 64 images give steady ones.
_MIN_HALVED_BATCH = 128


def are_halved(batch_size: int) -> bool:
    """Tells whether training batches of a size are halved, as in `halves.HalvingModel`."""
    return batch_size >= _MIN_HALVED_BATCH


def pool_size(cores: int, batch_size: int | None) -> int:
    """Number of threads in TensorFlow's pool for the work inside operations.

    If there is a single thread in it, each operation is computed by the thread that asks for it.
    So on two cores, an operation of either half keeps a core busy, and neither waits for the
    other. On more cores, both halves use the whole pool, as operations of whole batches do on any
    machine.

    Args:
      cores: Number of cores.
      batch_size: Number of images of a training batch; None where that is not known.
    """
    is_paired = cores == 2 and batch_size is not None and are_halved(batch_size)
    return 1 if is_paired else cores


def share(cores: int, batch_size: int | None) -> None:
    """Tells TensorFlow how to share the cores, before it computes anything in this process.

    Args:
      cores: Number of cores.
      batch_size: Number of images of a training batch; None where that is not known.

    Raises:
      RuntimeError: If TensorFlow has computed something with other threads.
    """
    # Imported here: a run imports TensorFlow late.
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(pool_size(cores, batch_size))
    tf.config.threading.set_inter_op_parallelism_threads(cores)
