"""Damages files: bytes, lengths, numbers, keys, nesting and encodings, by a seeded generator."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import random
import re
import tomllib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from tensorflow_metadata.proto.v0 import schema_pb2

_NUMBERS = (
    *(b"0", b"-1", b"1e999", b"-0.0", b"NaN", b"Infinity", b"true", b"null", b'"x"', b"[]", b"{}"),
    *(b"255", b"256", b"65536", b"2147483648", b"-9223372036854775809", b"9" * 5_000),
)
_TEXTS = (
    *(
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\x1b]0;x\x07",
        b"\x1b[2J",
        b"\\ud800",
        b"\\u0000",
    ),
    *(b"../../../etc/passwd", b"/dev/zero", "\u202e".encode(), b"a" * 100_000, b'"', b"'", b"\n"),
    *(b"[" * 100_000, b'{"a":' * 50_000, b"a{" * 3_000, b"2026-01-02T03:04:05"),
)
_INTERESTING_BYTES = (0, 1, 7, 8, 127, 128, 254, 255)


def mutated(content: bytes, generator: random.Random) -> bytes:
    """A damaged copy; mostly with one fault, so that the rest of the file is still understood."""
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        if generator.random() < 0.5:
            changed = _restructured(content, generator)
            if changed is not None:
                content = changed
                continue
        content = generator.choice(_CHANGES)(content, generator)
    return content


def _restructured(content: bytes, generator: random.Random) -> bytes | None:
    for form in (_in_json, _in_parquet, _in_toml, _in_schema):
        # What was damaged before may be nested too deeply.
        with contextlib.suppress(RecursionError):
            changed = form(content, generator)
            if changed is not None:
                return changed
    return None


def _byte(content: bytes, generator: random.Random) -> bytes:
    place = _place(content, generator)
    value = generator.choice((*_INTERESTING_BYTES, generator.randrange(256)))
    return content[:place] + bytes([value]) + content[place + 1 :]


def _bit(content: bytes, generator: random.Random) -> bytes:
    if not content:
        return content
    place = _place(content, generator)
    value = content[place] ^ (1 << generator.randrange(8))
    return content[:place] + bytes([value]) + content[place + 1 :]


def _length(content: bytes, generator: random.Random) -> bytes:
    """A field of two, four or eight bytes becomes a number at the border of what fits."""
    size = generator.choice((2, 4, 8))
    number = generator.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2 ** (8 * size) - 1))
    field = (number % 2 ** (8 * size)).to_bytes(size, generator.choice(("big", "little")))
    place = _place(content, generator)
    return content[:place] + field + content[place + size :]


def _cut(content: bytes, generator: random.Random) -> bytes:
    return content[: _place(content, generator)]


def _removed(content: bytes, generator: random.Random) -> bytes:
    place = _place(content, generator)
    return content[:place] + content[place + generator.randrange(1, 64) :]


def _repeated(content: bytes, generator: random.Random) -> bytes:
    place = _place(content, generator)
    part = content[place : place + generator.randrange(1, 64)]
    return content[:place] + part * generator.choice((2, 3, 1_000)) + content[place:]


def _inserted(content: bytes, generator: random.Random) -> bytes:
    place = _place(content, generator)
    return content[:place] + generator.choice(_TEXTS) + content[place:]


def _number(content: bytes, generator: random.Random) -> bytes:
    return _replaced(rb"-?[0-9]+(\.[0-9]+)?", _NUMBERS, content, generator)


def _text(content: bytes, generator: random.Random) -> bytes:
    return _replaced(rb"[A-Za-z_][A-Za-z_0-9./-]*", (*_TEXTS, *_NUMBERS), content, generator)


def _line_twice(content: bytes, generator: random.Random) -> bytes:
    lines = content.split(b"\n")
    place = generator.randrange(len(lines))
    return b"\n".join([*lines[:place], lines[place], *lines[place:]])


def _recoded(content: bytes, generator: random.Random) -> bytes:
    encoding = generator.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1"))
    return content.decode("utf-8", "replace").encode(encoding, "replace")


_CHANGES = (_byte, _bit, _length, _cut, _removed, _repeated, _inserted, _number, _text)
_CHANGES += (_line_twice, _recoded)


def _place(content: bytes, generator: random.Random) -> int:
    # Headers stand at the beginning, and some at the end.
    if generator.random() < 0.4:
        return generator.randrange(min(len(content), 64) or 1)
    return generator.randrange(len(content) or 1)


def _replaced(
    pattern: bytes, values: tuple[bytes, ...], content: bytes, generator: random.Random
) -> bytes:
    places = list(re.finditer(pattern, content[:200_000]))
    if not places:
        return content
    place = generator.choice(places)
    return content[: place.start()] + generator.choice(values) + content[place.end() :]


_VALUES = (
    *(
        None,
        True,
        False,
        0,
        -1,
        2**63,
        10**400,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "\0",
        "\x1b[2J",
    ),
    *("x" * 50_000, "\u202e", "../../x", "/dev/zero", [], {}, [[]], {"": None}, ["a"] * 1_000),
    *("2026-01-02T03:04:05", "9999-12-31T23:59:59.999999-12:00", "0001-01-01T00:00:00+14:00"),
)


def _in_json(content: bytes, generator: random.Random) -> bytes | None:
    """A JSON document with one value, key or nesting changed; None where it is none."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    deep = _changed_in_place(document, generator)
    if deep is None:
        return None
    return json.dumps(document).replace(json.dumps(_DEEP), deep).encode()


