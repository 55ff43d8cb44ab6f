"""The weights of the classes in a configuration: what is taken, and what is refused."""

import json
import unicodedata

import pytest

from pipeline import class_weights, config_file
from pipeline.config import load_config
from pipeline.errors import ConfigurationError

CLASSES = ("T-shirt/top", "Coat", "Shirt")


def loaded(value):
    return load_config("default", [f"training.class_weights={value}"]).training.class_weights


@pytest.mark.parametrize("value", ["none", "balanced", '{"Shirt": 2.5, "T-shirt/top": 3}'])
def test_words_and_weights_of_classes_are_taken(value):
    class_weights.check(loaded(value), CLASSES)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_classes_are_compared_in_one_unicode_form(form):
    """macOS decomposes the names of folders, and a keyboard writes them composed."""
    name = unicodedata.normalize(form, "Käse")
    weights = loaded(json.dumps({name: 2}))
    class_weights.check(weights, ["Käse", "Shirt"])
    assert weights == {"Käse": 2}


@pytest.mark.parametrize(
    "value",
    [
        "even",
        "2",
        "true",
        "[1, 2]",
        "{}",
        '{"Shirt": 0}',
        '{"Shirt": -1}',
        '{"Shirt": true}',
        '{"Shirt": "2"}',
        '{"Shirt": NaN}',
        '{"Shirt": Infinity}',
        '{"Shirt": null}',
    ],
)
def test_anything_else_is_refused_with_what_is_expected(value):
    with pytest.raises(ConfigurationError) as caught:
        loaded(value)
    message = str(caught.value)
    assert message.startswith("training.class_weights")
    assert "expected" in message
    assert "\n" not in message


def test_a_weight_for_an_unknown_class_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError) as caught:
        class_weights.check(loaded('{"shirt": 2}'), CLASSES)
    assert str(caught.value) == (
        "training.class_weights: found a weight for 'shirt', which is no class of the schema (the "
        "nearest is 'Shirt'); expected names of its classes: T-shirt/top, Coat, Shirt. Correct the "
        "name, or take it out."
    )


def test_a_table_of_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "pipeline.toml"
    path.write_text('[training.class_weights]\nShirt = 2.0\n"T-shirt/top" = 3\n')
    own = config_file.combine(path).config().training.class_weights
    assert own == {"Shirt": 2.0, "T-shirt/top": 3.0}
    given = [f"training.class_weights={json.dumps({'Coat': 5})}"]
    other = config_file.combine(path, assignments=given).config().training.class_weights
    assert other == {"Coat": 5.0}
