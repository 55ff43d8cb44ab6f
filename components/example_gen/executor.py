"""Turns IDX files into TensorFlow examples, pair by pair, in Beam."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
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

# A pair of files and its labels, uint8 [count], so that each labels file is read once.
LabelledPair = tuple[idx.IdxPair, np.ndarray]
Shape = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Request:
    """What the node is asked for, with the files that it found sound.

    Attributes:
      train: Files that `train` and `val` are drawn from.
      test: Files of the test split.
      image_shape: Height, width and channels of the images.
      class_count: Number of classes.
      validation_per_class: Number of examples of each class in `val`.
      seed: Random seed of the draw.
    """

    train: tuple[LabelledPair, ...]
    test: LabelledPair
    image_shape: Shape
    class_count: int
    validation_per_class: int
    seed: int


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes the splits `train`, `val` and `test`.

    TFX's own executor shuffles the serialized images, which Beam's local runner holds in memory,
    and handles each image by itself. Here the order of examples has no meaning: Beam distributes
    pairs of files, and each worker writes the examples of its pair.
    """

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes TFRecord files below the examples artifact, one for each pair and split."""
        self._log_startup(input_dict, output_dict, exec_properties)
        request = _request(exec_properties)
        assigned = _assigned(request)
        examples = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.EXAMPLES_KEY]
        )
        examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
        for name in features.SPLITS:
            fileio.makedirs(artifact_utils.get_split_uri([examples], name))
        with self._make_beam_pipeline() as pipeline:
            write = beam.ParDo(_WritePair(request.image_shape, examples.uri))
            _ = pipeline | "Files" >> beam.Create(assigned) | "Write" >> write


def _request(exec_properties: Mapping[str, Any]) -> Request:
    config = example_gen_pb2.CustomConfig()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY], config)
    packed = wrappers_pb2.StringValue()
    config.custom_config.Unpack(packed)
    parameters = json.loads(packed.value)
    height, width, channels = parameters["image_shape"]
    shape, class_count = (height, width, channels), parameters["class_count"]
    base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
    named = [_labelled(base, idx.IdxPair(**entry), class_count) for entry in parameters["pairs"]]
    *train, test = named or _found(base, shape, class_count)
    _check_digest(base, [pair for pair, _ in (*train, test)], exec_properties["data_digest"])
    return Request(
        train=tuple(train),
        test=test,
        image_shape=shape,
        class_count=class_count,
        validation_per_class=parameters["validation_per_class"],
        seed=exec_properties["seed"],
    )


def _labelled(base: str, relative: idx.IdxPair, class_count: int) -> LabelledPair:
    """A pair that the preparation has checked, with its labels."""
    images, labels = (os.path.join(base, path) for path in (relative.images, relative.labels))
    pair = dataclasses.replace(relative, images=images, labels=labels)
    values, sha256 = idx.read_labels(labels, class_count, fileio.open)
    _check_unchanged(pair, sha256 == pair.labels_sha256)
    return pair, values


def _found(base: str, shape: Shape, class_count: int) -> list[LabelledPair]:
    """The two pairs in a folder, read to their ends and checked."""
    return [
        idx.read_pair(
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


def _check_digest(base: str, pairs: Sequence[idx.IdxPair], expected: str) -> None:
    found = idx.data_digest(pairs)
    if found != expected:
        raise idx.IdxError(
            f"the files in {base} have the digest {found}; expected {expected}, as the run was "
            "asked for. Give the digest of these files as data_digest, or the folder of the others."
        )


def _assigned(request: Request) -> list[tuple[idx.IdxPair, np.ndarray, np.ndarray]]:
    """Assigns each example to a split; validation examples are chosen over all pairs together.

    Returns:
      Each pair with its labels, uint8 [count], and with the position in `features.SPLITS` of the
      split of each example, int8 [count].
    """
    train, (test, test_labels) = request.train, request.test
    ids = [name for pair, _ in train for name in split.example_ids(pair.name, pair.count)]
    labels = np.concatenate([values for _, values in train])
    split.check_classes(
        split.class_counts(labels, request.class_count),
        split.class_counts(test_labels, request.class_count),
        request.validation_per_class,
        # The node does not know the names, so that a new name changes no example.
        [str(number) for number in range(request.class_count)],
    )
    chosen = split.choose_validation(ids, labels, request.validation_per_class, request.seed)
    trained, validated, tested = (
        features.SPLITS.index(name)
        for name in (features.TRAIN_SPLIT, features.VALIDATION_SPLIT, features.TEST_SPLIT)
    )
    # One byte each, because Beam copies and compresses its elements several times.
    numbers = np.where(chosen, validated, trained).astype(np.int8)
    parts = np.split(numbers, np.cumsum([pair.count for pair, _ in train])[:-1])
    return [
        *((pair, values, part) for (pair, values), part in zip(train, parts, strict=True)),
        (test, test_labels, np.full(test.count, tested, np.int8)),
    ]


class _WritePair(beam.DoFn):
    """Writes the examples of a pair: one file in each split that has some of them."""

    def __init__(self, image_shape: Shape, examples_uri: str):
        self._image_shape = image_shape
        self._examples_uri = examples_uri

    def process(self, element: tuple[idx.IdxPair, np.ndarray, np.ndarray]) -> None:
        pair, labels, numbers = element
        names = [features.SPLITS[number] for number in np.unique(numbers)]
        with _writers(self._examples_uri, names, f"{_FILE_PREFIX}-{pair.name}") as writers:
            records = _records(pair, labels, self._image_shape)
            for number, record in zip(numbers.tolist(), records, strict=True):
                writers[features.SPLITS[number]].write(record)


@contextlib.contextmanager
def _writers(
    examples_uri: str, names: list[str], file_name: str
) -> Iterator[dict[str, tf.io.TFRecordWriter]]:
    """Opens a file for each split, and renames all of them into place when they are complete.

    Beam may process a pair again; the second time replaces the files with equal ones.
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


def _records(pair: idx.IdxPair, labels: np.ndarray, image_shape: Shape) -> Iterator[bytes]:
    """Each example of a pair, serialized."""
    ids = split.example_ids(pair.name, pair.count)
    reader = idx.image_reader(pair.images, image_shape, fileio.open)
    _check_unchanged(pair, reader.count == pair.count)
    start = 0
    for images in reader.batches(_BATCH_SIZE):
        part = slice(start, start + len(images))
        yield from _encode(images, labels[part], ids[part])
        start += len(images)
    _check_unchanged(pair, reader.sha256 == pair.images_sha256)


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
