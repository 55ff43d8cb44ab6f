"""Joins blessings as TFX's Evaluator writes them."""

from __future__ import annotations

import os
from typing import Any

from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils

_FOLDERS = (
    constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY,
    constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY,
)
_IDS = (
    constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY,
    constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY,
)


class Executor(base_executor.BaseExecutor):
    """Blesses where all blessings that it was given do."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the joint blessing, of the models that Evaluator's is about."""
        joint = artifact_utils.get_single_instance(output_dict["blessing"])
        evaluation = artifact_utils.get_single_instance(input_dict["evaluation_blessing"])
        _copy_models(evaluation, joint)
        blessed = all(_is_blessed(found[0]) for found in input_dict.values() if found)
        value, file = (
            (constants.BLESSED_VALUE, constants.BLESSED_FILE_NAME)
            if blessed
            else (constants.NOT_BLESSED_VALUE, constants.NOT_BLESSED_FILE_NAME)
        )
        joint.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)
        io_utils.write_string_file(os.path.join(joint.uri, file), "")


def _is_blessed(blessing: Artifact) -> bool:
    # Where nobody decided, the property is missing, and reads as not blessed.
    found = blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY)
    return found == constants.BLESSED_VALUE


def _copy_models(source: Artifact, target: Artifact) -> None:
    """Copies which models a blessing is about; there may be no baseline."""
    for key in _FOLDERS:
        if source.has_custom_property(key):
            target.set_string_custom_property(key, source.get_string_custom_property(key))
    for key in _IDS:
        if source.has_custom_property(key):
            target.set_int_custom_property(key, source.get_int_custom_property(key))
