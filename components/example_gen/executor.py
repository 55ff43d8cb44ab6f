"""Turns IDX files into TensorFlow examples, in Beam."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from google.protobuf import wrappers_pb2
from tfx.components.example_gen import base_example_gen_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils
from tfx_bsl.coders import example_coder

from components import features
from components.example_gen import idx, split

_BATCH_SIZE = 2048
_FILE_PREFIX = "data_tfrecord"


class Executor(base_example_gen_executor.BaseExampleGenExecutor):
    """Writes the splits `train`, `val` and `test`.

    The stock executor sends each serialized image through a shuffle, which Beam's local runner
    holds in memory; the order of examples carries no meaning here, so each split is written where
    it is read.
    """

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:
        """Not used: reading and splitting are one step here, in `GenerateExamplesByBeam`."""
        raise NotImplementedError("GenerateExamplesByBeam reads and splits in one step.")

    def GenerateExamplesByBeam(
        self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]
    ) -> dict[str, beam.PCollection]:
        """Reads the IDX files that the custom configuration names.

        Args:
          pipeline: where the reading is added to.
          exec_properties: its `custom_config` holds the parameters of `component.IdxExampleGen`.

        Returns:
          Serialized examples by split name.
        """
        parameters = _parameters(exec_properties)
        splits = (
            pipeline
            | "Files" >> beam.Create(parameters["pairs"])
            | "Read" >> beam.ParDo(_ReadPair(parameters)).with_outputs(*features.SPLITS)
        )
        return {name: splits[name] for name in features.SPLITS}

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes each split as TFRecord files below the examples artifact."""
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.EXAMPLES_KEY]
        )
        examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
        with self._make_beam_pipeline() as pipeline:
            for name, records in self.GenerateExamplesByBeam(pipeline, exec_properties).items():
                folder = artifact_utils.get_split_uri([examples], name)
                _write(records, name, folder)


def _write(records: beam.PCollection, name: str, folder: str) -> None:
    writer = beam.io.WriteToTFRecord(f"{folder}/{_FILE_PREFIX}")
    _ = records | f"Write[{name}]" >> writer


def _parameters(exec_properties: dict[str, Any]) -> dict[str, Any]:
    config = example_gen_pb2.CustomConfig()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY], config)
    packed = wrappers_pb2.StringValue()
    config.custom_config.Unpack(packed)
    return json.loads(packed.value)


class _ReadPair(beam.DoFn):
    """Reads an images file beside its labels file, and sends each example to its split."""

    def __init__(self, parameters: dict[str, Any]):
        self._parameters = parameters

    def process(self, element: dict[str, Any]) -> Iterator[beam.pvalue.TaggedOutput]:
        pair = idx.IdxPair(**element)
        parameters = self._parameters
        labels, labels_sha256 = idx.read_labels(pair.labels, parameters["class_count"], fileio.open)
        ids = split.example_ids(pair.name, labels.size)
        names = self._splits(pair.name, ids, labels)
        reader = idx.image_reader(pair.images, tuple(parameters["image_shape"]), fileio.open)
        start = 0
        for images in reader.batches(_BATCH_SIZE):
            part = slice(start, start + len(images))
            records = _encode(images, labels[part], ids[part])
            for name, record in zip(names[part], records, strict=True):
                yield beam.pvalue.TaggedOutput(name, record)
            start += len(images)
        _check_unchanged(pair, reader.sha256, labels_sha256)

    def _splits(self, pair_name: str, ids: list[str], labels: np.ndarray) -> list[str]:
        if pair_name == self._parameters["test_pair"]:
            return [features.TEST_SPLIT] * len(ids)
        chosen = split.choose_validation(
            ids, labels, self._parameters["validation_per_class"], self._parameters["seed"]
        )
        return np.where(chosen, features.VALIDATION_SPLIT, features.TRAIN_SPLIT).tolist()


def _encode(images: np.ndarray, labels: np.ndarray, ids: list[str]) -> list[bytes]:
    """Serializes a batch of examples at once, in C++ (images uint8 [N, ...], labels [N])."""
    values = [image.tobytes() for image in images]
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([[value] for value in values], pa.large_list(pa.large_binary())),
            pa.array([[int(label)] for label in labels], pa.large_list(pa.int64())),
            pa.array([[name.encode()] for name in ids], pa.large_list(pa.large_binary())),
        ],
        [features.IMAGE, features.LABEL, features.EXAMPLE_ID],
    )
    return example_coder.RecordBatchToExamples(batch)


def _check_unchanged(pair: idx.IdxPair, images_sha256: str, labels_sha256: str) -> None:
    if (images_sha256, labels_sha256) != (pair.images_sha256, pair.labels_sha256):
        raise idx.IdxError(
            f"{pair.images} or {pair.labels} changed while the run was reading it; expected the "
            "content that was checked when the run began. Run again when the files are at rest."
        )
