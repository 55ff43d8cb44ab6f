"""A network that takes each batch in two halves, which two cores work on at the same time."""

from __future__ import annotations

from typing import Any

import keras

from components.trainer import threads


def in_halves(model: keras.Model) -> keras.Model:
    """Returns a model with the same layers and weights that takes batches in halves."""
    return HalvingModel(model.input, model.output, name=model.name)


class HalvingModel(keras.Model):
    """A functional model that computes both halves of a batch, one beside the other.

    The operations of a network follow one another, and each of them divides its work among the
    cores. Both halves together need every operation twice, of half the size. So two cores have an
    operation each, and do not wait for each other at the end of every single one.

    In training, batch normalisation takes its statistics from each half, as "ghost batch
    normalisation" does (Hoffer et al. 2017, arXiv:1705.08741). The results do not depend on whether
    there are two cores. Small training batches stay whole (`threads.are_halved`).
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the outputs of the first half, then those of the second."""
        if training and not threads.are_halved(inputs.shape[0] or 0):
            return super().call(inputs, training=training, mask=mask)
        count = keras.ops.shape(inputs)[0]
        # An odd number of images has one in both halves: a half must not be empty.
        size = (count + 1) // 2
        first, second = (
            super(HalvingModel, self).call(half, training=training, mask=mask)
            for half in (inputs[:size], inputs[count - size :])
        )
        return keras.ops.concatenate([first, second[2 * size - count :]])
