"""What the tests of the readers share."""

import pytest

from components.example_gen.readers import base
from tests.components.example_gen.readers import made


@pytest.fixture
def data(tmp_path):
    """An empty data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def refusal(data):
    """The message with which the data folder, or a file in it, is refused, in three parts."""

    def message(name="", **arguments):
        with pytest.raises(base.ReadingError) as caught:
            made.read(data / name if name else data, **arguments)
        text = str(caught.value)
        assert "; expected " in text
        assert text.isprintable()
        assert text.endswith((".", "?"))
        assert len(text) < 2000
        return text

    return message
