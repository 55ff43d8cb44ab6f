"""What a message shows of data."""

import hypothesis
import pytest
from hypothesis import strategies as st

from components import messages
from components.class_names import is_showable

NEEDLE = "opensesame"


@hypothesis.given(st.text(), st.integers(20, 300))
def test_what_is_shown_fits_on_a_line(text, longest):
    shown = messages.shown(text, longest)
    assert is_showable(shown) and messages.is_utf8(shown)
    assert len(shown) <= longest + len("[...]")


@pytest.mark.parametrize(
    "character",
    ["\u3000", "\u00a0", "\u202f", "\u200c", "\u200d", "\u00ad", "\ue000", "\U000e0067", "\u0378"],
)
def test_a_name_stays_as_it_has_to_be_typed(character):
    """Spaces of all widths, joiners, and what Python does not know yet, as new emoji."""
    assert messages.escaped(f"a{character}b") == f"a{character}b"


@pytest.mark.parametrize(
    ("character", "told"),
    [
        ("\x1b", "\\x1b"),
        ("\x85", "\\x85"),
        ("\n", "\\n"),
        ("\u2028", "\\u2028"),
        ("\u202e", "\\u202e"),
        ("\u2066", "\\u2066"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_breaks_a_terminal_is_escaped(character, told):
    assert messages.escaped(f"a{character}b") == f"a{told}b"


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
