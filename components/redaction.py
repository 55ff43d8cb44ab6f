"""Hides the secrets of addresses in texts that are printed, recorded or sent.

An address may hold a password (`https://user:password@host`) or a key in its query (`?token=...`).
The address of a chat or a mail box may be a secret as a whole (`slack://TokenA/TokenB/TokenC`), and
so may the path of a webhook (`https://hooks.slack.com/services/...`).

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
# Of these places, the part up to the first slash has no port. Their keys may hold slashes.
_BUCKETS = frozenset(("gs", "s3"))
# These have paths that begin with a slash, and no host before it.
_FILES = frozenset(("file", "sqlite"))
# A `Path` has dropped one of the two slashes of an address. With one, only these are taken for
# services: others may be a word before a path, such as `error:/tmp/log`.
_SERVICES = re.compile(
    r"amqps?|discord|fcm|feishu|gchat|gotifys?|guilded|hassios?|ifttt|ilert|jira|lark|mailersend"
    r"|mailgun|mailtos?|mastodons?|matrixs?|mmosts?|mqtts?|msteams|nexmo|ntfys?|o365|onesignal"
    r"|opsgenie|pagerduty|pbul|pover|prowl|pushover|revolt|rockets?|sendgrid|simplepush"
    r"|slack|splunk|spush|telegram|tgram|threema|twilio|victorops|viber|vonage|wecombot|whatsapp"
    r"|wxteams|xmatters|zulip"
)
# The address of a database, if it can hold no password.
_DATABASE = re.compile(r"[\w.-]+@(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/[\w.-]+")
_WORD = re.compile(r"\S+")
_TEXT = re.compile(r"\w")
# Whatever stands before it. A colour of the terminal, which may be escaped, ends with a letter.
_SCHEME = re.compile(
    r"(?:(?:\x1b|\\x1b)\[[0-9;]{0,20}[A-Za-z])?([A-Za-z][A-Za-z0-9+.-]{0,20})(:/+)"
)
# A password may contain a slash or an @, as keys of buckets do.
_USER = re.compile(r"(?:[^/@:]*:\S*|[^/]*)@")
_HOST_AND_PORT = re.compile(r"(?:[^/@:?#]+:[0-9]{1,5}|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?)/")
_QUERY = re.compile(r"\?\S+")
_FRAGMENT = re.compile(r"#[^#]*=\S*")
# Services that take whoever knows the path for a friend.
_WEBHOOK = re.compile(
    r"(hooks\.slack(?:-gov)?\.com|(?:discord|discordapp)\.com/+api(?:/+v\d+)?/+webhooks"
    r"|outlook\.office(?:365)?\.com/+webhook\w*|webhook\.office\.com|api\.telegram\.org"
    r"|hooks\.zapier\.com|maker\.ifttt\.com)(\.?(?::\d+)?)/+([^\s?#]+)",
    re.IGNORECASE,
)
# `user:password@proxy:3128`: without a scheme, only a port makes clear that it is an address.
_BEFORE_HOST = re.compile(r"@(?=(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}(?!\w))")
_BOUNDARIES = r"='\"(,;<\[{"
_LOGIN = re.compile(rf"(?<![^{_BOUNDARIES}])[^:@/{_BOUNDARIES}]+:(?!/)")
# What belongs to the sentence around an address.
_END = "'\"),.;:"


def redacted(text: str) -> str:
    """Returns the text with the secrets of its addresses replaced by `***`."""
    return _WORD.sub(lambda word: _without_login(_without_secrets(word[0])), text)


class LogFormatter(logging.Formatter):
    """Formats log records, with their tracebacks, and hides the secrets of addresses in them."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the text of a record."""
        return redacted(super().format(record))


def _without_secrets(word: str) -> str:
    """A word without the secrets of the addresses in it, of which each may follow another."""
    rest = word.rstrip(_END)
    end = word[len(rest) :]
    rest = _WEBHOOK.sub(rf"\1\2/{_HIDDEN}", rest)
    first = None
    # Where the next address is looked for. The word is not cut there: a word of many addresses
    # would be copied as often.
    position, copied, last_at = 0, 0, rest.rfind("@")
    kept: list[str] = []
    while scheme_and_slashes := _SCHEME.search(rest, position):
        position = scheme_and_slashes.end()
        # An ellipsis is no address.
        if not _TEXT.search(rest, position):
            break
        scheme, slashes = scheme_and_slashes[1].lower(), scheme_and_slashes[2]
        first = scheme_and_slashes.start(1) if first is None else first
        if scheme == "postgresql" and _DATABASE.fullmatch(rest, position):
            continue
        if scheme not in _PLACES and (slashes != ":/" or _SERVICES.fullmatch(scheme)):
            kept += [rest[copied:position], _HIDDEN]
            copied = len(rest)
            break
        if position <= last_at and not _has_no_user(scheme, slashes, rest, position):
            user = _USER.match(rest, position)
            if user:
                kept += [rest[copied:position], f"{_HIDDEN}@"]
                position = copied = user.end()
    if first is None:
        return rest + end
    text = "".join(kept) + rest[copied:]
    address = _FRAGMENT.sub(f"#{_HIDDEN}", text[first:])
    return text[:first] + _QUERY.sub(f"?{_HIDDEN}", address) + end


def _has_no_user(scheme: str, slashes: str, rest: str, position: int) -> bool:
    """Whether an @ in an address, which goes on at a position, belongs to its path for certain."""
    if scheme in _FILES:
        return slashes not in (":/", "://")
    return scheme not in _BUCKETS and _HOST_AND_PORT.match(rest, position) is not None


def _without_login(word: str) -> str:
    """A word without the user and the password before a host with a port."""
    if "@" not in word:
        return word
    ends = [match.start() for match in _BEFORE_HOST.finditer(word)]
    if not ends:
        return word
    # What comes before belongs to an address with a scheme.
    begin = word.rfind("://", 0, ends[-1])
    login = _LOGIN.search(word, max(begin, 0), ends[-1])
    return word[: login.start()] + _HIDDEN + word[ends[-1] :] if login else word
