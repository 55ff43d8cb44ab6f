"""Reads the schema file of a run."""

from __future__ import annotations

import hashlib
import pathlib

from components.image_schema import ImageSchema, SchemaError, parse_schema
from pipeline import paths
from pipeline.errors import ConfigurationError


def read_schema(path: str) -> tuple[ImageSchema, str]:
    """Reads the schema file.

    Returns:
      The schema and the SHA-256 of the file.

    Raises:
      ConfigurationError: the file cannot be read or does not describe labelled images.
    """
    try:
        paths.refuse_endless(pathlib.Path(path))
        content = pathlib.Path(path).read_bytes()
        return parse_schema(content.decode(), path), hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise ConfigurationError(
            f"schema_file {path} cannot be read ({error.strerror}); expected a readable schema. "
            "Set it with --set schema_file=PATH."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"schema_file {path} is not UTF-8 text ({error.reason}); expected a schema in text "
            "form. schema/README.md shows the form."
        ) from error
    except SchemaError as error:
        raise ConfigurationError(str(error)) from error
