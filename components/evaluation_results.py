"""Reads counts from TFMA's result: the confusion matrix, and hits in slices."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import tensorflow_model_analysis as tfma

from components.messages import AGAIN_WITHOUT_CACHE
from components.tfma_values import ACCURACY, EXAMPLE_COUNT, OVERALL, metric_value

# Numbers of images, in all and with a right answer.
Hits = tuple[int, int]


def load(uri: str, baseline: bool) -> tfma.EvalResult:
    """Returns TFMA's result for one of the evaluated models.

    Args:
      uri: Folder of the evaluation artifact.
      baseline: Whether to read the result of the served model instead of the new one.

    Raises:
      LookupError: If the model was not evaluated.
    """
    # Take the name from the result: TFMA omits it if there is only one model.
    for spec in tfma.load_eval_result(uri).config.model_specs:
        if spec.is_baseline == baseline:
            return tfma.load_eval_result(uri, model_name=spec.name)
    raise LookupError(
        f"the evaluation in {uri} lacks the {'served' if baseline else 'new'} model; expected both "
        f"models. {AGAIN_WITHOUT_CACHE}"
    )


def read_confusion(uri: str, baseline: bool, class_count: int) -> list[list[int]]:
    """Returns the confusion matrix of one of the evaluated models.

    Args:
      uri: Folder of the evaluation artifact.
      baseline: Whether to read the matrix of the served model instead of the new one.
      class_count: Number of classes.

    Returns:
      Numbers of images, with a row per true class and a column per predicted class.

    Raises:
      LookupError: If the model was not evaluated.
    """
    result = load(uri, baseline)
    metrics = dict(result.slicing_metrics)[OVERALL][""][""]
    return confusion(metrics["confusion_matrix"], class_count)


def read_slices(uri: str, columns: Collection[str]) -> dict[tuple[str, str], Hits]:
    """Returns what the new model gets right in the slices by columns of the data.

    Args:
      uri: Folder of the evaluation artifact.
      columns: Names of the columns.

    Returns:
      Numbers of images, in all and with a right answer, by column and value (as stored).

    Raises:
      LookupError: If the model was not evaluated.
    """
    found = {}
    for key, outputs in load(uri, baseline=False).slicing_metrics:
        if len(key) == 1 and key[0][0] in columns:
            metrics = outputs[""][""]
            count = metric_value(metrics[EXAMPLE_COUNT])
            right = metric_value(metrics[ACCURACY]) * count
            found[key[0][0], str(key[0][1])] = (round(count), round(right))
    return found


def confusion(value: dict[str, Any], class_count: int) -> list[list[int]]:
    """Returns the confusion matrix from TFMA's metric value, which omits zeros."""
    counts = [[0] * class_count for _ in range(class_count)]
    (matrix,) = value["multiClassConfusionMatrixAtThresholds"]["matrices"]
    for entry in matrix["entries"]:
        true, predicted = entry.get("actualClassId", 0), entry.get("predictedClassId", 0)
        counts[true][predicted] = round(entry["numWeightedExamples"])
    return counts
