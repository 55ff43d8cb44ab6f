"""The schema file of a run is read whole, or refused in words."""

import codecs
import hashlib
from pathlib import Path

import pytest

from pipeline.datasets.schema_file import read_schema
from pipeline.errors import ConfigurationError

CURATED = Path(__file__).resolve().parents[3] / "schema" / "schema.pbtxt"


def test_a_schema_file_is_read_with_its_digest(tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"schema\.pbtxt gives the decoded image"):
        read_schema(str(path))


def test_a_schema_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "schema.pbtxt"
    content = codecs.BOM_UTF8 + CURATED.read_bytes()
    path.write_bytes(content)
    plain, _ = read_schema(str(CURATED))
    assert read_schema(str(path)) == (plain, hashlib.sha256(content).hexdigest())


def test_a_schema_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        read_schema(str(tmp_path / "absent.pbtxt"))
    assert f"{tmp_path / 'absent.pbtxt'} cannot be read (No such file" in str(caught.value)
    assert "--set schema_file=PATH" in str(caught.value)


def test_a_schema_file_that_is_no_text_is_refused_by_its_name(tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError) as caught:
        read_schema(str(path))
    assert str(path) in str(caught.value)
    assert "expected" in str(caught.value)
