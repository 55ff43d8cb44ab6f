"""What a text keeps of the addresses in it."""

import logging
import re

import hypothesis
import pytest
from hypothesis import strategies

from components import redaction
from components.redaction import redacted
from pipeline.errors import DataError

SECRET = "hunter2secret"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"https://user:{SECRET}@host/data is gone", "https://***@host/data is gone"),
        (f"https://{SECRET}@host", "https://***@host"),
        # A path has dropped a slash.
        (f"https:/user:{SECRET}@host/data", "https:/***@host/data"),
        # Keys of buckets hold slashes, and passwords an @.
        (f"s3://KEY:a/{SECRET}@b@bucket/data", "s3://***@bucket/data"),
        (f"HTTPS://host/data.zip?signature={SECRET}", "HTTPS://host/data.zip?***"),
        (f"found 'slack://{SECRET}/B/C'", "found 'slack://***'"),
        # Whatever stands before the address.
        (f"\x1b[31mhttps://user:{SECRET}@host", "\x1b[31mhttps://***@host"),
        (f"\\x1b[1;31mslack:/{SECRET}", "\\x1b[1;31mslack:/***"),
        (f"url_https://user:{SECRET}@host", "url_https://***@host"),
        (f"1https://user:{SECRET}@host", "1https://***@host"),
        (f"{'a' * 40}https://user:{SECRET}@host", f"{'a' * 40}https://***"),
        (f"https://host:80/a,https://user:{SECRET}@host", "https://host:80/a,https://***@host"),
        (f"http:///user:{SECRET}@host", "http:///***@host"),
        # A path has dropped a slash here, too.
        (f"slack:/T/B/{SECRET} is gone", "slack:/*** is gone"),
        # An address without a scheme, as of a proxy.
        (f"(user:{SECRET}@proxy:3128)", "(***@proxy:3128)"),
        (f"https_proxy=user:{SECRET}@[::1]:3128/", "https_proxy=***@[::1]:3128/"),
        (f"user:a:/{SECRET}@proxy:3128", "***@proxy:3128"),
        (f"https://host/a#token={SECRET}&b=c", "https://host/a#***"),
        (f"https://host/a?b#token={SECRET}", "https://host/a?***"),
        (f"'https://hooks.slack.com/services/T/B/{SECRET}'.", "'https://hooks.slack.com/***'."),
        (f"https://HOOKS.SLACK.COM:443//a/{SECRET}", "https://HOOKS.SLACK.COM:443/***"),
        (f"hooks.slack.com/services/{SECRET}", "hooks.slack.com/***"),
        (f"https://discord.com/api/webhooks/1/{SECRET}", "https://discord.com/api/webhooks/***"),
        (f"https://outlook.office.com/webhook/{SECRET}", "https://outlook.office.com/webhook/***"),
        (f"https://a.webhook.office.com/b/{SECRET}", "https://a.webhook.office.com/***"),
        (f"https://api.telegram.org/bot1:{SECRET}/send?a", "https://api.telegram.org/***?***"),
        (f"(https://host/a?key={SECRET}); expected", "(https://host/a?***); expected"),
        (f"mailto://user:{SECRET}@host?to=a,b", "mailto://***"),
        (
            f"a line\nhttp://user:{SECRET}@proxy:8080\nanother",
            "a line\nhttp://***@proxy:8080\nanother",
        ),
    ],
)
def test_secrets_of_addresses_are_hidden(text, shown):
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:9177/metrics",
        "gs://bucket/folder/of@images",
        "file:///home/user/outputs/a:b@c",
        "begins with gs://.",
        "neither http:// nor https://; expected",
        "address 2 of IMAGE_PIPELINE_NOTIFY (slack://...), address 3",
        "/data/12:30/of@night",
        "https://host:8080/a@b",
        "https://host:8080/a:b@c/d",
        "https://[::1]/a@b",
        "https://discord.com/invite/a",
        "https://host/page#part",
        "error:/tmp/a@b",
        "line 3:/data/slack/a",
        "12:30, a:b and a@b:c",
        "/data/12:30/of@night:22",
        "registry:5000/name:tag@sha256:0123456789abcdef",
        "training.epochs: found 'a@b'; expected a number.",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redacted(text) == text


