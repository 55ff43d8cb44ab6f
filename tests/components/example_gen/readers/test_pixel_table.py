"""Pixel tables: CSV with a label column and one column for each pixel."""

import numpy as np
import pytest

from components.example_gen.readers import base, pixel_table
from tests.components.example_gen.readers import made

PIXELS = 16


def lines(count=3, pixels=PIXELS, label="label", value=None):
    """The rows of a table; `value` stands at the third pixel of row 3."""
    numbers = (np.arange(count * pixels) % 256).reshape(count, pixels).astype(str).tolist()
    if value is not None:
        numbers[1][2] = value
    header = [label, *(f"pixel{number}" for number in range(pixels))]
    rows = [[str(row % 2), *values] for row, values in enumerate(numbers)]
    return [",".join(row) for row in (header, *rows)]


def found(data, **arguments):
    read = made.read(data, **arguments)
    assert read.reader.form == base.Form.PIXEL_TABLE
    return read


@pytest.mark.parametrize(
    ("pixels", "shape"),
    [(16, (4, 4, 1)), (784, (28, 28, 1)), (48, (4, 4, 3)), (17, None), (3 * 17, None)],
)
def test_the_shape_of_square_images_is_guessed(pixels, shape):
    assert pixel_table.guess_shape(pixels) == shape


def test_images_have_the_guessed_shape_or_that_of_the_schema(data):
    made.text(data, "mnist.csv", *lines())
    assert found(data).items[0].shape == (4, 4, 1)
    read = found(data, shape=(2, 8, 1))
    assert read.items[1].tolist() == np.arange(16, 32).reshape(2, 8, 1).tolist()


def test_tables_of_splits_are_found_beside_what_kaggle_adds(data):
    made.text(data, "sign_mnist_test.csv", *lines(2))
    made.text(data, "sign_mnist_train.csv", *lines(4))
    made.text(data, "unlabelled.csv", *(line.partition(",")[2] for line in lines()))
    made.text(data, "sample_submission.csv", "ImageId,Label", "1,0")
    read = found(data)
    assert read.index.ids[:1] + read.index.ids[-1:] == ["train-00000000", "test-00000001"]
    assert read.index.splits.tolist() == [0] * 4 + [2] * 2
    assert read.reader.ignored[0] == "sample_submission.csv: not part of the data"
    assert read.reader.ignored[1].startswith("unlabelled.csv: columns of pixels, but no label")


@pytest.mark.parametrize("name", ["mnist_test.csv", "val.csv"])
def test_a_table_alone_is_all_of_the_data_whatever_it_is_called(data, name):
    made.text(data, name, *lines())
    read = found(data)
    assert read.index.splits.tolist() == [base.UNDECIDED] * 3
    assert read.index.ids[0] == "data-00000000" and read.reader.splits == frozenset()
    assert len(read.items) == 3
    # Another span may have the table for training.
    assert found(data, is_span=True).index.splits.tolist() != [base.UNDECIDED] * 3


def test_tables_may_lie_in_folders_of_their_own(data):
    made.text(data, "sign_mnist_train/sign_mnist_train.csv", *lines())
    made.text(data, "sign_mnist_test/sign_mnist_test.csv", *lines())
    assert found(data).index.splits.tolist() == [0] * 3 + [2] * 3


def test_an_id_column_is_no_pixel(data):
    rows = [f"{'id' if row == 0 else row},{line}" for row, line in enumerate(lines())]
    made.text(data, "x.csv", *rows)
    read = found(data)
    assert list(read.index.ids) == ["data-00000000", "data-00000001", "data-00000002"]
    assert read.reader.ignored == ("column id of x.csv: rows have their number as id",)


@pytest.mark.parametrize("is_first", [True, False])
def test_rows_between_two_stray_quotation_marks_are_not_lost(data, refusal, is_first):
    """They would be part of an id, which is not read."""
    pairs = list(zip(["id", '"x', "2", '"y', "4", "5"], lines(5), strict=True))
    rows = [f"{name},{line}" if is_first else f"{line},{name}" for name, line in pairs]
    made.text(data, "x.csv", *rows)
    assert "x.csv: a line break in id in row 2; expected a single line" in refusal()


def test_the_label_column_is_what_it_is_set_to(data):
    made.text(data, "x.csv", *lines(label="digit"))
    assert found(data, label_column="digit").labels == ["0", "1", "0"]


