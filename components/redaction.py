"""Hides the secrets of addresses in texts that are printed, recorded or sent.

An address may hold a password (`https://user:password@host`) or a key in its query (`?token=...`).
The address of a chat or a mail box may be a secret as a whole (`slack://TokenA/TokenB/TokenC`).

This module uses only the standard library and Python 3.8 syntax.
"""

from __future__ import annotations

import logging
import re

_HIDDEN = "***"
# An address with one of these schemes names a place: its host and its path may be shown.
_PLACES = frozenset(
    ("dns", "file", "ftp", "gs", "grpc", "hdfs", "http", "https", "minio", "s3", "sqlite", "tcp")
)
# A `Path` has dropped one of the two slashes. An ellipsis after them is no address.
_ADDRESS = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,20})(:/{1,2})(?=\S*\w)(\S+)")
# A password may contain a slash or an @, as keys of buckets do.
_USER = re.compile(r"^(?:[^/@:]*:\S*|[^/]*)@")
_QUERY = re.compile(r"\?\S+")
# What belongs to the sentence around an address.
_END = re.compile(r"['\"),.;:]*$")


def redacted(text: str) -> str:
    """Returns the text with the secrets of its addresses replaced by `***`."""
    return _ADDRESS.sub(_shown, text)


class LogFormatter(logging.Formatter):
    """Formats log records, with their tracebacks, and hides the secrets of addresses in them."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the text of a record."""
        return redacted(super().format(record))


def _shown(address: re.Match[str]) -> str:
    scheme, separator, rest = address.groups()
    rest = _END.sub("", rest)
    end = address[3][len(rest) :]
    # With one slash, it may as well be a path after a colon.
    if scheme.lower() not in _PLACES and separator == "://":
        return f"{scheme}{separator}{_HIDDEN}{end}"
    rest = _USER.sub(f"{_HIDDEN}@", rest)
    return f"{scheme}{separator}{_QUERY.sub(f'?{_HIDDEN}', rest)}{end}"
