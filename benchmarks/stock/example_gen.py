"""ExampleGen for IDX files, written as TFX's own executors are: one example at a time.

After `tfx/components/example_gen/csv_example_gen/executor.py`, which makes a `tf.train.Example` of
each line; here one is made of each image. Splitting, shuffling and writing (gzipped TFRecords) are
left to the base class, as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.dsl.io import fileio
from tfx.types import standard_component_specs

from benchmarks import idx_files

IMAGE, LABEL = "image", "label"


class Executor(BaseExampleGenExecutor):
    """Reads an images file beside its labels file."""

    def GetInputSourceToExamplePTransform(self) -> type[beam.PTransform]:
        """The transform that reads the files of a split."""
        return _IdxToExample


class _IdxToExample(beam.PTransform):
    def __init__(self, exec_properties: dict[str, Any], split_pattern: str):
        super().__init__()
        folder = exec_properties[standard_component_specs.INPUT_BASE_KEY]
        self._pattern = f"{folder}/{split_pattern}"

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        images, labels = sorted(fileio.glob(self._pattern))
        return pipeline | beam.Create([(images, labels)]) | beam.FlatMapTuple(examples)


def examples(images: str, labels: str) -> Iterator[tf.train.Example]:
    """An example for each image of a pair of files: its raw bytes and its label."""
    for image, label in zip(idx_files.read(images), idx_files.read(labels), strict=True):
        yield tf.train.Example(features=tf.train.Features(feature=_features(image, int(label))))


def _features(image: np.ndarray, label: int) -> dict[str, tf.train.Feature]:
    return {
        IMAGE: tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()])),
        LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