@pytest.mark.parametrize("value", ["256", "-1", "1.0", "", "x", "nan", "1e1", "9" * 20])
def test_a_value_that_is_no_pixel_is_refused_with_its_row(data, refusal, value):
    made.text(data, "x.csv", *lines(value=value))
    message = refusal()
    assert "Row #3" in message
    assert f"invalid value '{value}'" in message
    assert "expected whole numbers from 0 to 255" in message


def test_values_are_checked_when_the_table_is_hashed(data):
    made.text(data, "x.csv", *lines(value="256"))
    reader = made.opened(data)
    with pytest.raises(base.ReadingError, match="256"):
        reader.hash_source("x.csv")


REFUSED = {
    "a value short": ([*lines(), "1,2"], "Row #5: Expected 17 columns, got 2"),
    "no rows": (lines(0), "tables of pixels without rows (x.csv)"),
    "no label": (lines(label="digit"), "columns of pixels, but no label column (one of label, "),
    "an empty label": (
        [*lines(), "," + ",".join(["1"] * PIXELS)],
        "x.csv: no label in row 5; expected a label in each row",
    ),
    "a line break in a label": (
        [*lines(), '"a', 'b",' + ",".join(["1"] * PIXELS)],
        "x.csv: a line break in a label in row 5; expected a single line",
    ),
    "a space before a quotation mark": (
        [*lines(), ' "a",' + ",".join(["1"] * PIXELS)],
        "x.csv: a space before the quotation mark that opens label in row 5; expected none",
    ),
    "no header": (lines()[1:], "the first row holds numbers alone; expected the names"),
    "no header, no order": (lines()[1:], "with red, green and blue of a pixel together"),
    "no square": (lines(pixels=17), "17 columns of pixels; expected a square image's"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unsound_tables_are_refused(data, refusal, case):
    rows, told = REFUSED[case]
    made.text(data, "x.csv", *rows)
    assert told in refusal()


def test_images_of_another_size_than_the_schema_says_are_refused(data, refusal):
    made.text(data, "x.csv", *lines())
    assert "x.csv: 16 columns of pixels; expected 28x28x1=784" in refusal(shape=(28, 28, 1))


@pytest.mark.parametrize("names", [("a.csv", "b.csv"), ("a.csv", "test.csv")])
def test_several_tables_that_are_not_one_for_each_split_are_refused(data, refusal, names):
    for name in names:
        made.text(data, name, *lines())
    assert f"several tables of pixels ({', '.join(names)})" in refusal()


def test_tables_of_different_sizes_are_refused(data, refusal):
    made.text(data, "train.csv", *lines())
    made.text(data, "test.csv", *lines(pixels=36))
    assert "test.csv: 36 columns of pixels; expected 4x4x1=16" in refusal()


def test_a_table_larger_than_a_block_is_read_whole(data):
    rows = lines(2, pixels=3 * 64 * 64)
    made.text(data, "x.csv", rows[0], *(rows[1:] * 200))
    read = found(data)
    assert len(read.items) == 400
    assert read.items[398].tobytes() == read.items[0].tobytes()


@pytest.mark.parametrize("value", ["0.5", "256", "-1"])
def test_other_numbers_beside_class_folders_are_ignored(data, refusal, value):
    rows = lines()
    made.text(data, "features.csv", rows[0], rows[1].replace(",2,", f",{value},"), *rows[2:])
    assert f"numbers in row 2 that are no pixels ({value}); expected whole numbers" in refusal()
    made.write(data, "a/1.png", "b/1.png")
    read = made.read(data)
    assert read.reader.form == base.Form.CLASS_FOLDERS
    assert read.reader.ignored[0].startswith("features.csv: numbers in row 2 that are no pixels")


WORDS = {
    "a blank": (lambda cells: [*cells[:3], "", *cells[4:]], "pixel2"),
    "blanks": (lambda cells: [*cells[:3], "", " ", *cells[5:]], "pixel2, pixel3"),
    "a further column": (lambda cells: [*cells, "name"], "name"),
}


@pytest.mark.parametrize(("pixels", "shape"), [(16, None), (16, (28, 28, 1)), (18, (2, 9, 1))])
@pytest.mark.parametrize("case", WORDS)
def test_columns_without_a_number_are_told_by_name(data, refusal, case, pixels, shape):
    change, names = WORDS[case]
    header, *rows = [line.split(",") for line in lines(pixels=pixels)]
    header = change(header) if case == "a further column" else header
    made.text(data, "x.csv", *map(",".join, [header, *map(change, rows)]))
    told = f"x.csv: columns of pixels, but no number in row 2 of {names}; expected whole numbers"
    assert told in refusal(shape=shape)


@pytest.mark.parametrize("count", [16, 17])
def test_a_table_of_words_is_not_taken_for_pixels(data, refusal, count):
    """As one that says of each of 17 things whether an image shows it, or one of many words."""
    cells = ["a"] * 9 + ["1"] * 7 if count == 16 else ["a", *"1" * 17]
    made.text(data, "x.csv", ",".join(f"thing{n}" for n in range(len(cells))), ",".join(cells))
    assert "1 file of no known form" in refusal()


def test_a_table_of_another_size_beside_class_folders_is_ignored(data):
    made.text(data, "features.csv", *lines())
    made.write(data, "a/1.png", "b/1.png")
    assert made.read(data, shape=(28, 28, 1)).reader.form == base.Form.CLASS_FOLDERS


def named(names):
    """A table whose columns of pixels have these names."""
    return [",".join(["label", *names]), *lines(pixels=len(names))[1:]]


NUMBERS = range(PIXELS)
GRID = [f"{row}x{column}" for row in range(1, 5) for column in range(1, 5)]
COLOUR = [f"p_{row}_{column}_{band}" for row in range(4) for column in range(4) for band in "012"]


@pytest.mark.parametrize(
    "names",
    [
        [f"pixel{number}" for number in NUMBERS],
        [f"pixel{number + 1:03}" for number in NUMBERS],
        [f" mnist28_{number}.0 " for number in NUMBERS],
        [str(number) for number in range(17)][1:],
        GRID,
        COLOUR,
        list("abcdefghijklmnop"),
    ],
)
def test_names_in_the_order_of_the_values_are_taken(data, names):
    made.text(data, "train.csv", *named(names))
    made.text(data, "test.csv", *named(names))
    assert len(found(data).items) == 6


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([f"pixel{number}" for number in NUMBERS][::-1], id="reversed"),
        pytest.param([f"pixel{number}" for number in (1, 0, *NUMBERS[2:])], id="two swapped"),
        pytest.param(sorted(f"pixel{number}" for number in NUMBERS), id="sorted as text"),
        pytest.param([f"pixel{2 * number}" for number in NUMBERS], id="gaps"),
        pytest.param([f"pixel{number + 5}" for number in NUMBERS], id="a later beginning"),
        pytest.param(sorted(GRID, key=lambda name: name[::-1]), id="column by column"),
        pytest.param([f"{name}0" for name in "abcdefghijklmnop"], id="many words"),
        pytest.param(["pixel", *(f"pixel.{number + 1}" for number in NUMBERS[:-1])], id="mangled"),
        pytest.param(sorted(COLOUR, key=lambda name: name[-1]), id="channel by channel"),
        pytest.param([f"{row}x{column}" for row in (0, 1) for column in range(8)], id="2x8"),
        pytest.param(["9" * 5000 + name for name in GRID], id="endless numbers"),
    ],
)
def test_names_in_another_order_are_refused(data, refusal, names):
    """The images would be silently wrong."""
    made.text(data, "train.csv", *named(names))
    message = refusal("train.csv")
    assert "columns of pixels" in message
    if names[0] == "0x0":
        assert found(data, shape=(2, 8, 1)).items[0].shape == (2, 8, 1)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (NUMBERS, NUMBERS[::-1], "pixel15 as column 1, whose numbers do not count up"),
        (NUMBERS, range(1, 17), "column 1 of pixels is pixel1, and in train.csv it is pixel0"),
    ],
)
def test_tables_with_other_columns_are_refused(data, refusal, first, second, told):
    made.text(data, "train.csv", *named([f"pixel{number}" for number in first]))
    made.text(data, "test.csv", *named([f"pixel{number}" for number in second]))
    assert told in refusal()


def test_tables_with_other_words_are_refused(data, refusal):
    made.text(data, "train.csv", *named("abcdefghijklmnop"))
    made.text(data, "test.csv", *named("bacdefghijklmnop"))
    assert "test.csv: column 1 of pixels is b, and in train.csv it is a" in refusal()