def _changed_in_place(document: object, generator: random.Random) -> str | None:
    """Changes one value of a document; returns what stands for `_DEEP`, or None for no value."""
    places = list(_places(document))
    if not places:
        return None
    holder, key = generator.choice(places)
    deep = 1_000 * "[" + 1_000 * "]"
    kind = generator.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[generator.choice(("", "\x1b[2J", "x" * 1_000, "__class__"))] = holder.pop(key)
    elif kind == 2:
        holder[key] = [holder[key]]
    elif kind == 3 and isinstance(holder[key], list | dict):
        holder[key] = _DEEP
    else:
        holder[key] = generator.choice(_VALUES)
    return deep


_DEEP = "@deep@"


def _places(value: object):
    items = list(value.items()) if isinstance(value, dict) else []
    items = list(enumerate(value)) if isinstance(value, list) else items
    for key, part in items:
        yield value, key
        yield from _places(part)


def _in_toml(content: bytes, generator: random.Random) -> bytes | None:
    """A TOML document with one value, key or nesting changed; None where it is none."""
    try:
        document = tomllib.loads(content.decode())
    except (ValueError, RecursionError):
        return None
    deep = _changed_in_place(document, generator)
    if deep is None:
        return None
    lines = [f"{_key(key)} = {_toml(value)}\n" for key, value in document.items()]
    return "".join(lines).replace(json.dumps(_DEEP), deep).encode("utf-8", "replace")


def _toml(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(key)} = {_toml(part)}" for key, part in value.items())
        return "{ " + inner + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    # TOML writes nan and inf in lower case, and has no null.
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf").replace("null", "{}")


def _key(key: object) -> str:
    return json.dumps(str(key))


def _in_schema(content: bytes, generator: random.Random) -> bytes | None:
    """A schema in text form with one field changed; None where it is none."""
    schema = schema_pb2.Schema()
    try:
        text_format.Parse(content.decode(), schema)
    except (ValueError, text_format.ParseError, RecursionError):
        return None
    messages = [message for message in _messages(schema) if message.DESCRIPTOR.fields]
    if len(messages) < 2:
        return None
    message = generator.choice(messages)
    _change_field(message, generator.choice(message.DESCRIPTOR.fields), generator)
    return text_format.MessageToString(schema).encode()


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE and not _is_map(field):
            for inner in value if field.is_repeated else [value]:
                yield from _messages(inner)
        elif _is_map(field) and field.message_type.fields_by_name["value"].message_type:
            for inner in value.values():
                yield from _messages(inner)


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


def _change_field(message: Message, field: FieldDescriptor, generator: random.Random) -> None:
    values = {
        field.CPPTYPE_STRING: ("", "x" * 50_000, "\x1b[2J", "\u202e", "image", "label", "\0"),
        field.CPPTYPE_INT64: (0, -1, 1, 3, 2**31, 2**63 - 1, -(2**63)),
        field.CPPTYPE_FLOAT: (0.0, -1.0, float("nan"), float("inf")),
        field.CPPTYPE_BOOL: (True, False),
    }.get(field.cpp_type, ())
    try:
        if _is_map(field) or not generator.randrange(4):
            message.ClearField(field.name)
        elif field.is_repeated:
            items = getattr(message, field.name)
            count = generator.choice((1, 3, 1_000))
            again = list(items) or ([generator.choice(values)] if values else [])
            items.extend((again * count)[:count])
        elif field.type == field.TYPE_MESSAGE:
            getattr(message, field.name).SetInParent()
        elif values:
            setattr(message, field.name, generator.choice(values))
    # A text may be no value of a field of bytes, and a number too large for one.
    except (ValueError, TypeError):
        message.ClearField(field.name)


def _in_parquet(content: bytes, generator: random.Random) -> bytes | None:
    """A Parquet file with one column of another type, or other metadata; None where it is none."""
    if not content.startswith(b"PAR1"):
        return None
    try:
        table = pq.read_table(io.BytesIO(content))
        place = generator.randrange(table.num_columns)
        changed = _other_table(table, place, generator)
        written = io.BytesIO()
        pq.write_table(changed, written, row_group_size=generator.choice((1, 2, 1_000)))
    # A file that is damaged already, or a type that cannot be written.
    except (pa.ArrowException, ValueError, TypeError, OSError, OverflowError, KeyError):
        return None
    return written.getvalue()


def _other_table(table: pa.Table, place: int, generator: random.Random) -> pa.Table:
    rows, name = table.num_rows, table.column_names[place]
    kind = generator.randrange(6)
    if kind == 0:
        return table.remove_column(place)
    if kind == 1:
        return table.append_column(name, table.column(place))
    if kind == 2:
        names = list(table.column_names)
        names[place] = generator.choice(("", "\x1b[2J", "x" * 50_000, "\u202e", "label", "image"))
        return table.rename_columns(names)
    if kind == 3:
        metadata = {**(table.schema.metadata or {}), b"huggingface": generator.choice(_TEXTS)}
        return table.replace_schema_metadata(metadata)
    if kind == 4:
        again = [0] * generator.choice((0, 1, 1_000)) if rows else []
        return pa.concat_tables([table, table.take(pa.array(again, pa.int64()))])
    column = generator.choice(
        (
            pa.nulls(rows),
            pa.array([None, *[1] * (rows - 1)][:rows], pa.int64()),
            pa.array([2**63] * rows, pa.uint64()),
            pa.array([float("nan")] * rows),
            pa.array([True] * rows),
            pa.array([[1, 2]] * rows),
            pa.array([{"bytes": None, "path": "../../x"}] * rows),
            pa.array([{"bytes": b"", "path": "/dev/zero"}] * rows),
            pa.array([b"\xff"] * rows),
            pa.array(["\x1b[2J"] * rows).dictionary_encode(),
            pa.array(["x" * 50_000] * rows, pa.large_string()),
            pa.array([10**18] * rows, pa.timestamp("ns")),
            pa.array([[["1"]]] * rows),
        )
    )
    return table.set_column(place, name, column)
