"""Computes the metrics with TFMA, and checks its counts against the answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tfx.components.evaluator import executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components import evaluation_results, features, slices
from components.messages import AGAIN_WITHOUT_CACHE, shown


class DisagreementError(RuntimeError):
    """TFMA's counts differ from the answers."""


class Executor(executor.Executor):
    """Runs TFX's executor on the predictions artifact, then counts the answers itself."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates and blesses.

        Raises:
          DisagreementError: TFMA's counts differ from the answers.
        """
        # Keras's metrics add float32 values in an order that TensorFlow chooses. It differs between
        # a process that has run Trainer and one that took the model from the cache.
        tf.config.experimental.enable_op_determinism()
        super().Do(input_dict, output_dict, exec_properties)
        uri = output_dict["evaluation"][0].uri
        path = os.path.join(input_dict["examples"][0].uri, features.PREDICTIONS_FILE)
        for name, counts in confusions(path).items():
            counted = evaluation_results.read_confusion(
                uri, name == features.BASELINE, class_count=len(counts)
            )
            check_agreement(name, counts, counted)
        folder = artifact_utils.get_split_uri(input_dict["examples"], features.TEST_SPLIT)
        hits = hits_by_slice(os.path.join(folder, features.ANSWERS_FILE))
        columns = {column for column, _ in hits}
        if columns:
            check_slices(hits, evaluation_results.read_slices(uri, columns))


def confusions(path: str) -> dict[str, np.ndarray]:
    """Numbers of images by label and first choice, int64 [classes, classes], by name of the model.

    Args:
      path: path of the Parquet file, whose columns `components.features` describes.
    """
    columns = [features.LABEL, features.CANDIDATE, features.BASELINE]
    with fileio.open(path, "rb") as file:
        table = pq.read_table(pa.BufferReader(file.read()), columns=columns)
    labels = table[features.LABEL].to_numpy()
    answered = [name for name in columns[1:] if not table[name].null_count]
    return {
        name: _confusion(labels, np.array(table[name].to_pylist(), np.float32)) for name in answered
    }


def _confusion(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    classes = probabilities.shape[1]
    cells = labels * classes + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def hits_by_slice(path: str) -> dict[tuple[str, str], evaluation_results.Hits]:
    """Numbers of images, in all and with a right answer of the new model, by column and value.

    Args:
      path: path of the file for TFMA, which `components.features` describes.
    """
    with fileio.open(path, "rb") as file:
        table = pq.read_table(pa.BufferReader(file.read()))
    answered = {features.LABEL, features.CANDIDATE, features.BASELINE}
    columns = [name for name in table.column_names if name not in answered]
    if not columns:
        return {}
    labels = _flat(table, features.LABEL).to_numpy()
    answers = _flat(table, features.CANDIDATE).to_numpy().reshape(len(labels), -1)
    right = answers.argmax(axis=1) == labels
    hits = {}
    for column in columns:
        encoded = _flat(table, column).dictionary_encode()
        places = encoded.indices.to_numpy()
        counts, rights = np.bincount(places), np.bincount(places, right)
        for value, count, own in zip(encoded.dictionary.to_pylist(), counts, rights, strict=True):
            hits[column, value] = (int(count), int(own))
    return hits


def _flat(table: pa.Table, name: str) -> pa.Array:
    """The values of a column of lists, one after the other."""
    return table[name].combine_chunks().flatten()


def check_slices(
    hits: Mapping[tuple[str, str], evaluation_results.Hits],
    counted: Mapping[tuple[str, str], evaluation_results.Hits],
) -> None:
    """Checks that TFMA counted in each slice as the answers say.

    Args:
      hits: numbers of images, in all and with a right answer, by column and value.
      counted: the same, counted by TFMA.

    Raises:
      DisagreementError: a slice differs, or only one of the two has it.
    """
    differing = sorted(
        key for key in {*hits, *counted} if hits.get(key, (0, 0)) != counted.get(key, (0, 0))
    )
    if differing:
        column, value = differing[0]
        here, there = hits.get(differing[0], (0, 0)), counted.get(differing[0], (0, 0))
        raise DisagreementError(
            f"the answers differ from what TFMA counted in {len(differing)} slices; the first: "
            f"{slices.name_of(shown(column), shown(slices.value_of(value)))}, {here[1]} of "
            f"{here[0]} images right here and {there[1]} of {there[0]} there. Expected equal "
            f"counts: the answers changed in between. {AGAIN_WITHOUT_CACHE}"
        )


def check_agreement(name: str, counts: np.ndarray, counted: list[list[int]]) -> None:
    """Checks that TFMA counted as the answers say.

    Args:
      name: name of the model.
      counts: number of images by label and first choice, int [classes, classes].
      counted: the same, counted by TFMA.

    Raises:
      DisagreementError: a cell differs.
    """
    differing = np.argwhere(counts != np.array(counted))
    if len(differing):
        label, choice = differing[0]
        raise DisagreementError(
            f"the answers of the {name} model differ from what TFMA counted in "
            f"{len(differing)} cells of the confusion matrix; the first: label {label}, choice "
            f"{choice}, {counts[label, choice]} images here and {counted[label][choice]} there. "
            f"Expected equal counts: the answers changed in between. {AGAIN_WITHOUT_CACHE}"
        )
