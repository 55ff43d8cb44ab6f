r"""Texts that ML Metadata can write into PostgreSQL.

Its client writes a text with a backslash as `'E'...'`, which is no SQL (ML Metadata 1.17.1; seen
with PostgreSQL 15): each parameter that holds quoted JSON fails, such as the one of Evaluator, and
what follows a backslash would be run as SQL. So no backslash goes there: `install` makes the stores
of this process write another character for it, and put it back when they read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from ml_metadata.metadata_store import metadata_store

# The picture of the escape key. Itself, and a backslash:
_ESCAPE = "\u241b"
_ENCODED = {_ESCAPE: f"{_ESCAPE}0", "\\": f"{_ESCAPE}1"}
# All stores call the library through it. TFX makes stores of its own, so the class is changed.
_CALL = "_call"


@functools.cache
def install() -> None:
    """Makes stores in PostgreSQL, those of TFX too, write no backslashes. Others stay as they are.

    Raises:
      AttributeError: where ML Metadata calls its library in another way than it did.
    """
    original = getattr(metadata_store.MetadataStore, _CALL)

    @functools.wraps(original)
    def call(
        store: metadata_store.MetadataStore,
        method: str,
        request: Message,
        response: Message,
        *options: object,
        **named: object,
    ) -> None:
        if not _is_postgresql(store):
            original(store, method, request, response, *options, **named)
            return
        sent = type(request)()
        sent.CopyFrom(request)
        _change(sent, encoded)
        original(store, method, sent, response, *options, **named)
        _change(response, decoded)

    setattr(metadata_store.MetadataStore, _CALL, call)


def encoded(text: str) -> str:
    """The text without backslashes."""
    for character, code in _ENCODED.items():
        text = text.replace(character, code)
    return text


def decoded(text: str) -> str:
    """The text that `encoded` was given."""
    for character, code in reversed(_ENCODED.items()):
        text = text.replace(code, character)
    return text


def _is_postgresql(store: metadata_store.MetadataStore) -> bool:
    config = store._config
    return "config" in config.DESCRIPTOR.oneofs_by_name and config.HasField("postgresql")


def _change(message: Message, change: Callable[[str], str]) -> None:
    """Changes all texts in a message."""
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _change_map(field, value, change)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in value if _is_repeated(field) else (value,):
                _change(part, change)
        elif field.type == FieldDescriptor.TYPE_STRING:
            _change_text(message, field, value, change)


def _change_map(field: FieldDescriptor, entries: Any, change: Callable[[str], str]) -> None:
    kind = field.message_type.fields_by_name["value"].type
    for name in list(entries):
        if kind == FieldDescriptor.TYPE_MESSAGE:
            _change(entries[name], change)
        elif kind == FieldDescriptor.TYPE_STRING:
            entries[name] = change(entries[name])


def _change_text(
    message: Message, field: FieldDescriptor, value: Any, change: Callable[[str], str]
) -> None:
    if _is_repeated(field):
        value[:] = map(change, value)
    else:
        setattr(message, field.name, change(value))


def _is_repeated(field: FieldDescriptor) -> bool:
    return bool(field.label == FieldDescriptor.LABEL_REPEATED)
