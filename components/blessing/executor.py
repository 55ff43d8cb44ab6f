"""Checks the gates, and blesses a model that passes all of them."""

from __future__ import annotations

import os
from typing import Any

from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils

from components import features, quality_gates, slices
from components.blessing import judgement, measurement
from components.pusher import versions


class Executor(base_executor.BaseExecutor):
    """Writes the result that Pusher, receipt, terminal and review page use."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the result of each gate, and whether the model is blessed.

        Raises:
          JudgementError: If TFMA refuses the model although every gate passes, or did not measure
            all slices.
        """
        measured = {
            key: measurement.read(artifact_utils.get_single_uri(input_dict[key]))
            for key in ("evaluation", "robustness_evaluation")
            if input_dict.get(key)
        }
        served = bool(input_dict.get("baseline_model") or exec_properties["is_served"])
        judged = judgement.judge(
            quality_gates.declared_from_json(exec_properties["gates"]),
            measured["evaluation"],
            measured.get("robustness_evaluation"),
            served,
            slices.slicings_from_json(exec_properties["slices"]),
        )
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        path = os.path.join(blessing.uri, features.GATES_FILE)
        io_utils.write_string_file(path, quality_gates.judged_to_json(judged))
        _name_models(blessing, input_dict)
        _name_served(blessing, input_dict)
        _bless(blessing, bool(judged) and all(gate.passed for gate in judged))


def _bless(blessing: Artifact, blessed: bool) -> None:
    """Writes a blessing as TFX's Evaluator does."""
    value, file = (
        (constants.BLESSED_VALUE, constants.BLESSED_FILE_NAME)
        if blessed
        else (constants.NOT_BLESSED_VALUE, constants.NOT_BLESSED_FILE_NAME)
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)
    io_utils.write_string_file(os.path.join(blessing.uri, file), "")


_NAMES = {
    "model": (
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY,
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY,
    ),
    "baseline_model": (
        constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY,
        constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY,
    ),
}


def _name_models(blessing: Artifact, inputs: dict[str, list[Artifact]]) -> None:
    """Records the models of a blessing in its properties; there may be no baseline."""
    for key, (uri_key, id_key) in _NAMES.items():
        for model in inputs.get(key, []):
            blessing.set_string_custom_property(uri_key, model.uri)
            blessing.set_int_custom_property(id_key, model.id)


def _name_served(blessing: Artifact, inputs: dict[str, list[Artifact]]) -> None:
    """Tells Pusher which version the model was compared with; only on a cluster is this known."""
    for model in inputs.get("baseline_model", []):
        identity = model.get_string_custom_property(versions.SERVED_IDENTITY)
        if identity:
            blessing.set_string_custom_property(versions.SERVED_IDENTITY, identity)
