"""A schema gives image size and class names, or is refused with the reason."""

import dataclasses
import re
import unicodedata
from pathlib import Path

import pytest

from components import image_schema

PROJECT = Path(__file__).resolve().parents[2]
CURATED = (PROJECT / "schema" / "schema.pbtxt").read_text(encoding="utf-8")


def parse(text):
    return image_schema.parse_schema(text, "a.pbtxt")


def replaced(pattern, replacement, count=0):
    changed, found = re.subn(pattern, replacement, CURATED, count=count)
    assert found
    return changed


def test_the_curated_schema_describes_fashion_mnist():
    schema = parse(CURATED)
    assert schema.shape == (28, 28, 1)
    assert schema.bytes_per_image == 784
    assert len(schema.class_names) == 10
    assert schema.class_names[0] == "T-shirt/top"
    assert schema.class_names[9] == "Ankle boot"


def test_a_byte_order_mark_does_not_matter():
    assert parse(f"\ufeff{CURATED}") == parse(CURATED)


def test_names_of_classes_have_one_unicode_form():
    decomposed = CURATED.replace("Bag", unicodedata.normalize("NFD", "Käse"))
    assert "Käse" in parse(decomposed).class_names
    both = decomposed.replace("Coat", "Käse")
    with pytest.raises(image_schema.SchemaError, match="a distinct name for each label"):
        parse(both)


def test_the_shape_comes_from_the_schema():
    text = replaced('"height" size: 28', '"height" size: 32')
    text = text.replace('"width" size: 28', '"width" size: 24')
    schema = parse(text.replace('"channels" size: 1', '"channels" size: 3'))
    assert schema.shape == (32, 24, 3)
    assert schema.bytes_per_image == 32 * 24 * 3


def test_the_classes_come_from_the_schema():
    text = replaced('value: "Ankle boot"', 'value: "Ankle boot"\n  value: "Hat"')
    assert parse(text.replace("max: 9", "max: 10")).class_names[-1] == "Hat"


def test_a_schema_artifact_is_read_by_its_folder(tmp_path):
    (tmp_path / "schema.pbtxt").write_text(CURATED, encoding="utf-8")
    assert image_schema.read_artifact(str(tmp_path)) == parse(CURATED)


def test_nothing_changes_a_schema():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse(CURATED).height = 3


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        pytest.param('"height" size: 28', '"height" size: 0', id="no height"),
        pytest.param('"width" size: 28', '"width" size: -1', id="unknown width"),
        pytest.param('"channels" size: 1', '"channels" size: 2', id="two channels"),
        pytest.param(r'dim \{ name: "channels" size: 1 \}', "", id="no channels"),
        pytest.param('key: "decoded"', 'key: "other"', id="no decoded group"),
        pytest.param(r"(?s)tensor_representation_group \{.*", "", id="no group at all"),
    ],
)
def test_a_schema_without_a_shape_is_refused(pattern, replacement):
    told = r"^a\.pbtxt gives the decoded image .*expected three dimensions.*schema/README\.md"
    with pytest.raises(image_schema.SchemaError, match=told):
        parse(replaced(pattern, replacement))


def test_a_size_that_no_image_may_have_is_refused():
    largest = replaced('"height" size: 28', '"height" size: 8192')
    largest = largest.replace('"width" size: 28', '"width" size: 8192')
    assert parse(largest).shape == (8192, 8192, 1)
    with pytest.raises(image_schema.SchemaError, match="8,192 x 8,193 pixels; expected at most"):
        parse(largest.replace('"width" size: 8192', '"width" size: 8193'))


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        pytest.param('  value: "Bag"\n', "", "9 classes", id="a name too few"),
        pytest.param('value: "Bag"', 'value: "Bag" value: "Hat"', "11 classes", id="one too many"),
        pytest.param('value: "Bag"', 'value: "Coat"', "10 classes", id="the same name twice"),
        pytest.param("max: 9", "max: 8", "has 9 labels", id="a smaller domain"),
        pytest.param("min: 0", "min: 1", "has 0 labels", id="labels from 1"),
        pytest.param(r"int_domain \{.*\}", "", "has 1 labels", id="no domain"),
        pytest.param('name: "label"\n  type', 'name: "tag"\n  type', "has 0 labels", id="no label"),
        pytest.param('name: "label"\n  value', 'name: "tag"\n  value', "0 classes", id="no names"),
    ],
)
def test_a_schema_whose_classes_do_not_fit_is_refused(pattern, replacement, words):
    told = rf"^a\.pbtxt names .*{words}.*a distinct name for each label"
    with pytest.raises(image_schema.SchemaError, match=told):
        parse(replaced(pattern, replacement))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (r"\033[2J", r"\x1b[2J"),
        (r"a\nb", r"a\nb"),
        (r"\302\233m", r"\x9bm"),
        (r"\342\200\256gab", r"\u202egab"),
        (r"\342\200\250", r"\u2028"),
    ],
)
def test_names_that_could_command_a_terminal_are_refused(name, told):
    with pytest.raises(image_schema.SchemaError) as caught:
        parse(CURATED.replace('value: "Bag"', f'value: "{name}"'))
    assert str(caught.value) == (
        f"a.pbtxt names class 8 '{told}', with control characters; expected text in one line that "
        "is safe to show. Rename the class."
    )


@pytest.mark.parametrize("name", ["Café", "ملابس", "パンツ", "Ankle boot/bag", "می‌خواهم"])
def test_names_of_any_language_are_read(name):
    assert parse(CURATED.replace('value: "Bag"', f'value: "{name}"')).class_names[8] == name


def test_a_single_class_is_refused():
    text = replaced(r'(  value: "(?!Bag)[^"]*"\n)', "").replace("max: 9", "max: 0")
    with pytest.raises(image_schema.SchemaError, match="names 1 classes"):
        parse(text)


@pytest.mark.parametrize("text", ["feature {", "no such field: 3", "{}", "\0"])
def test_a_text_that_is_no_schema_is_refused(text):
    with pytest.raises(image_schema.SchemaError, match=r"a\.pbtxt is not a schema in text form"):
        parse(text)


def test_an_empty_file_is_refused():
    with pytest.raises(image_schema.SchemaError, match="no shape"):
        parse("")
