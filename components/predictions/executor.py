"""Writes the predictions of the new and the served model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import examples, features, image_schema, slices

_BATCH = 1000


class AnswerError(RuntimeError):
    """A model answers with values that are no probabilities."""


class Executor(base_executor.BaseExecutor):
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
        split, answers = ask(models, uris["examples"])
        check_finite(answers[features.CANDIDATE], split.ids)
        predictions = artifact_utils.get_single_instance(output_dict["predictions"])
        predictions.split_names = artifact_utils.encode_split_names([features.TEST_SPLIT])
        parquet = example_gen_pb2.PayloadFormat.FORMAT_PARQUET
        examples_utils.set_payload_format(predictions, parquet)
        write(os.path.join(predictions.uri, features.PREDICTIONS_FILE), split, answers, schema)
        folder = artifact_utils.get_split_uri([predictions], features.TEST_SPLIT)
        fileio.makedirs(folder)
        known = read_columns(uris["examples"], json.loads(exec_properties["columns"]), split.ids)
        write_answers(os.path.join(folder, features.ANSWERS_FILE), split.labels, answers, known)


def check_finite(probabilities: np.ndarray, ids: np.ndarray) -> None:
    """Checks that each answer is a finite number.

    Args:
      probabilities: float32 [count, classes].
      ids: ids of the images, bytes [count].

    Raises:
      AnswerError: an answer is not finite.
    """
    faulty = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    if len(faulty):
        raise AnswerError(
            f"the new model answers with NaN or infinity to {len(faulty):,} of {len(ids):,} test "
            f"images, {ids[faulty[0]].decode()} the first; expected probabilities. Train again "
            "with a lower training.learning_rate, or with training.precision=float32."
        )


def ask(models: dict[str, str], examples_uri: str) -> tuple[examples.Split, dict[str, np.ndarray]]:
    """Reads the test split once and asks every model about each batch of it.

    Args:
      models: folder of the model artifact, by name of the model.
      examples_uri: folder of the examples artifact.

    Returns:
      The test split and, by name of the model, probabilities, float32 [count, classes]; both in
      the order of the example ids.
    """
    exports = {
        name: tf.saved_model.load(path_utils.serving_model_path(uri))
        for name, uri in models.items()
    }
    parts: list[examples.Split] = []
    answers: dict[str, list[np.ndarray]] = {name: [] for name in exports}
    for serialized in examples.serialized_batches(examples_uri, features.TEST_SPLIT, _BATCH):
        parts.append(examples.parse(serialized))
        for name, export in exports.items():
            answer = export.signatures[features.SERVING_DEFAULT](examples=serialized)
            answers[name].append(answer[features.PROBABILITIES].numpy())
    split = examples.joined(parts)
    order = np.argsort(split.ids, kind="stable")
    return split.at(order), {name: np.concatenate(given)[order] for name, given in answers.items()}


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


def write(
    path: str,
    split: examples.Split,
    answers: dict[str, np.ndarray],
    schema: image_schema.ImageSchema,
) -> None:
    """Writes the Parquet file, whose columns `components.features` describes.

    Args:
      path: path of the file.
      split: the test split.
      answers: probabilities, float32 [count, classes], by name of the model.
      schema: the shape of the images and the class names.
    """
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
    _write_table(path, pa.table(columns, metadata=described))


def write_answers(
    path: str,
    labels: np.ndarray,
    answers: dict[str, np.ndarray],
    columns: Mapping[str, Sequence[str]],
) -> None:
    """Writes the file for TFMA, which expects a list of values in every column.

    Args:
      path: path of the file.
      labels: int64 [count].
      answers: probabilities, float32 [count, classes], by name of the model.
      columns: value of each image in columns that divide them into slices, by name.
    """
    numbers = {features.LABEL: labels.reshape(-1, 1), **answers}
    texts = {
        name: pa.array([[slices.stored(value)] for value in values], pa.list_(pa.string()))
        for name, values in columns.items()
    }
    table = {**{name: _lists(values) for name, values in numbers.items()}, **texts}
    _write_table(path, pa.table(table))


def _lists(values: np.ndarray) -> pa.Array:
    # Lists of variable size, because Parquet readers fail on null lists of a fixed size.
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(offsets, values.reshape(-1))


def _write_table(path: str, table: pa.Table) -> None:
    content = pa.BufferOutputStream()
    pq.write_table(table, content, compression="zstd")
    with fileio.open(path, "wb") as file:
        file.write(content.getvalue().to_pybytes())
