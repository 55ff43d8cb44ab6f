"""Writes the predictions of the new and the served model."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import examples, features, image_schema, rows, slices
from components.shards import Shard, Workers, divided

# Maximum number of images that a model answers at a time, in two batches: with two operations at a
# time, two cores are busy (`components.trainer.threads`).
_IMAGES_AT_ONCE, _BATCHES_AT_ONCE = 1000, 2
# Maximum number of images in memory, and of their bytes, when the answers are put in order.
_ROWS, _ROWS_BYTES = 2**16, 2**26
# Folder of the answers about each shard, until they are in order.
_ANSWERS = "answers"


class AnswerError(RuntimeError):
    """A model answers with values that are no probabilities."""


class Executor(base_beam_executor.BaseBeamExecutor):
    """Asks each model as clients do: through `serving_default`, with serialized examples."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the answers, once for people and once for TFMA.

        Raises:
          AnswerError: an answer of the new model is not finite, which no metric would show.
        """
        uris = {key: found[0].uri for key, found in input_dict.items() if found}
        schema = image_schema.read_artifact(uris["schema"])
        models = {features.CANDIDATE: uris["model"]}
        if "baseline_model" in uris:
            models[features.BASELINE] = uris["baseline_model"]
        predictions = artifact_utils.get_single_instance(output_dict["predictions"])
        predictions.split_names = artifact_utils.encode_split_names([features.TEST_SPLIT])
        parquet = example_gen_pb2.PayloadFormat.FORMAT_PARQUET
        examples_utils.set_payload_format(predictions, parquet)
        folder = artifact_utils.get_split_uri([predictions], features.TEST_SPLIT)
        fileio.makedirs(folder)
        workers = Workers(self._make_beam_pipeline, os.path.join(predictions.uri, _ANSWERS))
        names = json.loads(exec_properties["columns"])
        with asked(workers, models, uris["examples"]) as answered:
            columns = read_columns(uris["examples"], names, answered.ids)
            without = []
            with (
                _table_writer(os.path.join(predictions.uri, features.PREDICTIONS_FILE)) as images,
                _table_writer(os.path.join(folder, features.ANSWERS_FILE)) as answers,
            ):
                for start, part in answered.parts():
                    here = slice(start, start + len(part.split.ids))
                    without.append(start + faulty(part))
                    images.write(predictions_table(part, schema))
                    known = {name: values[here] for name, values in columns.items()}
                    answers.write(answers_table(part, known))
            check_finite(np.concatenate(without), answered.ids)


@dataclasses.dataclass(frozen=True)
class Answers:
    """What the models answer to some test images.

    Attributes:
      split: the images.
      probabilities: float32 [count, classes], by name of the model.
    """

    split: examples.Split
    probabilities: Mapping[str, np.ndarray]


class Answered:
    """What the models answered to all test images, in files about the shards.

    Attributes:
      ids: ids of the images in their order, bytes [count].
    """

    def __init__(self, paths: Sequence[str], models: Sequence[str]):
        """Reads the ids.

        Args:
          paths: files of the shards.
          models: names of the models.
        """
        self._models = models
        self._files = [rows.RowFile(path) for path in paths]
        ids = np.concatenate([file.index for file in self._files])
        self._order = np.argsort(ids, kind="stable")
        self.ids = ids[self._order]

    def parts(self) -> Iterator[tuple[int, Answers]]:
        """Position of the first image of each part, and the part; in the order of the ids."""
        dtype = self._files[0].dtype
        size = min(_ROWS, max(1, _ROWS_BYTES // dtype.itemsize))
        first = np.cumsum([0, *(file.count for file in self._files)])
        for start in range(0, len(self.ids), size):
            places = self._order[start : start + size]
            owners = first.searchsorted(places, side="right") - 1
            found = np.empty(len(places), dtype)
            for owner in np.unique(owners):
                # Files are in the order of ids too, so these rows lie side by side.
                here = places[owners == owner] - first[owner]
                found[owners == owner] = self._files[owner].at(here[0], here[-1] + 1)
            split = examples.Split(
                found[features.IMAGE], found[features.LABEL], self.ids[start : start + size]
            )
            yield start, Answers(split, {name: found[name] for name in self._models})


def faulty(part: Answers) -> np.ndarray:
    """Positions of the images to which the new model answers with values that are not finite."""
    return np.flatnonzero(~np.isfinite(part.probabilities[features.CANDIDATE]).all(axis=1))


def check_finite(faulty: np.ndarray, ids: np.ndarray) -> None:
    """Checks that each answer of the new model is a finite number.

    Args:
      faulty: positions of the images to which it answers otherwise, int64 [N].
      ids: ids of all images, bytes [count].

    Raises:
      AnswerError: there are some.
    """
    if len(faulty):
        raise AnswerError(
            f"the new model answers with NaN or infinity to {len(faulty):,} of {len(ids):,} test "
            f"images, {ids[faulty[0]].decode()} the first; expected probabilities. Train again "
            "with a lower training.learning_rate, or with training.precision=float32."
        )


@contextlib.contextmanager
def asked(workers: Workers, models: Mapping[str, str], examples_uri: str) -> Iterator[Answered]:
    """Asks every model about the test split, shard by shard.

    All batches have one size, the last of a shard too: the last bits of an answer depend on it.

    Args:
      workers: those who ask.
      models: folder of the model artifact, by name of the model.
      examples_uri: folder of the examples artifact.
    """
    files = examples.files_of(examples_uri, features.TEST_SPLIT)
    size = max(1, examples.fitting(files, _IMAGES_AT_ONCE) // _BATCHES_AT_ONCE)
    with workers.made(divided(examples_uri, features.TEST_SPLIT), _Ask(models, size)) as paths:
        yield Answered(paths, list(models))


class _Ask:
    """Writes the answers about a shard in the order of the ids, which are the index."""

    def __init__(self, models: Mapping[str, str], batch_size: int):
        self._models = models
        self._batch_size = batch_size
        # Loaded once by each worker.
        self._exports: dict[str, Any] = {}

    def __call__(self, shard: Shard, file: BinaryIO) -> None:
        if not self._exports:
            self._exports = {
                name: tf.saved_model.load(path_utils.serving_model_path(uri))
                for name, uri in self._models.items()
            }
        batches = examples.batches_of(shard.files, self._batch_size)
        ids, answers = [], []
        with futures.ThreadPoolExecutor(_BATCHES_AT_ONCE) as pool:
            while together := list(itertools.islice(batches, _BATCHES_AT_ONCE)):
                for some_ids, some_answers in pool.map(self._answers, together):
                    ids.append(some_ids)
                    answers.append(some_answers)
        names = np.concatenate(ids)
        order = np.argsort(names, kind="stable")
        rows.write(file, names[order], np.concatenate(answers)[order])

    def _answers(self, serialized: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Ids; labels, images and answers as rows."""
        split = examples.parse(serialized)
        count = len(split.ids)
        padding = tf.repeat(serialized[:1], self._batch_size - count)
        padded = tf.concat([serialized, padding], axis=0)
        columns = {features.LABEL: split.labels, features.IMAGE: split.images}
        for name, export in self._exports.items():
            answer = export.signatures[features.SERVING_DEFAULT](examples=padded)
            columns[name] = answer[features.PROBABILITIES].numpy()[:count]
        found = np.empty(
            count, [(name, each.dtype, each.shape[1:]) for name, each in columns.items()]
        )
        for name, values in columns.items():
            found[name] = values
        return split.ids, found


