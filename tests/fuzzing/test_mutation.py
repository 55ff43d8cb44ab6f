"""What is damaged by its structure is still read as the same format, so that more of it is seen."""

import collections
import io
import json
import random
import tomllib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from tests.faults.injection import PROJECT
from tests.fuzzing.mutation import mutated

_SCHEMA = (PROJECT / "schema" / "schema.pbtxt").read_bytes()


def _parquet():
    written = io.BytesIO()
    pq.write_table(pa.table({"path": ["a", "b"], "label": ["0", "1"]}), written)
    return written.getvalue()


@pytest.mark.parametrize(
    ("content", "parse"),
    [
        (b'{"a": [1, {"b": "c"}], "d": 2.5}', json.loads),
        (b'a = 1\nb.c = ["x"]\n[d]\ne = true\n', lambda text: tomllib.loads(text.decode())),
        (_SCHEMA, lambda text: text_format.Parse(text.decode(), schema_pb2.Schema())),
        (_parquet(), lambda content: pq.read_table(io.BytesIO(content))),
    ],
)
def test_many_damaged_files_are_still_of_their_format(content, parse):
    seen = collections.Counter()
    for seed in range(200):
        damaged = mutated(content, random.Random(seed))
        try:
            parse(damaged)
            seen["parsed"] += damaged != content
        except Exception:
            seen["broken"] += 1
    assert seen["parsed"] > 50
    assert seen["broken"] > 20


@pytest.mark.parametrize(
    "content",
    [
        b"a = 2026-01-02T03:04:05Z\nb = [2026-01-02, 03:04:05]\nc = 1e400\nd = inf\n",
        pytest.param(b'{"a": ' * 900 + b"1" + b"}" * 900, marks=pytest.mark.slow),
        b'["\\ud800", NaN, -0.0, null]',
        b"PAR1",
    ],
)
def test_whatever_is_damaged_is_damaged_again(content):
    for seed in range(300):
        damaged = content
        for round in range(5):
            damaged = mutated(damaged, random.Random(f"{seed}-{round}"))


def test_a_case_depends_on_its_seed_alone():
    once, again = (mutated(_SCHEMA, random.Random("1-schema-7")) for _ in range(2))
    assert once == again
