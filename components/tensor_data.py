"""TensorFlow's input pipelines, as all of this project's are run."""

from __future__ import annotations

import tensorflow as tf


def without_autotuner(data: tf.data.Dataset) -> tf.data.Dataset:
    """The same dataset, whose iterators end at once.

    TensorFlow's autotuner looks at an iterator 10 ms after its begin, then after twice that time,
    and so on. An iterator that is given up in between may wait for the next look before it is gone
    (`model.cc`: the thread is woken before it can see that it shall end), which is as long as it
    has lived, up to a minute. There is nothing here to tune: the network keeps all cores busy.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)
