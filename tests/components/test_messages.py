"""What a message shows of data."""

import hypothesis
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
