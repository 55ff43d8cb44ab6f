"""What a text keeps of the addresses in it."""

import logging

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
    """Whatever stands around the address."""
    hidden = redacted(f"{before} {scheme}://{user}{SECRET}@host/path {after}")
    assert SECRET not in hidden


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
