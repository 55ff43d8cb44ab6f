"""Labels become classes by name, or else by number; all others are refused in words."""

import unicodedata

import hypothesis
import pytest
from hypothesis import strategies

from components.example_gen import labels
from components.example_gen.reading_error import ReadingError

NAMES = ("T-shirt/top", "Trouser", "Bag", "Café")


@hypothesis.given(strategies.lists(strategies.text(min_size=1), unique=True, min_size=1))
def test_names_are_found(names):
    hypothesis.assume(len({unicodedata.normalize("NFC", name) for name in names}) == len(names))
    assert labels.resolve(names[::-1], names) == {name: place for place, name in enumerate(names)}


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (("Bag",), [2]),
        (("0", "3"), [0, 3]),
        (("03", "1"), [3, 1]),
        ((unicodedata.normalize("NFD", "Café"),), [3]),
        ((), []),
    ],
)
def test_labels_are_names_or_numbers(values, numbers):
    assert list(labels.resolve(values, NAMES).values()) == numbers


def test_names_that_are_numbers_win():
    assert labels.resolve(("1", "2"), ("2", "1")) == {"1": 1, "2": 0}


@pytest.mark.parametrize(
    ("values", "names"), [(("0", "1", "2"), ("1", "2", "3")), (("0", "1"), ("1", "0 or so"))]
)
def test_numbers_that_are_names_of_other_classes_are_refused(values, names):
    """Counted from 0, label 1 would silently become the class called 2."""
    with pytest.raises(ReadingError) as caught:
        labels.resolve(values, names)
    told = "label 1 is the name of class number 0, and it may also mean class number 1; expected"
    assert str(caught.value).startswith(told)
    assert "but 0" in str(caught.value)


def test_numbers_that_are_names_of_the_same_classes_are_read():
    digits = tuple(map(str, range(10)))
    expected = {digit: number for number, digit in enumerate(digits)}
    assert labels.resolve(digits, digits) == expected
    assert labels.resolve(("0", "2"), ("0", "1", "many")) == {"0": 0, "2": 2}


REFUSED = {
    "a misspelled name": (("Bag", "trousers"), "unknown label 'trousers' (nearest: Trouser)"),
    "another case": (("bag",), "unknown label 'bag' (nearest: Bag)"),
    "names and numbers": (("Bag", "0"), "unknown label '0'"),
    "a number too large": (
        ("0", "4"),
        "label 4; expected labels from 0 to 3, as the schema",
    ),
    "numbers too large": (("5", "4"), "labels 5, 4; expected labels from 0 to 3"),
    "a negative number": (("-1", "0"), "unknown labels '-1', '0'"),
    "a fraction": (("1.0",), "unknown label '1.0'"),
    "other digits": (("\u0661",), "unknown label '\u0661'"),
    "a huge number": (("9" * 5000,), "unknown label '999"),
    "control characters": (("\x1b[31m",), "unknown label '\\\\x1b[31m'"),
    "nothing": (("",), "unknown label ''"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_labels_are_refused(case):
    values, told = REFUSED[case]
    with pytest.raises(ReadingError) as caught:
        labels.resolve(values, NAMES)
    assert told in str(caught.value)
    assert "; expected " in str(caught.value)
    assert str(caught.value).isprintable()


def test_of_many_long_unknown_labels_ten_are_named():
    values = [f"{'x' * 1_000_000}{number}" for number in range(30)]
    with pytest.raises(ReadingError) as caught:
        labels.resolve(values, [f"name {number}" for number in range(1000)])
    assert " and 20 more; expected names of classes" in str(caught.value)
    assert "`init NAME --data PATH`, then `run --config NAME/pipeline.toml`" in str(caught.value)
    assert len(str(caught.value)) < 6000


def test_numbers_need_no_names():
    assert labels.by_number(("0", "2"), 3) == {"0": 0, "2": 2}
    with pytest.raises(ReadingError, match="labels 3, a; expected labels from 0 to 2"):
        labels.by_number(("0", "3", "a"), 3)
