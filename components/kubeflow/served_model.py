"""Reads the served model on a cluster.

On one machine, ML Metadata knows the served model. Kubeflow Pipelines has no node that can query
the metadata of earlier runs, so this node reads the folder of the served versions.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.image_schema import ImageSchema
from components.images import Fit, Preparation
from components.kubeflow.artifacts import ABSENT, SERVED_VERSION
from components.pusher import versions
from components.pusher.served import (
    ServedModel,
    difference,
    preparation_difference,
    read_served,
)


class OtherTaskError(RuntimeError):
    """The served model has another image size or other classes than the schema."""


class OtherPreparationError(RuntimeError):
    """The served model prepares image files in another way than this run."""


class Executor(base_executor.BaseExecutor):
    """Copies the served version and its kept files into a model artifact."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the model artifact, or marks it as absent.

        Raises:
          UnreadableModelError: If the served model cannot be read.
          OtherTaskError: If it has another image size or other classes than the schema.
          OtherPreparationError: If it prepares image files in another way than this run.
        """
        model = artifact_utils.get_single_instance(output_dict["model"])
        served = read_served(pathlib.Path(exec_properties["serving"]))
        if served is None:
            model.set_int_custom_property(ABSENT, 1)
            return
        described = json.loads(exec_properties["schema"])
        classes = tuple(described.pop("class_names"))
        differs = difference(served, ImageSchema(**described, class_names=classes))
        if differs:
            raise OtherTaskError(
                f"served version {served.version} in {exec_properties['serving']} {differs}. "
                "Expected a model for the same images and classes, to compare the new one with. "
                "Serve the new models from another folder: compile --serving-dir."
            )
        _check_preparation(served, exec_properties)
        model.set_string_custom_property(SERVED_VERSION, str(served.version))
        identity = versions.identity_of(served.version, served.digest)
        model.set_string_custom_property(versions.SERVED_IDENTITY, identity)
        io_utils.copy_dir(str(served.export), path_utils.serving_model_dir(model.uri))
        for file in served.kept:
            io_utils.copy_file(str(file), os.path.join(model.uri, file.name))


def _check_preparation(served: ServedModel, exec_properties: dict[str, Any]) -> None:
    """Refuses a comparison on images that the served model never gets from clients."""
    described = json.loads(exec_properties["preparation"])
    if described is None:
        return
    asked = Preparation(**{**described, "fit": Fit(described["fit"])})
    if differs := preparation_difference(served, asked):
        raise OtherPreparationError(
            f"served version {served.version} in {exec_properties['serving']} {differs}. Expected "
            "the same settings, or the served model would be judged on images that it never gets "
            "from clients. Set them back and compile again, or serve the new models from another "
            "folder: compile --serving-dir."
        )
