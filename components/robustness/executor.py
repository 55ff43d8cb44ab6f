"""Writes the test images under each corruption, and a preview."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components import examples, features, image_schema, reading_report
from components.arrays import write_arrays
from components.robustness import corruptions

_BATCH_SIZE = 2048
# Corrupting and serializing needs many times the bytes of the raw images.
_MOST_BATCH_BYTES = 16 * 2**20
# Noise hardly compresses; a higher level would only cost time.
_COMPRESSION = tf.io.TFRecordOptions("GZIP", compression_level=1)


class Executor(base_executor.BaseExecutor):
    """Corrupts batch by batch; memory holds the test split and one corrupted batch."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes a split `test` with a file for each corruption and strength, and the preview."""
        uris = {key: artifact_utils.get_single_uri(found) for key, found in input_dict.items()}
        shape = image_schema.read_artifact(uris["schema"]).shape
        split = examples.read_split(uris["clean_examples"], features.TEST_SPLIT)
        seed = exec_properties["seed"]
        reading = reading_report.read(uris["clean_examples"])
        # Black or white wedges would be no picture that anybody takes.
        background = None if reading.border == "mixed" else reading.background
        output = artifact_utils.get_single_instance(output_dict["examples"])
        output.split_names = artifact_utils.encode_split_names([features.TEST_SPLIT])
        folder = artifact_utils.get_split_uri([output], features.TEST_SPLIT)
        fileio.makedirs(folder)
        for corruption, strength in corruptions.amounts():
            path = os.path.join(folder, f"{examples.FILE_PREFIX}-{corruption}-{strength}.gz")
            _write(path, corrupted_examples(split, shape, corruption, strength, seed, background))
        examples.write_listing(output.uri, [features.TEST_SPLIT])
        preview = os.path.join(output.uri, features.PREVIEW_FILE)
        _write_preview(preview, split, shape, seed, background)


def corrupted_examples(
    split: examples.Split,
    shape: tuple[int, int, int],
    corruption: str,
    strength: int,
    seed: int,
    background: int | None,
) -> Iterator[bytes]:
    """Yields the examples of a split corrupted and serialized, in the order of their ids.

    Args:
      split: the original examples.
      shape: height, width and channels of an image.
      corruption: a name of `corruptions.CORRUPTIONS`.
      strength: one of `corruptions.STRENGTHS`.
      seed: random seed.
      background: brightness of what moves in from outside, as `corruptions.corrupt` takes it.
    """
    size = examples.rows_within(_MOST_BATCH_BYTES, split.images.shape[1], _BATCH_SIZE)
    for start in range(0, len(split.ids), size):
        part = slice(start, start + size)
        ids = split.ids[part]
        images = split.images[part].reshape(-1, *shape)
        corrupted = corruptions.corrupt(images, ids, corruption, strength, seed, background)
        ending = f"/{corruption}/{strength}".encode()
        yield from examples.serialize(
            {
                features.IMAGE: [image.tobytes() for image in corrupted],
                features.LABEL: split.labels[part].tolist(),
                features.EXAMPLE_ID: [name + ending for name in ids],
                features.CORRUPTION: [corruption.encode()] * len(ids),
                features.STRENGTH: [strength] * len(ids),
            }
        )


def _write(path: str, records: Iterator[bytes]) -> None:
    with tf.io.TFRecordWriter(path, _COMPRESSION) as writer:
        for record in records:
            writer.write(record)


def _write_preview(
    path: str, split: examples.Split, shape: tuple[int, int, int], seed: int, background: int | None
) -> None:
    """Writes the first image, original and under each corruption."""
    image, ids = split.images[:1].reshape(-1, *shape), split.ids[:1]
    images, about = [image], ["untouched"]
    for corruption, strength in corruptions.amounts():
        images.append(corruptions.corrupt(image, ids, corruption, strength, seed, background))
        about.append(f"{corruption}, strength {strength}")
    write_arrays(path, images=np.concatenate(images), about=np.array(about))
