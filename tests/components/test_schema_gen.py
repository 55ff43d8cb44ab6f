"""ImportSchemaGen imports only the schema that the run was checked against."""

import codecs
import hashlib
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components.schema_gen import Executor, OtherSchemaError

SCHEMA = Path(__file__).resolve().parents[2] / "schema" / "schema.pbtxt"


@pytest.fixture
def imported(tmp_path):
    """Imports a file like the node; returns the content of the artifact."""

    def run(path, digest):
        artifact = standard_artifacts.Schema()
        artifact.uri = str(tmp_path / "artifact")
        Path(artifact.uri).mkdir()
        parameters = {"schema_file": str(path), "schema_sha256": digest}
        Executor().Do({}, {"schema": [artifact]}, parameters)
        return Path(artifact.uri, "schema.pbtxt").read_bytes()

    return run


def test_the_schema_that_was_checked_is_imported(imported):
    content = SCHEMA.read_bytes()
    assert imported(SCHEMA, hashlib.sha256(content).hexdigest()) == content


def test_a_byte_order_mark_is_left_out(imported, tmp_path):
    """Those who read the artifact are TFX's components, too, which would stop at it."""
    marked = tmp_path / "marked.pbtxt"
    marked.write_bytes(codecs.BOM_UTF8 + SCHEMA.read_bytes())
    digest = hashlib.sha256(marked.read_bytes()).hexdigest()
    assert imported(marked, digest) == SCHEMA.read_bytes()


def test_a_schema_that_was_edited_since_is_refused(imported, tmp_path):
    checked = hashlib.sha256(SCHEMA.read_bytes()).hexdigest()
    edited = tmp_path / "schema.pbtxt"
    edited.write_text(SCHEMA.read_text().replace('"Bag"', '"Sack"'))
    with pytest.raises(OtherSchemaError, match="has changed since the run was checked"):
        imported(edited, checked)
