"""A network that takes each batch in two halves, which two cores work on at the same time."""

from __future__ import annotations

from typing import Any

import keras


def in_halves(model: keras.Model, in_training: bool = False) -> keras.Model:
    """Returns a model with the same layers and weights that takes batches in halves.

    Args:
      model: A functional model of one input and one output.
      in_training: Whether training batches are halved, too; see `threads.are_halved`.
    """
    halving = HalvingModel(model.input, model.output, name=model.name)
    halving.trains_in_halves = in_training
    return halving


class HalvingModel(keras.Model):
    """A functional model that computes both halves of a batch, one beside the other.

    The operations of a network follow one another, and each of them divides its work among the
    cores. Both halves together need every operation twice, of half the size. So two cores have an
    operation each, and do not wait for each other at the end of every single one.

    In training, batch normalisation takes its statistics from each half, as "ghost batch
    normalisation" does (Hoffer et al. 2017, arXiv:1705.08741), whatever the number of cores.

    Attributes:
      trains_in_halves: Whether training batches are halved, too.
    """

    trains_in_halves: bool = False

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the outputs of the first half, then those of the second."""
        if training and not self.trains_in_halves:
            return super().call(inputs, training=training)
        count = keras.ops.shape(inputs)[0]
        # An odd number of images has one in both halves: a half must not be empty.
        half = (count + 1) // 2
        first = super().call(inputs[:half], training=training)
        second = super().call(inputs[count - half :], training=training)
        return keras.ops.concatenate([first, second[2 * half - count :]])
