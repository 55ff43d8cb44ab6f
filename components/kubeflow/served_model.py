"""The served model as a node of a cluster finds it, and what is kept of it for that.

On one machine ML Metadata tells which model is served. Kubeflow Pipelines has no node that asks
its metadata for earlier runs, so the served folder is asked, which is the truth of it anyway.
"""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, path_utils

from components.pusher import executor as pusher_executor
from components.pusher import versions

# The property of a model artifact that says that nothing is served yet.
ABSENT = "absent"
# Beside the versions; no reader takes such a name for one.
_KEPT = ".kept"


class Executor(base_executor.BaseExecutor):
    """Copies the served version into a model artifact, with what was kept of its model."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the model artifact, or marks it as absent."""
        model = artifact_utils.get_single_instance(output_dict["model"])
        base = pathlib.Path(exec_properties["serving"])
        served = versions.served_versions(base)
        if not served:
            model.set_int_custom_property(ABSENT, 1)
            return
        version = str(served[-1])
        model.set_string_custom_property("served_version", version)
        io_utils.copy_dir(str(base / version), path_utils.serving_model_dir(model.uri))
        kept = base / _KEPT / version
        for file in kept.iterdir() if kept.is_dir() else ():
            io_utils.copy_file(str(file), os.path.join(model.uri, file.name))


class KeepingPusher(pusher_executor.Executor):
    """Also keeps what later runs want of the pushed model beside its export.

    That is what lies beside the export in its artifact: the statistics of its data, by which drift
    is judged, and the Keras model, at whose weights a training may begin.
    """

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model where both blessings hold, and keeps the files."""
        super().Do(input_dict, output_dict, exec_properties)
        (pushed,) = output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        destination = pushed.get_string_custom_property("pushed_destination")
        if destination:
            model = artifact_utils.get_single_uri(input_dict[standard_component_specs.MODEL_KEY])
            keep(pathlib.Path(model), pathlib.Path(destination))


def keep(model: pathlib.Path, served: pathlib.Path) -> None:
    """Keeps the files beside the export of a model artifact, as long as its version is served.

    Args:
      model: folder of the model artifact.
      served: folder of the version that was pushed from it.
    """
    kept = served.parent / _KEPT
    partial = kept / f".{served.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for file in model.iterdir():
        if file.is_file():
            shutil.copy(file, partial)
    shutil.rmtree(kept / served.name, ignore_errors=True)
    partial.rename(kept / served.name)
    for other in kept.iterdir():
        if not (served.parent / other.name).exists():
            shutil.rmtree(other)