@hypothesis.given(
    strategies.text(),
    strategies.sampled_from(["https", "s3", "slack", "mailto", "postgresql+psycopg"]),
    strategies.from_regex(r"[^\s/@:]*:\S*", fullmatch=True),
    strategies.text(),
)
def test_no_user_with_a_password_stays(before, scheme, user, after):
    """Whatever stands around the address; a number before a slash is a port, not a password."""
    hypothesis.assume(not re.match(r"[^/]*(:\d{1,5}|\])/", user) or scheme == "s3")
    hidden = redacted(f"{before}{scheme}://{user}{SECRET}@host/path {after}")
    assert SECRET not in hidden


FORMS = (
    f"https://user:{SECRET}@host",
    f"https:/user:{SECRET}@host:80/a@b",
    f"s3://KEY:1/{SECRET}@bucket",
    f"slack://T/{SECRET}",
    f"user:{SECRET}@proxy:3128",
    f"https://host:80/a?key={SECRET}",
    f"https://host/#token={SECRET}",
    f"https://hooks.slack.com/services/T/{SECRET}",
    f"discord.com/api/webhooks/1/{SECRET}",
    f"https://api.telegram.org/bot1:{SECRET}/send",
)


@hypothesis.given(
    strategies.text() | strategies.from_regex(r"\A\\?(\x1b\[[0-9;]*m|[\w=('-]+)\Z"),
    strategies.lists(strategies.sampled_from(FORMS), min_size=1, max_size=4),
    strategies.sampled_from([" ", "\n", ", ", "' '"]),
    strategies.text(),
)
def test_no_secret_shows_in_any_form(before, forms, between, after):
    text = f"{before} {between.join(forms)} {after}"
    hidden = redacted(text)
    assert SECRET not in hidden
    assert redacted(hidden) == hidden
    # What may be hidden is in words with a slash or an @ alone.
    kept = [word for word in text.split() if "/" not in word and "@" not in word]
    assert [word for word in hidden.split() if word in kept] == kept


@hypothesis.given(
    strategies.text(),
    strategies.sampled_from([form for form in FORMS if "://" in form]),
    strategies.sampled_from(["", ",", "=", "(", "_", "1", "\x1b[31m", "\\x1b[31m"]),
)
def test_no_secret_shows_whatever_an_address_follows(before, form, glue):
    assert SECRET not in redacted(f"{before}{glue}{form}")


@hypothesis.given(strategies.text(), strategies.from_regex(r"(/[\w.@:-]+)+", fullmatch=True))
def test_ordinary_texts_and_paths_stay(text, path):
    for ordinary in (text.replace(":", ""), path.replace(":/", "/")):
        assert redacted(ordinary) == ordinary


@pytest.mark.parametrize(
    "word", ["a:/", '"a":"b",', "#", "?", "'", "a:", "@a:1", "http://a:1/@", "x=a:b@c:1,", "-"]
)
def test_a_long_word_is_read_in_a_moment(word):
    """Time that grows with the square of the length would be minutes."""
    text = "https://" + word * (300_000 // len(word)) + "x@h:80"
    assert redacted(redacted(text)) == redacted(text)


def test_many_addresses_in_a_word_are_read_in_a_moment():
    """Copying the rest of the word for each of them would take minutes."""
    text = "a:/" * 1_500_000 + "x"
    assert redacted(text) == text


def test_hiding_twice_changes_nothing():
    once = redacted(f"https://u:{SECRET}@host/a?b and slack://{SECRET}")
    assert redacted(once) == once


def test_errors_and_log_lines_hide_them():
    error = DataError(f"https://u:{SECRET}@host is no folder")
    assert str(error) == "https://***@host is no folder"
    # Of a library, with a traceback.
    raised = logging.LogRecord("name", logging.ERROR, "file", 1, "failed", (), None)
    try:
        raise ValueError(f"https://u:{SECRET}@host is bad")
    except ValueError as caught:
        raised.exc_info = (type(caught), caught, caught.__traceback__)
    line = redaction.LogFormatter("%(message)s").format(raised)
    assert line.startswith("failed\nTraceback")
    assert "https://***@host is bad" in line and SECRET not in line.replace("{SECRET}", "")
