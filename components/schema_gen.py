"""ImportSchemaGen whose schema must be the one that the run was checked against."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from tfx.components.schema_gen.import_schema_gen import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components import image_schema


class OtherSchemaError(RuntimeError):
    """The schema file changed since the run was checked against it."""


class Executor(executor.Executor):
    """TFX's executor, which takes whatever the file holds by then."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Imports the schema.

        Raises:
          OtherSchemaError: where it is not the one that was checked.
        """
        super().Do(input_dict, output_dict, exec_properties)
        path = os.path.join(
            artifact_utils.get_single_uri(output_dict["schema"]), image_schema.SCHEMA_FILE
        )
        with fileio.open(path, "rb") as file:
            found = hashlib.sha256(file.read()).hexdigest()
        if found != exec_properties["schema_sha256"]:
            raise OtherSchemaError(
                f"{exec_properties['schema_file']} has the SHA-256 {found}; expected "
                f"{exec_properties['schema_sha256']}: it changed since the run was checked against "
                "it. Run again when it is at rest."
            )


class CheckedSchemaGen(component.ImportSchemaGen):
    """Takes the curated schema in.

    TFX's own looks at the name of the file alone. The digest of its content is a parameter, by
    which the cache knows it, and to which the node holds what it imports.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, schema_file: str, schema_sha256: str):
        """Constructs the component.

        Args:
          schema_file: path of the schema in text form.
          schema_sha256: of its content.
        """
        super().__init__(schema_file=schema_file)
        self.spec.exec_properties["schema_sha256"] = schema_sha256
