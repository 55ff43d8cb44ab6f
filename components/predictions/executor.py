"""Asks the models, holds their answers to TFMA's counts, and writes them down."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import evaluation_results, examples, features, image_schema

_BATCH = 1000


class DisagreementError(RuntimeError):
    """The answers are not those that TFMA counted."""


class Executor(base_executor.BaseExecutor):
    """Asks each model as TFMA does: through `serving_default`, with serialized examples."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the Parquet file.

        Raises:
          DisagreementError: where the counts are not those of the evaluation.
        """
        uris = {key: found[0].uri for key, found in input_dict.items() if found}
        schema = image_schema.read_artifact(uris["schema"])
        split = examples.read_split(uris["examples"], features.TEST_SPLIT)
        models = {features.CANDIDATE: uris["model"], features.BASELINE: uris.get("baseline_model")}
        answers = {
            name: answers_of(uri, uris["examples"])
            for name, uri in models.items()
            if uri is not None
        }
        for name, probabilities in answers.items():
            counted = evaluation_results.read_confusion(
                uris["evaluation"], name == features.BASELINE, len(schema.class_names)
            )
            check_agreement(name, split.labels, probabilities, counted)
        folder = artifact_utils.get_single_uri(output_dict["predictions"])
        write(os.path.join(folder, features.PREDICTIONS_FILE), split, answers, schema)


def answers_of(model_uri: str, examples_uri: str) -> np.ndarray:
    """What the export in a model artifact answers to the test split.

    Returns:
      Probabilities, float32 [count, classes], in the order of the example ids.
    """
    export = tf.saved_model.load(path_utils.serving_model_path(model_uri))
    classify = export.signatures[features.SERVING_DEFAULT]
    ids, probabilities = [], []
    for serialized in examples.serialized_batches(examples_uri, features.TEST_SPLIT, _BATCH):
        ids.append(examples.parse(serialized)[features.EXAMPLE_ID].numpy())
        probabilities.append(classify(examples=serialized)[features.PROBABILITIES].numpy())
    order = np.argsort(np.concatenate(ids), kind="stable")
    return np.concatenate(probabilities)[order]


def check_agreement(
    name: str, labels: np.ndarray, probabilities: np.ndarray, counted: list[list[int]]
) -> None:
    """Holds the confusion matrix of the answers to the one that TFMA counted.

    Args:
      name: of the model.
      labels: int64 [count].
      probabilities: float32 [count, classes].
      counted: images by label and first choice.

    Raises:
      DisagreementError: where a cell differs.
    """
    classes = probabilities.shape[1]
    cells = labels * classes + probabilities.argmax(axis=1)
    found = np.bincount(cells, minlength=classes * classes).reshape(classes, classes)
    differing = np.argwhere(found != np.array(counted))
    if len(differing):
        label, choice = differing[0]
        raise DisagreementError(
            f"the answers of the {name} model differ from those that the evaluation counted in "
            f"{len(differing)} cells of the confusion matrix; the first: label {label}, choice "
            f"{choice}, {found[label, choice]} images here and {counted[label][choice]} there. "
            "Expected equal counts: model, examples or evaluation changed in between. Run again "
            "with --no-cache."
        )


def write(
    path: str,
    split: examples.Split,
    answers: dict[str, np.ndarray],
    schema: image_schema.ImageSchema,
) -> None:
    """Writes the Parquet file, whose columns `components.features` describes.

    Args:
      path: of the file.
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
        columns[name] = _probabilities(answers.get(name), len(split.ids))
    described = {
        features.CLASS_NAMES: json.dumps(schema.class_names),
        features.IMAGE_SHAPE: json.dumps(schema.shape),
    }
    content = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, metadata=described), content, compression="zstd")
    with fileio.open(path, "wb") as file:
        file.write(content.getvalue().to_pybytes())


def _probabilities(values: np.ndarray | None, count: int) -> pa.Array:
    # Lists of a fixed size would fit better, but Parquet readers fail on those that are null.
    if values is None:
        return pa.nulls(count, pa.list_(pa.float32()))
    offsets = np.arange(count + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(offsets, values.reshape(-1))
