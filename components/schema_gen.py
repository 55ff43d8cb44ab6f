"""ImportSchemaGen that accepts only the schema that the run was checked against."""

from __future__ import annotations

import codecs
import hashlib
import os
from typing import Any

from tfx.components.schema_gen.import_schema_gen import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components import image_schema


class OtherSchemaError(RuntimeError):
    """The schema file has changed since the run was checked against it."""


class Executor(executor.Executor):
    """Imports the content that was checked, without a byte order mark."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Imports the schema.

        Raises:
          OtherSchemaError: If it is not the schema that the run was checked against.
        """
        with fileio.open(exec_properties["schema_file"], "rb") as file:
            content = file.read()
        digest = hashlib.sha256(content).hexdigest()
        if digest != exec_properties["schema_sha256"]:
            raise OtherSchemaError(
                f"{exec_properties['schema_file']} has the SHA-256 {digest}; expected "
                f"{exec_properties['schema_sha256']}. The file has changed since the run was "
                "checked against it. Run again when the file no longer changes."
            )
        path = os.path.join(
            artifact_utils.get_single_uri(output_dict["schema"]), image_schema.SCHEMA_FILE
        )
        with fileio.open(path, "wb") as file:
            # TFX's components cannot read the mark.
            file.write(content.removeprefix(codecs.BOM_UTF8))


class CheckedSchemaGen(component.ImportSchemaGen):
    """Imports the curated schema.

    TFX's component only has the name of the file as parameter. This one also has the digest of its
    content: so the cache notices a change, and the node can check what it imports.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, schema_file: str, schema_sha256: str):
        """Constructs the component.

        Args:
          schema_file: Path of the schema in text form.
          schema_sha256: SHA-256 of its content.
        """
        super().__init__(schema_file=schema_file)
        self.spec.exec_properties["schema_sha256"] = schema_sha256
