"""Damages files: bytes, lengths, numbers, keys, nesting and encodings, by a seeded generator."""

from __future__ import annotations

import json
import random
import re

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
            changed = _in_json(content, generator)
            if changed is not None:
                content = changed
                continue
        content = generator.choice(_CHANGES)(content, generator)
    return content


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
    places = list(_places(document))
    if not places:
        return None
    holder, key = generator.choice(places)
    kind = generator.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[generator.choice(("", "\x1b[2J", "x" * 1_000, "__class__"))] = holder.pop(key)
    elif kind == 2:
        holder[key] = [holder[key]]
    elif kind == 3 and isinstance(holder[key], list | dict):
        deep = 1_000 * "[" + 1_000 * "]"
        holder[key] = "@deep@"
        return json.dumps(document).replace('"@deep@"', deep).encode()
    else:
        holder[key] = generator.choice(_VALUES)
    return json.dumps(document).encode()


def _places(value: object):
    items = list(value.items()) if isinstance(value, dict) else []
    items = list(enumerate(value)) if isinstance(value, list) else items
    for key, part in items:
        yield value, key
        yield from _places(part)