def read_columns(examples_uri: str, names: Sequence[str], ids: np.ndarray) -> dict[str, list[str]]:
    """Reads the value of each image in further columns of the data, as people see it.

    Args:
      examples_uri: folder of the examples artifact.
      names: names of the columns.
      ids: ids of the images, bytes [count].

    Returns:
      The values in the order of the ids, by name of the column.

    Raises:
      SliceError: No image has a value in a column.
    """
    if not names:
        return {}
    path = os.path.join(examples_uri, features.COLUMNS_FILE)
    with fileio.open(path, "rb") as file:
        content = pa.BufferReader(file.read())
    table = pq.read_table(content, columns=[features.EXAMPLE_ID, *names])
    places = {name: place for place, name in enumerate(table[features.EXAMPLE_ID].to_pylist())}
    rows = [places[name.decode()] for name in ids]
    columns = {name: slices.values(name, table[name]) for name in names}
    found = {name: [column[row] for row in rows] for name, column in columns.items()}
    for name, tested in found.items():
        # On a cluster, nothing has looked for it before.
        slices.check_tested(name, tested)
    return found


def predictions_table(part: Answers, schema: image_schema.ImageSchema) -> pa.Table:
    """The rows of the Parquet file, whose columns `components.features` describes.

    Args:
      part: some answers.
      schema: the shape of the images and the class names.
    """
    split, answers = part.split, part.probabilities
    columns = {
        features.EXAMPLE_ID: pa.array([name.decode() for name in split.ids]),
        features.LABEL: pa.array(split.labels),
        features.IMAGE: pa.array([image.tobytes() for image in split.images], pa.binary()),
    }
    for name in (features.CANDIDATE, features.BASELINE):
        columns[name] = (
            _lists(answers[name])
            if name in answers
            else pa.nulls(len(split.ids), pa.list_(pa.float32()))
        )
    described = {
        features.CLASS_NAMES: json.dumps(schema.class_names),
        features.IMAGE_SHAPE: json.dumps(schema.shape),
    }
    return pa.table(columns, metadata=described)


def answers_table(part: Answers, columns: Mapping[str, Sequence[str]]) -> pa.Table:
    """The rows of the file for TFMA, which expects a list of values in every column.

    Args:
      part: some answers.
      columns: value of each image in columns that divide them into slices, by name.
    """
    numbers = {features.LABEL: part.split.labels.reshape(-1, 1), **part.probabilities}
    texts = {
        name: pa.array([[slices.stored(value)] for value in values], pa.list_(pa.string()))
        for name, values in columns.items()
    }
    return pa.table({**{name: _lists(values) for name, values in numbers.items()}, **texts})


def _lists(values: np.ndarray) -> pa.Array:
    # Lists of variable size, because Parquet readers fail on null lists of a fixed size.
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(offsets, values.reshape(-1))


class _TableWriter:
    """Writes tables with the same columns to a Parquet file, a row group each."""

    def __init__(self, file: BinaryIO):
        self._sink = io.BufferedWriter(_Sink(file))
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._sink, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._sink.close()


class _Sink(io.RawIOBase):
    """A file as pyarrow takes it; those of TensorFlow lack some of the methods."""

    def __init__(self, file: BinaryIO):
        super().__init__()
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._file.write(bytes(content))
        return len(content)


@contextlib.contextmanager
def _table_writer(path: str) -> Iterator[_TableWriter]:
    with (
        fileio.open(path, "wb") as file,
        contextlib.closing(_TableWriter(file)) as writer,
    ):
        yield writer
