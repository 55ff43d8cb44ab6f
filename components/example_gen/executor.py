"""Turns IDX files into TensorFlow examples, in Beam."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from google.protobuf import wrappers_pb2
from tfx.components.example_gen import base_example_gen_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components import examples, features
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
          exec_properties: those of `component.IdxExampleGen`.

        Returns:
          Serialized examples by split name.
        """
        parameters = _parameters(exec_properties)
        splits = (
            pipeline
            | "Files" >> beam.Create(_assigned(parameters))
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
    parameters = json.loads(packed.value)
    base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
    pairs = [_pair(base, entry) for entry in parameters["pairs"]] or _found(base, parameters)
    _check_digest(base, pairs, exec_properties["data_digest"])
    return {**parameters, "seed": exec_properties["seed"], "train": pairs[:-1], "test": pairs[-1]}


def _pair(base: str, entry: dict[str, Any]) -> idx.IdxPair:
    pair = idx.IdxPair(**entry)
    images, labels = (os.path.join(base, path) for path in (pair.images, pair.labels))
    return dataclasses.replace(pair, images=images, labels=labels)


def _found(base: str, parameters: dict[str, Any]) -> list[idx.IdxPair]:
    """The pairs of the four files of a folder, read to their ends and checked."""
    shape, class_count = tuple(parameters["image_shape"]), parameters["class_count"]
    return [
        idx.check_pair(
            half, _file(base, images), _file(base, labels), shape, class_count, fileio.open
        )
        for half, (images, labels) in idx.FILES.items()
    ]


def _file(base: str, name: str) -> str:
    candidates = [os.path.join(base, found) for found in (name, f"{name}.gz")]
    for path in candidates:
        if fileio.exists(path):
            return path
    raise idx.IdxError(
        f"{base} holds neither {name} nor {name}.gz; expected all four IDX files. Name their "
        "folder as data_location."
    )


def _check_digest(base: str, pairs: list[idx.IdxPair], expected: str) -> None:
    found = idx.data_digest(pairs)
    if found != expected:
        raise idx.IdxError(
            f"the files in {base} have the digest {found}; expected {expected}, as the run was "
            "asked for. Give the digest of these files as data_digest, or the folder of the others."
        )


def _assigned(parameters: dict[str, Any]) -> list[tuple[idx.IdxPair, np.ndarray]]:
    """Each pair, with the name of the split of each of its examples, text of shape [count].

    What is validated on is chosen over all pairs together. For that the labels alone are read here,
    a byte of each example.
    """
    train, test = parameters["train"], parameters["test"]
    ids = [name for pair in train for name in split.example_ids(pair.name, pair.count)]
    labels = np.concatenate([_read_labels(pair, parameters["class_count"]) for pair in train])
    chosen = split.choose_validation(
        ids, labels, parameters["validation_per_class"], parameters["seed"]
    )
    names = np.where(chosen, features.VALIDATION_SPLIT, features.TRAIN_SPLIT)
    ends = np.cumsum([pair.count for pair in train])
    by_pair = zip(train, np.split(names, ends[:-1]), strict=True)
    return [*by_pair, (test, np.full(test.count, features.TEST_SPLIT))]


class _ReadPair(beam.DoFn):
    """Reads a pair and sends each example to the split that it was assigned."""

    def __init__(self, parameters: dict[str, Any]):
        self._parameters = parameters

    def process(
        self, element: tuple[idx.IdxPair, np.ndarray]
    ) -> Iterator[beam.pvalue.TaggedOutput]:
        pair, names = element
        labels = _read_labels(pair, self._parameters["class_count"])
        ids = split.example_ids(pair.name, pair.count)
        shape = tuple(self._parameters["image_shape"])
        reader = idx.image_reader(pair.images, shape, fileio.open)
        _check_unchanged(pair, reader.count == pair.count)
        start = 0
        for images in reader.batches(_BATCH_SIZE):
            part = slice(start, start + len(images))
            records = _encode(images, labels[part], ids[part])
            for name, record in zip(names[part].tolist(), records, strict=True):
                yield beam.pvalue.TaggedOutput(name, record)
            start += len(images)
        _check_unchanged(pair, reader.sha256 == pair.images_sha256)


def _read_labels(pair: idx.IdxPair, class_count: int) -> np.ndarray:
    labels, sha256 = idx.read_labels(pair.labels, class_count, fileio.open)
    _check_unchanged(pair, sha256 == pair.labels_sha256)
    return labels


def _encode(images: np.ndarray, labels: np.ndarray, ids: list[str]) -> list[bytes]:
    """Serializes a batch of examples (images uint8 [N, ...], labels [N])."""
    return examples.serialize(
        {
            features.IMAGE: [image.tobytes() for image in images],
            features.LABEL: labels.tolist(),
            features.EXAMPLE_ID: [name.encode() for name in ids],
        }
    )


def _check_unchanged(pair: idx.IdxPair, unchanged: bool) -> None:
    if not unchanged:
        raise idx.IdxError(
            f"{pair.images} or {pair.labels} changed while the run was reading it; expected the "
            "content that was checked when the run began. Run again when the files are at rest."
        )
