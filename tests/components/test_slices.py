"""Slices: which values a column has, and what is refused before anything starts."""

import datetime

import pyarrow as pa
import pytest

from components import slices


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["07", "7", " 7 ", "7"], ["07", "7", "7", "7"]),
        (["", " \t", None, "(missing)"], ["(missing)"] * 4),
        (["e\u0301", "\u00e9"], ["\u00e9", "\u00e9"]),
        ([7, -1, None], ["7", "-1", "(missing)"]),
        ([1.5, float("nan"), None], ["1.5", "(missing)", "(missing)"]),
        ([True, False, None], ["true", "false", "(missing)"]),
        ([datetime.date(2026, 1, 2), None], ["2026-01-02", "(missing)"]),
        ([None, None], ["(missing)", "(missing)"]),
        ([], []),
    ],
)
def test_each_row_has_a_value(given, expected):
    """Also where a column comes in pieces, or as a dictionary."""
    whole = pa.chunked_array([pa.array(given)])
    assert slices.values("shop", whole) == expected
    kind = whole.type
    pieces = pa.chunked_array([pa.array(given[:1], kind), pa.array(given[1:], kind)])
    assert slices.values("shop", pieces) == expected
    if pa.types.is_string(kind):
        assert slices.values("shop", pieces.dictionary_encode()) == expected


@pytest.mark.parametrize("given", [[[1]], [{"a": 1}], [b"\xff"]])
def test_a_column_of_other_things_is_refused(given):
    with pytest.raises(slices.SliceError, match="expected text, numbers, dates"):
        slices.values("shop", pa.chunked_array([pa.array(given)]))


@pytest.mark.parametrize("value", ["07", "nan", "1e5", "inf", "-0", "=1", "(missing)"])
def test_what_tfma_is_given_is_no_number_and_people_see_it_as_it_was(value):
    with pytest.raises(ValueError, match="could not convert"):
        float(slices.stored(value))
    assert slices.value_of(slices.stored(value)) == value


def test_a_slicing_survives_the_way_into_a_node():
    slicings = [slices.Slicing("shop", 0.5, 7, ("07", "a=b")), slices.Slicing("season", None, 50)]
    assert slices.slicings_from_json(slices.slicings_to_json(slicings)) == slicings


TABLE = pa.table({"shop": ["north", "south"], "example_id": ["a", "b"], "many": [[1], [2]]})


def refusal(columns, test_count=100, **min_images):
    with pytest.raises(slices.SliceError) as caught:
        slices.check(columns, test_count, min_images)
    assert "; expected " in str(caught.value)
    return str(caught.value)


def test_sound_slices_pass():
    slices.check(TABLE, 100, {"shop": 100})
    slices.check(None, 100, {})


@pytest.mark.parametrize(
    ("threshold", "min_images", "wanted"), [(None, 50, 0), (None, 7, 7), (0.5, 50, 50), (0.5, 7, 7)]
)
def test_images_are_wanted_where_somebody_asks_for_them(threshold, min_images, wanted):
    assert slices.Slicing("shop", threshold, min_images).wanted_images == wanted


@pytest.mark.parametrize("name", ["__raw_record__", "a=b", "label", "", "\ud800", "a\nb"])
def test_what_is_no_name_of_a_column(name):
    assert not slices.is_column_name(name)
    assert slices.is_column_name("Saison 2027, été")


def test_a_column_that_is_not_there_is_refused():
    assert "found the column town, which the data does not have" in refusal(TABLE, town=1)
    assert "its further columns are shop, many;" in refusal(TABLE, town=1)
    assert "it has no further columns;" in refusal(None, town=1)


def test_more_images_than_the_test_split_has_are_refused():
    message = refusal(TABLE, shop=101)
    assert "min_images=101 for the column shop, but the test split has 100 images" in message


def test_more_than_a_thousand_values_are_refused():
    thousand = [str(number) for number in range(1000)]
    slices.check(pa.table({"shop": thousand * 2}), 1, {"shop": 1})
    message = refusal(pa.table({"shop": [*thousand, None]}), shop=1)
    assert "the column shop has 1,001 different values; expected at most 1,000" in message


@pytest.mark.parametrize("value", ["a\nb", "\x1b[31m", "\u202eabc", "x" * 201])
def test_a_value_that_cannot_be_shown_is_refused(value):
    message = refusal(pa.table({"shop": ["north", value]}), shop=1)
    assert "the column shop has the value" in message
    assert message.isprintable()
