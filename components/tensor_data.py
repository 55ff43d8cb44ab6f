"""An option for all TensorFlow input pipelines of this project."""

from __future__ import annotations

import tensorflow as tf


def without_autotuner(data: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the same dataset without autotuning, so that its iterators end at once.

    TensorFlow's autotuner checks an iterator 10 ms after its start, and then at doubling intervals.
    An abandoned iterator may wait for the next check before it ends (`model.cc`: the thread is
    woken before it can see that it should end). This takes as long as the iterator has lived, up to
    a minute. Nothing needs tuning here, since the network keeps all cores busy.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)
