"""Reads the confusion matrix out of TFMA's result."""

from __future__ import annotations

from typing import Any

import tensorflow_model_analysis as tfma

_OVERALL: tuple = ()


def load(uri: str, baseline: bool) -> Any:
    """TFMA's result for one of the models in the evaluation at `uri`.

    Args:
      uri: folder of the evaluation artifact.
      baseline: whether of the served model or of the new one.

    Raises:
      LookupError: where the model was not evaluated.
    """
    # By the names in the result: TFMA drops the name of a model that is the only one.
    for spec in tfma.load_eval_result(uri).config.model_specs:
        if spec.is_baseline == baseline:
            return tfma.load_eval_result(uri, model_name=spec.name)
    raise LookupError(
        f"the evaluation in {uri} has no {'served' if baseline else 'new'} model; expected the "
        "models that it was asked about. Run again with --no-cache."
    )


def read_confusion(uri: str, baseline: bool, class_count: int) -> list[list[int]]:
    """The confusion matrix of a model in the evaluation at `uri`.

    Args:
      uri: folder of the evaluation artifact.
      baseline: whether of the served model or of the new one.
      class_count: number of classes.

    Returns:
      Numbers of images, row by true and column by predicted class.

    Raises:
      LookupError: where the model was not evaluated.
    """
    result = load(uri, baseline)
    metrics = dict(result.slicing_metrics)[_OVERALL][""][""]
    return confusion(metrics["confusion_matrix"], class_count)


def confusion(value: dict[str, Any], class_count: int) -> list[list[int]]:
    """The same from TFMA's metric value, which leaves out what is 0."""
    counts = [[0] * class_count for _ in range(class_count)]
    (matrix,) = value["multiClassConfusionMatrixAtThresholds"]["matrices"]
    for entry in matrix["entries"]:
        true, predicted = entry.get("actualClassId", 0), entry.get("predictedClassId", 0)
        counts[true][predicted] = round(entry["numWeightedExamples"])
    return counts
