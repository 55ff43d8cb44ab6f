"""Reads the schema file of a run."""

from __future__ import annotations

import hashlib
import pathlib

from components.image_schema import ImageSchema, SchemaError, parse_schema
from pipeline import paths
from pipeline.errors import ConfigurationError

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def schema_path(path: str) -> str:
    """The full path of a schema, which is relative to the working folder or to the project.

    Raises:
      PathError: the path cannot be used.
    """
    here = paths.expanded(pathlib.Path(path), "schema_file")
    given = paths.resolved(here, "schema_file")
    return str(given if given.exists() else paths.resolved(_ROOT / here, "schema_file"))


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
