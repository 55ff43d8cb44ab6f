"""Turns IDX files into TensorFlow examples, pair by pair, in Beam."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from google.protobuf import wrappers_pb2
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components import examples, features
from components.example_gen import idx, split

_BATCH_SIZE = 2048
_FILE_PREFIX = "data_tfrecord"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes the splits `train`, `val` and `test`.

    TFX's own sends each serialized image through a shuffle, which Beam's local runner holds in
    memory, and each one by itself through the steps of a pipeline. The order of examples carries no
    meaning here: Beam hands out pairs of files, and who is given one writes what it holds.
    """

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes TFRecord files below the examples artifact, one for each pair and split."""
        self._log_startup(input_dict, output_dict, exec_properties)
        parameters = _parameters(exec_properties)
        assigned = _assigned(parameters)
        examples = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.EXAMPLES_KEY]
        )
        examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
        for name in features.SPLITS:
            fileio.makedirs(artifact_utils.get_split_uri([examples], name))
        with self._make_beam_pipeline() as pipeline:
            write = beam.ParDo(_WritePair(parameters, examples.uri))
            _ = pipeline | "Files" >> beam.Create(assigned) | "Write" >> write


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
    """Each pair, with the position in `features.SPLITS` of the split of each example, int8 [count].

    What is validated on is chosen over all pairs together. For that the labels alone are read here,
    a byte of each example.
    """
    train, test = parameters["train"], parameters["test"]
    ids = [name for pair in train for name in split.example_ids(pair.name, pair.count)]
    class_count = parameters["class_count"]
    labels = np.concatenate([_read_labels(pair, class_count) for pair in train])
    # On a cluster nobody looked before. Names are not known here, and a new one changes no example.
    names = [str(number) for number in range(class_count)]
    split.check_classes(
        labels, _read_labels(test, class_count), parameters["validation_per_class"], names
    )
    chosen = split.choose_validation(
        ids, labels, parameters["validation_per_class"], parameters["seed"]
    )
    trained, validated, tested = (
        features.SPLITS.index(name)
        for name in (features.TRAIN_SPLIT, features.VALIDATION_SPLIT, features.TEST_SPLIT)
    )
    # A byte each: Beam compresses what it hands out, several times over.
    numbers = np.where(chosen, validated, trained).astype(np.int8)
    ends = np.cumsum([pair.count for pair in train])
    by_pair = zip(train, np.split(numbers, ends[:-1]), strict=True)
    return [*by_pair, (test, np.full(test.count, tested, np.int8))]


class _WritePair(beam.DoFn):
    """Writes the examples of a pair, to a file of its own in each split that has some of them."""

    def __init__(self, parameters: dict[str, Any], examples_uri: str):
        self._parameters = parameters
        self._examples_uri = examples_uri

    def process(self, element: tuple[idx.IdxPair, np.ndarray]) -> None:
        pair, numbers = element
        names = [features.SPLITS[number] for number in np.unique(numbers)]
        with _writers(self._examples_uri, names, f"{_FILE_PREFIX}-{pair.name}") as writers:
            records = _records(pair, self._parameters)
            for number, record in zip(numbers.tolist(), records, strict=True):
                writers[features.SPLITS[number]].write(record)


@contextlib.contextmanager
def _writers(
    examples_uri: str, names: list[str], file_name: str
) -> Iterator[dict[str, tf.io.TFRecordWriter]]:
    """Opens a file for each of the splits; they come to their places when all of them are whole.

    Beam may give the same pair out again: then equal files take each other's place.
    """
    unfinished = os.path.join(examples_uri, f"unfinished-{uuid.uuid4().hex}")
    fileio.makedirs(unfinished)
    try:
        with contextlib.ExitStack() as opened:
            yield {
                name: opened.enter_context(tf.io.TFRecordWriter(os.path.join(unfinished, name)))
                for name in names
            }
        for name in names:
            place = os.path.join(examples_uri, f"Split-{name}", file_name)
            fileio.rename(os.path.join(unfinished, name), place, overwrite=True)
    finally:
        fileio.rmtree(unfinished)


def _records(pair: idx.IdxPair, parameters: dict[str, Any]) -> Iterator[bytes]:
    """Each example of a pair, serialized."""
    labels = _read_labels(pair, parameters["class_count"])
    ids = split.example_ids(pair.name, pair.count)
    reader = idx.image_reader(pair.images, tuple(parameters["image_shape"]), fileio.open)
    _check_unchanged(pair, reader.count == pair.count)
    start = 0
    for images in reader.batches(_BATCH_SIZE):
        part = slice(start, start + len(images))
        yield from _encode(images, labels[part], ids[part])
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
