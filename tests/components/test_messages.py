"""What a message shows of data."""

import hypothesis
import pytest
from hypothesis import strategies as st

from components import messages

NEEDLE = "opensesame"


@hypothesis.given(st.text(), st.integers(20, 300))
def test_what_is_shown_fits_on_a_line(text, longest):
    shown = messages.shown(text, longest)
    assert shown.isprintable()
    assert len(shown) <= longest + len("[...]")


@hypothesis.given(st.integers(0, 200), st.integers(0, 200))
def test_a_cut_text_shows_no_end_of_a_password(before, after):
    """Scheme or host of the address may be among what is left out."""
    text = f"{'a' * before} https://user:{NEEDLE}@host/ {'z' * after}"
    shown = messages.shown(text, 100)
    assert NEEDLE[:4] not in shown and NEEDLE[-4:] not in shown


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("a drive is gone"), "a drive is gone"),
        (MemoryError(), "memory error"),
        (OSError(), "os error"),
        (KeyError("nodes"), "key error: 'nodes'"),
        (IndexError(3), "index error: 3"),
        (ValueError(f"no answer of https://user:{NEEDLE}@host/"), "no answer of https://***@host/"),
    ],
)
def test_an_error_is_told_without_the_name_of_its_class(error, text):
    assert messages.told(error) == text
