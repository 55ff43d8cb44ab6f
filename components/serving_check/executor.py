"""Runs the serving check and blesses or fails."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components import features, image_schema
from components.pusher import versions
from components.serving_check.check import check_export

_BLESSED_KEY = "blessed"


class ServingCheckFailed(RuntimeError):
    """The export differs from the trained model; each line of the message is a finding."""


class Executor(base_executor.BaseExecutor):
    """Fails on a broken export, so that no later node sees the model."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Checks the export and gives the infra blessing.

        Raises:
          ServingCheckFailed: the export fails to load or answers differently from the trained
            model.
        """
        model = artifact_utils.get_single_instance(input_dict["model"])
        schema = image_schema.read_artifact(artifact_utils.get_single_uri(input_dict["schema"]))
        findings, digest = _check(model.uri, schema.class_names)
        if findings:
            raise ServingCheckFailed("\n".join(findings))
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        blessing.set_int_custom_property(_BLESSED_KEY, 1)
        blessing.set_string_custom_property(versions.CHECKED_EXPORT, digest)
        io_utils.write_string_file(os.path.join(blessing.uri, "INFRA_BLESSED"), "")


def _check(model_uri: str, class_names: tuple[str, ...]) -> tuple[list[str], str]:
    """What is wrong with the export, and its digest."""
    # The model may be on a remote file system; the clean process reads local files.
    with tempfile.TemporaryDirectory() as folder:
        export, golden = os.path.join(folder, "export"), os.path.join(folder, "golden.npz")
        io_utils.copy_dir(path_utils.serving_model_path(model_uri), export)
        io_utils.copy_file(os.path.join(model_uri, features.GOLDEN_FILE), golden)
        return check_export(export, golden, class_names), versions.content_digest(Path(export))
