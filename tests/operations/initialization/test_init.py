"""`init`: what it finds, suggests and writes, and what it refuses without a trace."""

import gzip
import io
import itertools
import json
import math
import os
import re
import shutil
import tomllib
import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from google.protobuf import text_format
from PIL import Image
from pyarrow import parquet
from tensorflow_metadata.proto.v0 import schema_pb2

from components import features
from components.example_gen import split
from components.image_schema import parse_schema
from operations.digest import digest
from operations.initialization.command import initialize, pipeline_name
from pipeline import config_file
from pipeline.config import Config, load_config
from pipeline.errors import UsageError
from pipeline.installation import packages

FILES = {"schema.pbtxt", "pipeline.toml", "README.md"}


def picture(height=40, width=40, colours=True, border=128, seed=0):
    """A PNG with noise inside a border of one brightness."""
    random = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), border, np.uint8)
    inside = random.integers(0, 256, (height - 8, width - 8, 3))
    pixels[4:-4, 4:-4] = inside if colours else inside[..., :1]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def photos(tmp_path):
    """Writes class folders: the number of images of each class, and how they look."""

    def make(counts, folder="photos", **look):
        for name, count in counts.items():
            place = tmp_path / folder / name
            place.mkdir(parents=True)
            for number in range(count):
                (place / f"{number}.png").write_bytes(picture(seed=number, **look))
        return tmp_path / folder

    return make


@pytest.fixture
def init(tmp_path, monkeypatch):
    """Runs `init` in an empty folder."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)

    def run(data, name="flowers", size=None, channels=None, assignments=(), notify=str):
        return initialize(name, str(data), size, channels, assignments, notify)

    return run


@pytest.fixture
def refusal(init, tmp_path):
    """Runs `init`, which is to refuse and to write nothing; returns what it says."""

    def of(*arguments, **options):
        with pytest.raises(UsageError) as caught:
            init(*arguments, **options)
        message = str(caught.value)
        assert "\n" not in message and "expected" in message, message
        assert list((tmp_path / "work").iterdir()) == []
        return message

    return of


def settings(name="flowers"):
    """The values of the configuration file that was written."""
    return tomllib.loads(Path(name, "pipeline.toml").read_text(encoding="utf-8"))


def test_what_it_writes_is_a_sound_configuration(init, photos, tmp_path):
    data = photos({"rose": 30, "tulip": 20})
    made = init(data)
    folder = tmp_path / "work" / "flowers"
    assert {path.name for path in folder.iterdir()} == FILES
    read = config_file.combine(folder / "pipeline.toml")
    assert read.data == str(data)
    loaded = read.config()
    assert loaded.name == made.pipeline == "flowers"
    assert loaded.schema_file == str(folder / "schema.pbtxt")
    schema = parse_schema((folder / "schema.pbtxt").read_text(), "it")
    assert schema.class_names == ("rose", "tulip")
    assert schema.shape == made.suggestion.shape == (40, 40, 3)
    assert "rose" in (folder / "README.md").read_text()


def test_the_schema_has_the_parts_of_that_of_the_project(init, photos):
    def parts(path):
        schema = schema_pb2.Schema()
        text_format.Parse(path.read_text(), schema)
        for feature in schema.feature:
            feature.int_domain.max = 0
            feature.drift_comparator.infinity_norm.threshold = 0
        del schema.string_domain[0].value[:]
        tensor = schema.tensor_representation_group["decoded"].tensor_representation["image"]
        for dimension in tensor.dense_tensor.shape.dim:
            dimension.size = 0
        return schema

    made = init(photos({"a": 3, "b": 3}))
    own = packages.PROJECT / "schema" / "schema.pbtxt"
    assert parts(made.folder / "schema.pbtxt") == parts(own)


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["10", "9", "1"], ["1", "9", "10"]),
        (["class 10", "class 2", "Class 3"], ["class 2", "Class 3", "class 10"]),
        (["b", "A", "c"], ["A", "b", "c"]),
        (["10", "x"], ["10", "x"]),
    ],
)
def test_classes_are_in_the_order_that_people_expect(init, photos, names, order):
    assert list(init(photos(dict.fromkeys(names, 2))).look.class_names) == order


def test_any_name_of_a_class_can_be_written(init, photos, tmp_path):
    names = ['a"b', "back\\slash", "ü", "\U0001f339", "{}$last|#"]
    init(photos(dict.fromkeys(names, 2)))
    text = (tmp_path / "work" / "flowers" / "schema.pbtxt").read_text()
    assert set(parse_schema(text, "it").class_names) == set(names)
    assert config_file.combine(tmp_path / "work" / "flowers" / "pipeline.toml").data


@pytest.mark.parametrize(
    ("look", "shape"),
    [
        ({"height": 40, "width": 64}, (40, 64, 3)),
        ({"height": 28, "width": 28, "colours": False}, (28, 28, 1)),
        ({"height": 128, "width": 128}, (128, 128, 3)),
        ({"height": 150, "width": 300}, (128, 128, 3)),
        ({"height": 300, "width": 70}, (64, 64, 3)),
        ({"height": 12, "width": 200}, (28, 28, 3)),
    ],
)
def test_size_and_channels_are_those_of_the_images_or_near(init, photos, look, shape):
    assert init(photos({"a": 3, "b": 3}, **look)).suggestion.shape == shape


def test_images_of_mixed_sizes_become_squares_of_the_median_side(init, photos):
    photos({"a": 5}, height=100, width=90)
    data = photos({"b": 4}, height=400, width=500)
    made = init(data)
    assert made.suggestion.shape == (64, 64, 3)
    assert "90 pixels (5th percentile 90, 95th 400)" in made.suggestion.size_reason


def test_size_and_channels_can_be_asked_for(init, photos):
    assert init(photos({"a": 3, "b": 3}), size="24x48", channels=1).suggestion.shape == (24, 48, 1)


@pytest.mark.parametrize(
    ("border", "background"), [(0, 0), (255, 255), (200, 255), (128, 0), (60, 0)]
)
def test_a_bright_border_asks_for_a_bright_background(init, photos, border, background):
    init(photos({"a": 3, "b": 3}, colours=False, border=border))
    assert settings()["images"]["background"] == background


def icon(brightness):
    """A PNG with a square of one brightness before a transparent ground."""
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[10:30, 10:30] = (brightness, brightness, brightness, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("icons", "photographs", "background", "border"),
    [
        ([0], 0, 255, "bright"),
        ([255], 0, 0, "dark"),
        # On either, half of them would vanish.
        ([0, 255], 0, 128, "mixed"),
        ([0], 20, 255, "mixed"),
        # One in a hundred decides nothing.
        ([0], 800, 0, "mixed"),
    ],
)
def test_what_is_transparent_gets_a_ground_that_the_images_stand_out_from(
    init, photos, icons, photographs, background, border
):
    data = photos({"a": photographs // 2, "b": photographs // 2})
    for number in range(8):
        for name in ("a", "b"):
            (data / name / f"icon{number}.png").write_bytes(icon(icons[number % len(icons)]))
    made = init(data)
    assert settings()["images"]["background"] == background
    assert made.look.sample.border == border


def test_a_few_transparent_pixels_decide_nothing(init, photos):
    data = photos({"a": 3, "b": 3}, border=255)
    for path in data.glob("*/*.png"):
        image = Image.open(path).convert("RGBA")
        image.putpixel((20, 20), (0, 0, 0, 0))
        image.save(path)
    assert len(init(data).look.sample.contrasts) == 6
    assert settings()["images"]["background"] == 255


def test_further_columns_that_cannot_be_counted_are_passed_over(init, photos, tmp_path):
    folder = photos({"a": 10, "b": 10})
    names = [f"{label}/{number}.png" for label in "ab" for number in range(10)]
    floats = np.arange(20, dtype=np.float16)
    columns = {
        "path": names,
        "label": [name[0] for name in names],
        "shop": ["north", "south"] * 10,
        "half": pyarrow.array(floats),
        "place": pyarrow.FixedShapeTensorArray.from_numpy_ndarray(floats.reshape(20, 1, 1)),
        "key": pyarrow.array([bytes(16)] * 20, pyarrow.uuid()),
        "list": [[1]] * 20,
    }
    parquet.write_table(pyarrow.table(columns), folder / "list.parquet")
    made = init(folder)
    assert made.look.columns == {"shop": 2}
    assert digest(config_file.combine(made.folder / "pipeline.toml"), print).form == "manifest"


def test_reading_a_large_file_is_told(init, tmp_path, monkeypatch):
    monkeypatch.setattr("operations.initialization.opened._LARGE_MEGABYTES", 0)
    write_arrays(tmp_path)
    lines = []
    init(tmp_path / "all.npz", notify=lines.append)
    assert lines == ["reading all.npz (0 MB) to its end ..."]


def test_a_split_of_the_data_is_taken(init, photos, tmp_path):
    photos({"a": 8, "b": 8}, folder="photos/train")
    data = tmp_path / "photos"
    photos({"a": 2, "b": 6}, folder="photos/test")
    made = init(data)
    assert made.look.has_test and not made.look.has_validation
    assert made.look.counts["test"] == (2, 6)
    assert "test_share" not in settings()["split"]
    # The majority class of the test images, not of all.
    assert settings()["gates"]["accuracy"] == 0.763


def test_without_one_a_share_is_drawn(init, photos):
    made = init(photos({"a": 20, "b": 20}))
    assert not made.look.has_test
    assert settings()["split"]["test_share"] == 0.15
    assert settings()["split"]["validation"] == 0.2
    # Of about six test images, anything may be right by chance.
    assert settings()["gates"]["accuracy"] == 0.75


def test_a_share_is_drawn_that_gives_each_class_a_test_image(init, photos):
    init(photos({"a": 40, "b": 8}))
    assert settings()["split"]["test_share"] > 0.15
    found = digest(config_file.combine(Path("flowers") / "pipeline.toml"), str)
    assert all(each.test and each.train for each in found.classes)


def distinct(folder):
    """The folder, with no two images alike: equal ones stay in one split."""
    for seed, path in enumerate(sorted(folder.rglob("*.png"))):
        path.write_bytes(picture(12, 12, seed=seed))
    return folder


@pytest.mark.parametrize("rare", [4, 5, 6, 7, 9, 12])
@pytest.mark.parametrize("seed", [1, 5])
def test_the_shares_that_are_written_give_each_class_images_in_all_splits(init, photos, rare, seed):
    made = init(distinct(photos({"a": 40, "b": rare})), assignments=[f"seed={seed}"])
    found = digest(config_file.combine(made.folder / "pipeline.toml"), str)
    is_whole = all(each.train and each.val and each.test for each in found.classes)
    warned = "whatever share is drawn" in " ".join(made.suggestion.warnings)
    assert is_whole != warned
    assert is_whole or rare < 6


def test_shares_that_are_set_stay_and_are_looked_at(init, photos):
    made = init(distinct(photos({"a": 40, "b": 8})), assignments=["split.validation=0.01"])
    assert settings()["split"]["validation"] == 0.01
    warnings = " ".join(made.suggestion.warnings)
    assert "in train, val or test, with split.validation=0.01. The smallest is b" in warnings
    made = init(photos({"c": 40, "d": 8}, "more"), "more", assignments=["split.test_share=0.001"])
    warnings = " ".join(made.suggestion.warnings)
    assert "with split.test_share=0.001. The" in warnings and "set another share" in warnings


def test_a_validation_split_beside_given_test_images_has_images_of_each_class(init, photos):
    photos({"a": 30, "b": 5}, folder="photos/train")
    init(distinct(photos({"a": 5, "b": 5}, folder="photos/test").parent))
    found = digest(config_file.combine(Path("flowers") / "pipeline.toml"), str)
    assert all(each.train and each.val for each in found.classes)


def test_groups_are_kept_while_shares_are_looked_for(init, photos):
    group = r"split.group=^\w+/\d"
    data = distinct(photos({"a": 60, "b": 60}))
    made = init(data, assignments=[group, "split.validation=0.4"])
    assert settings()["split"]["test_share"] > 0.15
    found = digest(config_file.combine(made.folder / "pipeline.toml"), str)
    assert all(each.train and each.val and each.test for each in found.classes)


@pytest.mark.parametrize("given", ["", "val"])
def test_the_share_of_groups_to_validate_on_is_chosen(init, photos, given):
    group = r"split.group=^[^/]+/[^/]+/\d+" if given else r"split.group=^\w+/\d"
    data = photos({"a": 60, "b": 60}, folder=f"photos/{'train' if given else ''}")
    if given:
        data = photos({"a": 20, "b": 20}, folder="photos/val").parent
    made = init(distinct(data), assignments=[group])
    assert 0 < settings()["split"]["validation"] < 1
    assert not [each for each in made.suggestion.warnings if "drawn splits" in each]
    found = digest(config_file.combine(made.folder / "pipeline.toml"), str)
    assert all(each.train and each.val and each.test for each in found.classes)


def test_many_images_in_groups_are_validated_on_by_a_share(init, tmp_path):
    np.savez(
        tmp_path / "all.npz", images=np.zeros((8000, 2, 2), np.uint8), labels=np.arange(8000) % 2
    )
    made = init(tmp_path / "all.npz", assignments=[r"split.group=\d{6}"])
    assert settings()["split"]["validation"] == 0.1
    file = made.folder / "pipeline.toml"
    assert config_file.combine(file).config().split.group == r"\d{6}"
    assert "beside split.group, no number of each class" in file.read_text()


def test_a_number_to_validate_on_tears_groups_apart(refusal, photos):
    assignments = ["split.group=x", "split.validation=5"]
    assert "found 5; expected a share" in refusal(photos({"a": 6}), assignments=assignments)


def test_what_no_share_divides_is_told(init, photos):
    made = init(photos({"a": 40, "b": 2}))
    assert settings()["split"]["test_share"] == 0.15
    assert "without images in train, val or test, whatever share is drawn. The smallest is b" in (
        " ".join(made.suggestion.warnings)
    )


def test_further_columns_are_offered_as_slices(init, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    rows = ["path,label,shop,number"]
    for number in range(60):
        (folder / f"{number}.png").write_bytes(picture(seed=number))
        rows.append(f"{number}.png,{'ab'[number % 2]},shop {number % 3},{number}")
    (folder / "labels.csv").write_text("\n".join(rows))
    assert init(folder).look.columns == {"shop": 3, "number": 60}
    text = (Path("flowers") / "pipeline.toml").read_text()
    assert "# Further columns of the data: shop (3 values). Each value" in text
    for line in ("[gates.slices", "accuracy = 0.8", "min_images = "):
        text = text.replace(f"# {line}", line)
    # About nine test images in three shops.
    assert tomllib.loads(text)["gates"]["slices"] == {"shop": {"accuracy": 0.8, "min_images": 1}}


@pytest.mark.parametrize(
    ("per_class", "batch", "epochs", "momentum"),
    [
        # An average over more steps than there are would hold what the network knew at first.
        (2, 16, 60, 0.0),
        (80, 16, 60, 0.96),
        (500, 16, 21, 0.98),
        (6000, 250, 28, 0.98),
    ],
)
def test_little_data_is_trained_on_in_small_batches_and_long(
    init, tmp_path, per_class, batch, epochs, momentum
):
    pixels = np.zeros((2 * per_class, 8, 8), np.uint8)
    np.savez(tmp_path / "all.npz", images=pixels, labels=np.arange(2 * per_class) % 2)
    init(tmp_path / "all.npz")
    training = settings()["training"]
    assert training.get("batch_size", 250) == batch
    assert training.get("learning_rate", 0.006) == {16: 0.003, 250: 0.006}[batch]
    assert training["epochs"] == epochs
    assert training["ema_momentum"] == momentum
    assert training["plateau_patience"] < training["early_stopping_patience"] < epochs


def test_much_data_is_trained_on_as_by_default(init, tmp_path):
    pixels = np.zeros((40_000, 5, 5), np.uint8)
    np.savez(tmp_path / "all.npz", images=pixels, labels=np.arange(40_000) % 4)
    init(tmp_path / "all.npz")
    assert settings()["training"] == {"augmentation": {"flip": True, "fill": "background"}}


@pytest.mark.parametrize(
    ("size", "stages"),
    [
        *(("28x28", 3), ("40x40", 3), ("41x41", 4), ("64x64", 4), ("80x80", 4)),
        *(("81x81", 5), ("160x160", 5), ("20x80", 3), ("80x81", 5), ("1x1024", 3)),
    ],
)
def test_larger_images_get_more_stages(init, photos, size, stages):
    suggestion = init(photos({"a": 3, "b": 3}), size=size).suggestion
    default = Config.model_fields["training"].default.widths
    written = settings()["training"].get("widths")
    assert (written is None) == (stages == len(default))
    configured = config_file.combine(Path("flowers/pipeline.toml")).config().training.widths
    assert len(configured) == stages
    assert configured == default or configured[0] < default[0]
    # A network may end at any size; those of the rule end at a few pixels.
    height, width = map(int, size.split("x"))
    if min(height, width) >= 28:
        assert 3 <= math.ceil(height / 2**stages) <= 5
    text = " ".join(Path("flowers/pipeline.toml").read_text(encoding="utf-8").split())
    assert ("Filters of each stage." in text) == (stages != len(default))
    assert suggestion.training_seconds > 0


def test_widths_can_be_set_at_once(init, photos):
    init(photos({"a": 3, "b": 3}), size="96x96", assignments=["training.widths=[8,16]"])
    assert settings()["training"]["widths"] == [8, 16]


UNIFORM = {"flip": True, "fill": "background"}
PHOTOGRAPH = {
    "flip": True,
    "fill": "reflect",
    "crop": 0.2,
    "brightness": 0.1,
    "contrast": 0.2,
    "colour": 0.3,
}


@pytest.mark.parametrize(
    ("look", "background", "augmentation"),
    [
        ({"border": 128}, 0, PHOTOGRAPH),
        ({"border": 0}, 0, UNIFORM),
        ({"border": 255}, 255, UNIFORM),
        ({"border": 0, "colours": False}, 0, UNIFORM),
        ({"border": 255, "colours": False}, 255, UNIFORM),
        ({"border": 128, "colours": False}, 0, {"flip": True, "fill": "edge"}),
    ],
)
def test_augmentation_fits_the_images(init, photos, look, background, augmentation):
    init(photos({"a": 30, "b": 30}, **look))
    assert settings()["images"]["background"] == background
    assert settings()["training"]["augmentation"] == augmentation
    configured = config_file.combine(Path("flowers/pipeline.toml")).config().training.augmentation
    assert configured.model_dump(include=set(augmentation)) == augmentation


def test_photographs_in_gray_have_no_colour_to_change(init, photos):
    init(photos({"a": 3, "b": 3}), channels=1)
    gray = {key: value for key, value in PHOTOGRAPH.items() if key != "colour"}
    assert settings()["training"]["augmentation"] == gray


def test_a_few_coloured_images_make_no_photographs(init, photos):
    photos({"a": 8, "b": 8}, colours=False)
    init(photos({"c": 3}))
    assert settings()["training"]["augmentation"] == {"flip": True, "fill": "edge"}


def test_what_stands_on_a_gray_ground_keeps_it(init, photos):
    """Its border is neither dark nor bright, and yet the same everywhere."""
    data = photos({"a": 0, "b": 0})
    for number, name in itertools.product(range(8), ("a", "b")):
        (data / name / f"icon{number}.png").write_bytes(icon([0, 255][number % 2]))
    init(data)
    assert settings()["images"]["background"] == 128
    assert settings()["training"]["augmentation"] == UNIFORM


@pytest.mark.parametrize(
    ("border", "background", "fill"),
    [(0, None, "background"), (255, 255, "background"), (128, None, "edge")],
)
def test_pixels_get_the_ground_that_they_have(init, tmp_path, border, background, fill):
    pixels = np.full((60, 9, 9), border, np.uint8)
    pixels[:, 3:6, 3:6] = 100
    np.savez(tmp_path / "all.npz", images=pixels, labels=np.arange(60) % 2)
    init(tmp_path / "all.npz")
    assert settings().get("images", {}).get("background") == background
    assert settings()["training"]["augmentation"] == {"flip": True, "fill": fill}


def test_coloured_pixels_are_photographs_as_files_are(init, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (60, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "all.npz", images=pixels, labels=np.arange(60) % 2)
    init(tmp_path / "all.npz")
    assert settings()["training"]["augmentation"] == PHOTOGRAPH


def test_augmentation_can_be_set_at_once(init, photos):
    init(photos({"a": 3, "b": 3}), assignments=["training.augmentation.crop=0.0"])
    assert settings()["training"]["augmentation"] == {**PHOTOGRAPH, "crop": 0.0}


def test_few_test_images_leave_the_next_model_room(init, photos):
    init(photos({"a": 30, "b": 30}))
    # 9 test images.
    assert settings()["gates"]["accuracy_drop"] == 0.1


def test_every_value_has_its_reason_above_it(init, photos):
    init(photos({"a": 8, "b": 8}))
    lines = Path("flowers/pipeline.toml").read_text(encoding="utf-8").splitlines()
    for before, line in itertools.pairwise(lines):
        if " = " in line and not line.startswith("#") and not line.startswith("version"):
            assert before.startswith("# "), line
    assert max(map(len, lines)) <= 100


def test_uneven_and_small_classes_are_told(init, photos):
    warnings = " ".join(init(photos({"rose": 40, "tulip": 2})).suggestion.warnings)
    assert "Class tulip has 2 images" in warnings
    assert "20 times the images of class tulip" in warnings


def test_uneven_classes_are_weighted_and_judged_alike(init, photos):
    init(photos({"rose": 40, "tulip": 5, "poppy": 20}))
    assert settings()["training"]["class_weights"] == "balanced"
    # Above a third, which any constant answer reaches.
    assert settings()["gates"]["balanced_accuracy"] == 0.367
    assert settings()["gates"]["accuracy"] == 0
    # Three recalls of 0.9 on about 6, 1 and 3 test images.
    assert settings()["gates"]["balanced_accuracy_drop"] == 0.123
    assert settings()["gates"]["class_recall"] > 0


def test_classes_that_are_nearly_even_are_not_weighted(init, photos):
    init(photos({"rose": 40, "tulip": 10}))
    assert "class_weights" not in settings()["training"]
    assert not {"balanced_accuracy", "balanced_accuracy_drop"} & settings()["gates"].keys()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.class_weights", {"rose": 2.5, "tulip": 1.0}),
        ("gates.slices", {"shop": {"accuracy": 0.5, "min_images": 7}, 'a "b"': {"min_images": 50}}),
    ],
)
def test_a_table_that_is_set_is_written_as_toml(init, photos, key, value):
    init(photos({"rose": 10, "tulip": 10}), assignments=[f"{key}={json.dumps(value)}"])
    section, _, name = key.partition(".")
    assert settings()[section][name] == value


def test_a_weight_of_no_class_is_refused(refusal, photos):
    assignments = ['training.class_weights={"rosa": 2}']
    message = refusal(photos({"rose": 10, "tulip": 10}), assignments=assignments)
    assert "a weight for 'rosa', which is no class" in message


def test_what_moves_in_has_the_brightness_that_is_asked_for(init, photos):
    data = photos({"rose": 10, "tulip": 10}, border=0)
    init(data)
    init(data, name="others", assignments=["images.background=255"])
    fills = [settings(name)["training"]["augmentation"]["fill"] for name in ("flowers", "others")]
    assert fills == ["background", "edge"]


def test_a_class_that_a_split_lacks_is_told(init, photos, tmp_path):
    photos({"a": 8, "b": 8}, folder="photos/train")
    photos({"a": 2}, folder="photos/test")
    warnings = " ".join(init(tmp_path / "photos").suggestion.warnings)
    assert "Split test of the data has no images of b" in warnings


def test_splits_that_are_all_given_are_not_called_drawn(init, photos):
    both = {"a": 8, "b": 8}
    for part, counts in (("train", {"a": 8}), ("val", both), ("test", both)):
        data = photos(counts, folder=f"photos/{part}").parent
    warnings = " ".join(init(data).suggestion.warnings)
    assert "Split train of the data has no images of b" in warnings
    assert "drawn" not in warnings


def test_bad_images_are_told_with_their_reasons(init, photos):
    data = photos({"a": 8, "b": 8})
    (data / "a" / "bad.png").write_bytes(picture()[:100])
    (data / "a" / "empty.png").touch()
    made = init(data)
    assert [each.name for each in made.look.sample.bad] == ["a/bad.png", "a/empty.png"]
    assert "damaged" in made.look.sample.bad[0].reason
    assert "2 of 18 images that were looked at cannot be used" in " ".join(made.suggestion.warnings)


def test_a_run_can_skip_bad_images_with_what_the_file_holds_as_a_comment(init, photos):
    data = photos({"a": 8, "b": 8})
    (data / "a" / "bad.png").write_bytes(picture()[:100])
    init(data)
    file = Path("flowers/pipeline.toml")
    text = file.read_text(encoding="utf-8")
    assert "a/bad.png" in text
    assert config_file.combine(file).config().data.bad_files == "stop"
    file.write_text(text.replace("# bad_files", "bad_files").replace("# max_bad", "max_bad"))
    changed = config_file.combine(file).config().data
    assert (changed.bad_files, changed.max_bad_share) == ("skip", 0.12)
    init(data, name="asked", assignments=["data.bad_files=skip"])
    assert "# bad_files" not in Path("asked/pipeline.toml").read_text(encoding="utf-8")


@pytest.fixture
def damaged(photos):
    """Class folders in which 8 of 68 images are damaged."""
    data = photos({"a": 30, "b": 30}, height=12, width=12)
    for number in range(8):
        (data / "a" / f"bad{number}.png").write_bytes(picture()[:100])
    return data


def about_bad(made):
    (warning,) = [each for each in made.suggestion.warnings if "that were looked at" in each]
    return warning.partition("used. ")[2]


def test_to_skip_bad_images_comes_with_the_share_that_a_run_needs(init, damaged):
    offered = init(damaged, name="offered").folder / "pipeline.toml"
    asked = init(damaged, assignments=["data.bad_files=skip"])
    share = settings()["data"]["max_bad_share"]
    assert share >= 2 * asked.look.bad_share > 0.2
    assert f"# max_bad_share = {share}" in offered.read_text(encoding="utf-8")
    assert about_bad(asked).startswith("A run leaves such images out")


def test_a_share_that_is_set_stays_and_is_told_where_a_run_needs_more(init, damaged):
    made = init(damaged, assignments=["data.bad_files=skip", "data.max_bad_share=0.05"])
    assert settings()["data"]["max_bad_share"] == 0.05
    assert "or set it to " in about_bad(made)
    made = init(damaged, name="more", assignments=["data.bad_files=skip", "data.max_bad_share=0.9"])
    assert about_bad(made).startswith("A run leaves such images out")


def test_what_the_file_holds_as_a_comment_is_no_key_that_it_has(init, damaged):
    file = init(damaged, assignments=["data.max_bad_share=0.9"]).folder / "pipeline.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("# bad_files", "bad_files").replace("# max_bad", "max_bad"))
    assert config_file.combine(file).config().data.bad_files == "skip"


def test_to_stop_at_bad_images_leaves_no_other_way(init, damaged):
    made = init(damaged, assignments=["data.bad_files=stop"])
    assert about_bad(made).startswith("A run stops at such images, as data.bad_files=stop asks")


@pytest.mark.parametrize("count", [100, 400])
def test_the_share_to_skip_that_is_offered_is_that_of_the_split_with_most(init, photos, count):
    """In a run, each split may lose so many, not all images together."""
    data = photos({"a": count, "b": count}, height=12, width=12)
    init(data, name="sound")
    sound = config_file.combine(Path("sound") / "pipeline.toml").config()
    ids = [f"{name}/{number}.png" for name in "ab" for number in range(count)]
    splits = split.assign(
        split.Examples(
            ids, np.zeros(len(ids)), np.full(len(ids), -1), *np.ones((2, len(ids)), bool)
        ),
        split.Settings(sound.split.validation, sound.split.test_share, None),
        sound.seed,
    )
    tested = np.flatnonzero(splits == features.TEST)
    for place in tested[: len(tested) // 4]:
        (data / ids[place]).write_bytes(picture()[:100])
    init(data)
    file = Path("flowers/pipeline.toml")
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("# bad_files", "bad_files").replace("# max_bad", "max_bad"))
    assert config_file.combine(file).config().data.max_bad_share > 0.25


def test_what_is_ignored_is_told(init, photos):
    data = photos({"a": 8, "b": 8})
    (data / "notes.txt").touch()
    assert any("notes.txt" in line for line in init(data).look.ignored)


def test_of_many_images_a_sample_is_decoded_which_is_the_same_each_time(init, photos):
    data = photos({"a": 400, "b": 300}, height=12, width=12)
    first, again = init(data), init(data, name="again")
    assert first.look.sample.tried == 500
    assert sum(first.look.per_class) == 700
    assert first.look.sample.gray == again.look.sample.gray
    assert (first.look.sample.heights == again.look.sample.heights).all()


def test_of_large_images_fewer_are_held_and_decoded(init, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    write_parquet(folder)
    content = len(picture())
    monkeypatch.setattr("operations.initialization.look._MOST_BYTES", 7 * content)
    assert init(folder, name="bytes").look.sample.tried == 6
    monkeypatch.setattr("operations.initialization.look._MOST_PIXELS", 3 * 40 * 40)
    assert init(folder, name="pixels").look.sample.tried == 3


@pytest.mark.parametrize("form", ["arrays", "IDX"])
def test_a_sample_of_pixels_holds_its_images_alone(init, tmp_path, as_idx, form):
    """All pixels are 130 MB, and a quarter of the images is decoded."""
    folder = tmp_path / "data"
    folder.mkdir()
    images, labels = np.zeros((2_000, 256, 256), np.uint8), np.arange(2_000) % 4
    if form == "arrays":
        np.savez_compressed(folder / "a.npz", images=images, labels=labels)
    else:
        for half, count in (("train", 1_990), ("t10k", 10)):
            for name, array in (("images-idx3", images), ("labels-idx1", labels)):
                content = gzip.compress(as_idx(array[:count]), 1)
                (folder / f"{half}-{name}-ubyte.gz").write_bytes(content)
    tracemalloc.start()
    try:
        assert init(folder).look.sample.tried == 500
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000_000


@pytest.fixture
def idx_folder(tmp_path, as_idx):
    def make(height=9, width=5):
        random = np.random.default_rng(1)
        folder = tmp_path / "idx"
        folder.mkdir()
        for half in ("train", "t10k"):
            pixels, labels = random.integers(0, 256, (30, height, width)), np.arange(30) % 11
            for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
                path = folder / f"{half}-{name}-ubyte.gz"
                path.write_bytes(gzip.compress(as_idx(array)))
        return folder

    return make


def test_pixels_keep_their_size_and_classes_are_numbers(init, idx_folder):
    made = init(idx_folder())
    assert made.suggestion.shape == (9, 5, 1)
    assert made.look.class_names == tuple(map(str, range(11)))
    assert made.look.has_test
    assert "images" not in settings()


def test_numbers_may_get_names(init, idx_folder):
    made = init(idx_folder())
    path = made.folder / "schema.pbtxt"
    text = path.read_text()
    assert "you may write names in their" in text
    path.write_text(text.replace('value: "3"', 'value: "three"'))
    few = ["split.validation=1"]
    found = digest(config_file.combine(made.folder / "pipeline.toml", assignments=few), print)
    assert (found.classes[3].name, found.classes[3].test) == ("three", 3)


def test_pixels_of_more_than_128_keep_their_size(init, idx_folder):
    assert init(idx_folder(height=140, width=130)).suggestion.shape == (140, 130, 1)


def test_another_size_than_that_of_the_pixels_is_refused(refusal, idx_folder):
    folder = idx_folder()
    assert "pixels of 9x5x1" in refusal(folder, size="8x8")
    assert "pixels of 9x5x1" in refusal(folder, channels=3)


@pytest.fixture
def pixel_table(tmp_path):
    """Writes a table of pixels of this shape, whose values are the numbers of the columns."""

    def write(*shape):
        values = range(math.prod(shape))
        heading = ",".join(["label", *(f"pixel{number}" for number in values)])
        rows = [",".join(map(str, [row % 2, *(each % 256 for each in values)])) for row in range(8)]
        (tmp_path / "table.csv").write_text("\n".join([heading, *rows, ""]))
        return tmp_path / "table.csv"

    return write


@pytest.mark.parametrize("shape", [(9, 16), (16, 9), (20, 15), (9, 16, 3)])
def test_pixels_that_are_no_square_get_the_size_that_is_asked_for(init, pixel_table, shape):
    made = init(pixel_table(*shape), size=f"{shape[0]}x{shape[1]}")
    assert made.suggestion.shape == (*shape, 1)[:3]
    assert "as --size asks for" in made.suggestion.size_reason
    file = made.folder / "pipeline.toml"
    assert digest(config_file.combine(file), print).form == "pixel table"


def test_a_square_is_told_as_a_guess(init, refusal, pixel_table):
    table = pixel_table(9, 16)
    assert "9x17x1=153" in refusal(table, size="9x17")
    assert "9x16x3=432" in refusal(table, size="9x16", channels=3)
    assert "give the size, too" in refusal(table, channels=3)
    made = init(table)
    assert made.suggestion.shape == (12, 12, 1)
    assert "guessed" in made.suggestion.size_reason and "--size HxW" in made.suggestion.size_reason


def test_a_table_without_a_square_asks_for_the_size(refusal, pixel_table):
    table = pixel_table(20, 16)
    assert "320 columns of pixels; expected a square" in refusal(table)
    assert "give --size HxW to `init`" in refusal(table)


@pytest.mark.parametrize("folder", ['my "photos"', "ü \U0001f339", "back\\slash", "#{x}", "'"])
def test_data_with_any_name_can_be_named(init, photos, folder):
    data = photos({"a": 8, "b": 8}, folder=folder)
    made = init(data)
    assert config_file.combine(made.folder / "pipeline.toml").data == str(data)


def test_a_link_to_the_data_stays_a_link(init, photos, tmp_path):
    """What it leads to may change from run to run."""
    photos({"a": 8, "b": 8}, folder="version 1")
    (tmp_path / "newest").symlink_to("version 1")
    init("../newest")
    assert settings()["data"]["path"] == str(tmp_path / "newest")
    (tmp_path / "version 1" / "deep").symlink_to(tmp_path / "newest")
    # Behind the link, `..` is the folder around `version 1`.
    init("../newest/deep/../newest", name="again")
    assert settings("again")["data"]["path"] == str(tmp_path / "version 1")


def test_data_in_spans_is_looked_at_by_its_newest(init, photos, tmp_path):
    photos({"a": 8, "b": 8}, folder="spans/span-2")
    photos({"a": 3, "b": 3}, folder="spans/span-10")
    made = init(tmp_path / "spans")
    assert sum(made.look.per_class) == 6
    assert settings()["data"]["path"] == str(tmp_path / "spans")


@pytest.mark.parametrize(
    ("first", "second", "drop"),
    [
        # On 90 test images of span 1, and on 6 of it.
        (300, 20, 0.032),
        (20, 300, 0.123),
    ],
)
def test_gates_fit_the_span_that_is_tested_on(init, photos, tmp_path, first, second, drop):
    photos({"a": first, "b": first}, folder="spans/span-1", height=12, width=12)
    photos({"a": second, "b": second}, folder="spans/span-2", height=12, width=12)
    made = init(tmp_path / "spans")
    assert settings()["gates"]["accuracy_drop"] == drop
    # Span 2 gives no test image away, but a validation split.
    share = settings()["split"]["validation"]
    assert made.suggestion.training_images == 2 * second - math.ceil(share * 2 * second)


def test_a_span_that_is_trained_and_tested_on_gives_its_test_images_away(init, photos, tmp_path):
    for number in (1, 2):
        photos({"a": 100, "b": 100}, folder=f"spans/span-{number}", height=12, width=12)
    made = init(tmp_path / "spans", assignments=["spans.window=2"])
    assert sum(made.look.test_images) == 30
    assert made.suggestion.training_images == 370 - 37


def test_the_majority_is_that_of_the_span_that_is_tested_on(init, photos, tmp_path):
    photos({"a": 50, "b": 150}, folder="spans/span-1", height=12, width=12)
    photos({"a": 200, "b": 200}, folder="spans/span-2", height=12, width=12)
    init(tmp_path / "spans")
    assert settings()["gates"]["accuracy"] == 0.875


def test_validation_images_of_the_data_are_never_test_images(init, photos, tmp_path):
    photos({"a": 60, "b": 60}, folder="photos/train", height=12, width=12)
    data = photos({"a": 200, "b": 20}, folder="photos/val", height=12, width=12).parent
    made = init(distinct(data))
    assert made.look.test_images == (9, 9)
    # An even test split, on which a constant answer is half right.
    assert settings()["gates"]["accuracy"] == 0.736
    assert made.suggestion.training_images == 102
    found = digest(config_file.combine(made.folder / "pipeline.toml"), str)
    assert [each.val for each in found.classes] == [200, 20]


def test_the_classes_are_those_of_all_spans(init, photos, tmp_path):
    whole = {"cross": 20, "disc": 20, "ring": 20}
    photos(whole, folder="spans/span-1/test", border=1)
    photos(whole, folder="spans/span-1/train", border=2)
    photos({"cross": 20, "disc": 20}, folder="spans/span-2", border=3)
    photos({"disc": 20}, folder="spans/span-3", border=4)
    made = init(tmp_path / "spans")
    assert made.look.class_names == ("cross", "disc", "ring")
    assert made.look.counts["test"] == (20, 20, 20)
    assert made.look.per_class == (60, 80, 40)
    assert settings()["spans"] == {"window": 3}
    found = digest(config_file.combine(made.folder / "pipeline.toml"), print)
    assert [each.name for each in found.classes] == ["cross", "disc", "ring"]


def test_names_of_classes_are_written_in_one_unicode_form(init, photos, tmp_path):
    """macOS decomposes the names of folders, other systems take them as they are."""
    for number, form in enumerate(("NFC", "NFD"), 1):
        name = unicodedata.normalize(form, "Käse")
        photos({name: 20, "dog": 20}, folder=f"spans/span-{number}", border=number)
    weights = ['training.class_weights={"Käse": 2}']
    made = init(tmp_path / "spans", assignments=weights)
    assert made.look.class_names == ("dog", "Käse")
    schema = (made.folder / "schema.pbtxt").read_text(encoding="utf-8")
    assert parse_schema(schema, "it").class_names == ("dog", "Käse")
    assert made.look.window == 1


def test_no_more_spans_are_taken_than_each_class_needs(init, photos, tmp_path):
    for number in (1, 2):
        photos({"a": 9, "b": 9}, folder=f"spans/span-{number}")
    photos({"a": 9}, folder="spans/span-3")
    assert init(tmp_path / "spans").look.window == 2
    (tmp_path / "spans" / "span-3").rename(tmp_path / "spans" / ".span-3")
    init(tmp_path / "spans", name="whole")
    assert "spans" not in settings("whole")


def test_spans_that_lack_a_class_are_refused_if_they_are_asked_for(refusal, photos, tmp_path):
    photos({"a": 9, "b": 9}, folder="spans/span-1")
    photos({"a": 9}, folder="spans/span-2")
    message = refusal(tmp_path / "spans", assignments=["spans.window=1"])
    assert "no images of b to train on" in message and "spans.window" in message


def test_the_newest_span_may_lack_test_images(init, idx_folder, tmp_path):
    (tmp_path / "spans").mkdir()
    for number in (1, 2):
        idx_folder().rename(tmp_path / "spans" / f"span-{number}")
    for path in (tmp_path / "spans" / "span-2").glob("t10k-*"):
        path.unlink()
    made = init(tmp_path / "spans")
    assert made.look.has_test and sum(made.look.counts["test"]) == 30
    assert "test_share" not in settings()["split"]
    few = ["split.validation=1"]
    found = digest(config_file.combine(made.folder / "pipeline.toml", assignments=few), print)
    assert sum(each.test for each in found.classes) == 30


@pytest.mark.parametrize("is_given", [False, True])
def test_a_class_that_the_span_to_test_on_lacks_is_told(init, photos, tmp_path, is_given):
    old, new = {"cat": 60, "dog": 60}, {"cat": 60, "dog": 60, "bird": 60}
    for span, counts in ((1, old), (2, new)):
        for part in ("train", "test") if is_given else ("",):
            photos(counts, folder=f"spans/span-{span}/{part}", height=12, width=12)
    made = init(tmp_path / "spans")
    (warning,) = [each for each in made.suggestion.warnings if "bird" in each]
    assert "span 1, which has no images of bird to test on" in warning
    assert "Set spans.reference=2: that span has images of each class" in warning
    file, asked = made.folder / "pipeline.toml", ["spans.reference=2"]
    with pytest.raises(UsageError, match="bird"):
        digest(config_file.combine(file), str)
    found = digest(config_file.combine(file, assignments=asked), str)
    assert all(each.train and each.test for each in found.classes)
    assert not init(tmp_path / "spans", "again", assignments=asked).suggestion.warnings


def test_a_class_that_no_span_can_test_is_told(init, photos, tmp_path):
    photos({"cat": 30, "dog": 30}, folder="spans/span-1")
    photos({"cat": 30, "bird": 30}, folder="spans/span-2")
    warnings = " ".join(init(tmp_path / "spans").suggestion.warnings)
    assert "has no images of bird to test on; each class needs some. Add images to span 1" in (
        warnings
    )


def test_what_is_in_no_split_is_trained_on(init, tmp_path):
    """No class is missed in train where the table leaves the split of its images open."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(90):
        (folder / f"{number}.png").write_bytes(picture(12, 12, seed=number))
    rows = [f"{number}.png,a," for number in range(30)]
    rows += [f"{number}.png,b,train" for number in range(30, 60)]
    rows += [f"{number}.png,{'ab'[number % 2]},test" for number in range(60, 90)]
    (folder / "labels.csv").write_text("\n".join(["path,label,split", *rows]))
    made = init(folder)
    assert made.look.counts["train"][0] == 0 < made.look.counts["train"][1]
    assert not [each for each in made.suggestion.warnings if "Split train" in each]


def test_a_span_without_images_to_train_on_is_told(init, photos, tmp_path):
    photos({"a": 30, "b": 30}, folder="spans/span-1")
    photos({"a": 30, "b": 30}, folder="spans/span-2/val")
    photos({"a": 30, "b": 30}, folder="spans/span-2/test")
    warnings = " ".join(init(tmp_path / "spans").suggestion.warnings)
    assert "Split train of the data has no images of a, b" in warnings


def test_a_damaged_span_that_no_run_takes_does_not_matter(init, photos, tmp_path):
    for folder in ("span-1/train", "span-1/test", "span-2", "span-3"):
        photos({"a": 9, "b": 9}, folder=f"spans/{folder}")
    (tmp_path / "spans" / "span-2" / "classes.toml").write_bytes(b"[")
    assert init(tmp_path / "spans").look.class_names == ("a", "b")


def test_what_lies_beside_spans_is_told_of_or_refused(init, photos, tmp_path):
    photos({"a": 8, "b": 8}, folder="spans/span-1")
    (tmp_path / "spans" / "notes.txt").touch()
    made = init(tmp_path / "spans", name="told")
    assert made.look.ignored == ("notes.txt: beside the spans, in none of them",)
    photos({"a": 8, "b": 8}, folder="spans")
    with pytest.raises(UsageError, match=r"both spans \(span-1\) and class folders \(a\)"):
        init(tmp_path / "spans", name="refused")


def test_values_can_be_set_at_once(init, photos):
    init(
        photos({"a": 8, "b": 8}),
        assignments=["data.bad_files=skip", "seed=3", "gates.accuracy=0.7"],
    )
    assert settings()["data"]["bad_files"] == "skip"
    assert settings()["seed"] == 3
    assert settings()["gates"]["accuracy"] == 0.7


@pytest.mark.parametrize("assignment", ["name=x", "schema_file=x", "data.label_column=null"])
def test_what_init_writes_itself_is_not_set(refusal, photos, assignment):
    assert assignment.partition("=")[0] in refusal(
        photos({"a": 2, "b": 2}), assignments=[assignment]
    )


@pytest.mark.parametrize("size", ["", "64", "0x5", "64x", "axb", "64x-1", "5000x5", "64x64x3"])
def test_a_size_that_is_none_is_refused(refusal, photos, size):
    assert "--size" in refusal(photos({"a": 2, "b": 2}), size=size)


def test_two_channels_are_refused(refusal, photos):
    assert "--channels" in refusal(photos({"a": 2, "b": 2}), channels=2)


class TestRefusedData:
    """Each kind of data that is none has an answer of its own."""

    def test_an_empty_folder(self, refusal, tmp_path):
        (tmp_path / "empty").mkdir()
        assert "holds nothing" in refusal(tmp_path / "empty")

    def test_nothing_at_all(self, refusal, tmp_path):
        assert "--data" in refusal(tmp_path / "absent")

    def test_one_class(self, refusal, photos):
        message = refusal(photos({"rose": 5}))
        assert "one class" in message or "1 class" in message

    def test_one_class_of_a_table(self, refusal, tmp_path):
        (tmp_path / "one").mkdir()
        (tmp_path / "one" / "a.png").write_bytes(picture())
        (tmp_path / "one" / "labels.csv").write_text("path,label\na.png,1\n")
        assert "has only one class, 1; expected" in refusal(tmp_path / "one")

    def test_images_without_labels(self, refusal, tmp_path):
        (tmp_path / "plain").mkdir()
        (tmp_path / "plain" / "a.png").write_bytes(picture())
        refusal(tmp_path / "plain")

    def test_videos(self, refusal, tmp_path):
        (tmp_path / "films" / "a").mkdir(parents=True)
        (tmp_path / "films" / "a" / "x.mp4").touch()
        assert "video" in refusal(tmp_path / "films")

    def test_a_single_image(self, refusal, tmp_path):
        (tmp_path / "one.png").write_bytes(picture())
        assert "single image" in refusal(tmp_path / "one.png")

    def test_a_pipe(self, refusal, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        assert "pipe" in refusal(tmp_path / "pipe")

    def test_thousands_of_classes(self, refusal, tmp_path):
        content = picture(12, 12)
        for number in range(1001):
            place = tmp_path / "many" / f"object {number}"
            place.mkdir(parents=True)
            (place / "a.png").write_bytes(content)
        message = refusal(tmp_path / "many")
        assert "1,001 classes, with 1 images in the median class" in message

    def test_images_none_of_which_can_be_used(self, refusal, photos, tmp_path):
        data = photos({"a": 2, "b": 2})
        for path in data.glob("*/*.png"):
            path.write_bytes(b"no image")
        assert "none of 4 images" in refusal(data)


class TestFolder:
    """Where it writes, and that it writes all or nothing."""

    @pytest.mark.parametrize("name", sorted(FILES))
    def test_nothing_is_overwritten(self, init, photos, tmp_path, name):
        data = photos({"a": 2, "b": 2})
        folder = tmp_path / "work" / "flowers"
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(UsageError, match=f"already has {name}"):
            init(data)
        assert [path.name for path in folder.iterdir()] == [name]
        assert (folder / name).read_text() == "mine"

    def test_a_link_to_nothing_is_not_written_through(self, init, photos, tmp_path):
        data = photos({"a": 2, "b": 2})
        folder = tmp_path / "work" / "flowers"
        folder.mkdir()
        (folder / "pipeline.toml").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UsageError, match=r"already has pipeline\.toml"):
            init(data)
        assert not (tmp_path / "elsewhere").exists()

    def test_other_files_stay(self, init, photos, tmp_path):
        folder = tmp_path / "work" / "flowers"
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
        init(photos({"a": 2, "b": 2}))
        assert {path.name for path in folder.iterdir()} == {*FILES, "notes.txt"}

    def test_a_file_is_no_folder(self, init, photos, tmp_path):
        (tmp_path / "work" / "flowers").touch()
        with pytest.raises(UsageError, match="is no folder"):
            init(photos({"a": 2, "b": 2}))

    def test_a_folder_below_a_file_is_refused(self, init, photos, tmp_path):
        (tmp_path / "work" / "file").touch()
        with pytest.raises(UsageError, match="cannot be written"):
            init(photos({"a": 2, "b": 2}), name="file/flowers")
        assert [path.name for path in (tmp_path / "work").iterdir()] == ["file"]

    def test_folders_on_the_way_are_made(self, init, photos, tmp_path):
        made = init(photos({"a": 2, "b": 2}), name="a/b/My Flowers")
        assert made.pipeline == "my-flowers"
        assert {path.name for path in (tmp_path / "work/a/b/My Flowers").iterdir()} == FILES

    def test_a_disk_without_room_leaves_nothing(self, refusal, photos, monkeypatch):
        def fsync(_):
            raise OSError(28, "No space left on device")

        data = photos({"a": 2, "b": 2})
        monkeypatch.setattr(os, "fsync", fsync)
        assert "No space left" in refusal(data, name="a/b/flowers")

    def test_an_interruption_leaves_nothing(self, init, photos, monkeypatch, tmp_path):
        calls = []

        def fsync(_):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt

        data = photos({"a": 2, "b": 2})
        monkeypatch.setattr(os, "fsync", fsync)
        for folder in ("new", "there"):
            calls.clear()
            (tmp_path / "work" / "there").mkdir(exist_ok=True)
            with pytest.raises(KeyboardInterrupt):
                init(data, name=folder)
            assert [path.name for path in (tmp_path / "work").iterdir()] == ["there"]
            assert list((tmp_path / "work" / "there").iterdir()) == []

    @pytest.mark.parametrize("name", ["photos", "photos/mine", "photos/a/mine"])
    def test_a_folder_in_the_data_is_refused(self, init, photos, tmp_path, monkeypatch, name):
        data = photos({"a": 2, "b": 2})
        monkeypatch.chdir(tmp_path)
        before = sorted(data.rglob("*"))
        with pytest.raises(UsageError, match="in the data folder"):
            init(data, name=name)
        assert sorted(data.rglob("*")) == before

    def test_no_name_is_refused(self, refusal, photos):
        assert "NAME is empty" in refusal(photos({"a": 2, "b": 2}), name="")

    @pytest.mark.parametrize("name", ["a\nb", "a\x1b[1m", "x" * 300])
    def test_a_name_that_cannot_be_printed_is_refused(self, refusal, photos, name):
        refusal(photos({"a": 2, "b": 2}), name=name)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("flowers", "flowers"),
        ("My Flowers!", "my-flowers"),
        ("a_b\u2013c\u00a0d", "a-b-c-d"),
        ("sample", "sample"),
        # More than case and punctuation is lost.
        ("Blümchen", "blumchen-409c60"),
        ("花", "images-"),
        ("Собаки", "images-"),
        ("c🌹", "c-"),
        ("--", "images-"),
        ("a" * 80, "a" * 43 + "-"),
        ("x" * 49 + "-y", "x" * 43 + "-"),
        ("my-sample", "my-"),
        ("my-sample-smoke", "my-"),
    ],
)
def test_a_pipeline_is_called_after_its_folder(folder, name):
    called = pipeline_name(folder)
    assert re.fullmatch(rf"{name}[0-9a-f]{{6}}" if name.endswith("-") else name, called)
    assert load_config("default", [f"name={called}"]).name == called


def test_folders_of_different_names_share_no_pipeline():
    folders = ["花", "Собаки", "images", "flowers", "flowers-sample", "flowers-smoke", "flöwers"]
    folders += ["a" * 50, "a" * 51, "--", "__"]
    assert len(set(map(pipeline_name, folders))) == len(folders)
    # However the name of a folder is written down.
    assert pipeline_name("flo\u0308wers") == pipeline_name("fl\u00f6wers")


def test_a_pipeline_with_results_of_other_data_is_warned_of(
    init, photos, receipt, tmp_path, keep_receipt, monkeypatch
):
    data = photos({"a": 8, "b": 8})
    monkeypatch.chdir(tmp_path)
    assert not [each for each in init(data, "clothes").suggestion.warnings if "outputs/" in each]
    kept = keep_receipt(receipt)
    shutil.rmtree("clothes")
    (warning,) = [each for each in init(data, "clothes").suggestion.warnings if "outputs/" in each]
    assert f"outputs/clothes has results of other data, {kept.data.name}. " in warning
    kept = kept.changed(data=kept.data.model_copy(update={"name": str(data)}))
    kept.write(Path("outputs") / "clothes" / "runs" / kept.run_id)
    shutil.rmtree("clothes")
    assert not [each for each in init(data, "clothes").suggestion.warnings if "outputs/" in each]


def test_a_file_in_the_place_of_the_output_folder_is_no_trouble(init, photos, caplog):
    Path("outputs").touch()
    assert init(photos({"a": 8, "b": 8})).pipeline == "flowers"
    assert not caplog.records


def small(seed=0):
    """An image of 6 x 6 pixels, uint8."""
    return np.random.default_rng(seed).integers(0, 256, (6, 6), np.uint8)


def write_arrays(folder):
    pixels = np.stack([small(seed) for seed in range(12)])
    labels = np.arange(12, dtype=np.uint8) % 3
    np.savez(folder / "all.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)


def write_pixel_table(folder):
    heading = ",".join(["label", *(f"pixel{number}" for number in range(1, 37))])
    rows = [",".join([str(row % 3), *map(str, small(row).ravel())]) for row in range(12)]
    for half in ("train", "test"):
        (folder / f"small_{half}.csv").write_text("\n".join([heading, *rows, ""]))


def write_manifest(folder):
    for number in range(90):
        (folder / f"{number}.png").write_bytes(picture(seed=number))
    rows = [f"{number}.png,{'cba'[number % 3]},{number}" for number in range(90)]
    (folder / "labels.csv").write_text("\n".join(["path,label,weight", *rows, ""]))


def write_parquet(folder):
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["c", "a", "b"], "_type": "ClassLabel"},
    }
    kinds = pyarrow.schema(
        [("image", image), ("label", pyarrow.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    images = [{"bytes": picture(seed=number), "path": None} for number in range(12)]
    table = pyarrow.table({"image": images, "label": [n % 3 for n in range(12)]}, schema=kinds)
    for half in ("train", "test"):
        parquet.write_table(table, folder / f"{half}-00000-of-00001.parquet")


# Who writes each form, and the shape, the classes and the file in the folder, if it is one file.
FORMS = {
    "arrays": (write_arrays, (6, 6, 1), ("0", "1", "2")),
    "pixel table": (write_pixel_table, (6, 6, 1), ("0", "1", "2")),
    "manifest": (write_manifest, (40, 40, 3), ("a", "b", "c")),
    "Parquet of images": (write_parquet, (40, 40, 3), ("c", "a", "b")),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_looked_at(init, tmp_path, form):
    write, shape, names = FORMS[form]
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder)
    made = init(folder)
    assert made.look.form == form
    assert made.suggestion.shape == shape
    assert made.look.class_names == names
    assert made.look.per_class == ((30, 30, 30) if form == "manifest" else (8, 8, 8))
    # The run reads it as init did.
    run = digest(config_file.combine(made.folder / "pipeline.toml"), print)
    assert [each.name for each in run.classes] == list(names)


@pytest.fixture
def corrected(photos):
    """Class folders, and the rows of a manifest that corrects some labels."""
    folder = photos({"cat": 12, "dog": 12})
    rows = [f"{name}/{number}.png,{name}" for name in ("cat", "dog") for number in range(12)]
    rows[0] = "cat/0.png,dog"
    return folder, ["path,label", *rows]


def damaged_parquet(rows):
    columns = zip(*(row.split(",") for row in rows[1:]), strict=True)
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(dict(zip(("path", "label"), columns, strict=True))), file)
    return file.getvalue()[:-40]


# How a manifest breaks: the name of its file, and its content.
BROKEN = {
    "a comma": ("list.csv", lambda rows: "\n".join([*rows, "dog/1.png,dog, maybe"]).encode()),
    "Latin-1": ("list.csv", lambda rows: "\n".join([*rows, "dog/1.png,d\xf6g"]).encode("latin-1")),
    "another header": ("list.csv", lambda rows: "\n".join(["path,lable", *rows[1:]]).encode()),
    "empty": ("list.csv", lambda rows: b""),
    "a header alone": ("list.csv", lambda rows: rows[0].encode()),
    "zeros": ("list.csv", lambda rows: bytes(500)),
    "no folders": ("list.csv", lambda rows: "\n".join(rows).replace("/", "_").encode()),
    "absolute": ("list.csv", lambda rows: "\n".join(rows).replace("\n", "\n/x/").encode()),
    "backslashes": ("list.csv", lambda rows: "\n".join(rows).replace("/", "\\").encode()),
    "Parquet": ("list.parquet", damaged_parquet),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_manifest_that_breaks_does_not_make_folders_the_labels(init, corrected, case):
    folder, rows = corrected
    (folder / "list.csv").write_text("\n".join(rows))
    file = init(folder).folder / "pipeline.toml"
    assert settings()["data"]["form"] == "manifest"
    assert digest(config_file.combine(file), print).form == "manifest"
    (folder / "list.csv").unlink()
    name, content = BROKEN[case]
    (folder / name).write_bytes(content(rows))
    with pytest.raises(UsageError) as caught:
        digest(config_file.combine(file), print)
    message = str(caught.value)
    assert f"{folder} was recognised as class folders with 2 classes; expected the form " in message
    assert f"manifest, as data.form says. {folder / name}: " in message
    assert message.endswith('set data.form="class folders".')


def test_a_manifest_that_is_gone_does_not_make_folders_the_labels(init, corrected):
    folder, rows = corrected
    (folder / "list.csv").write_text("\n".join(rows))
    file = init(folder).folder / "pipeline.toml"
    (folder / "list.csv").unlink()
    with pytest.raises(UsageError, match="Nothing there looks like that form"):
        digest(config_file.combine(file), print)


def test_arrays_that_break_do_not_make_folders_the_labels(init, photos):
    folder = photos({"cat": 4, "dog": 4})
    write_arrays(folder)
    file = init(folder).folder / "pipeline.toml"
    arrays = folder / "all.npz"
    arrays.write_bytes(arrays.read_bytes()[:300])
    with pytest.raises(UsageError, match=r"the form arrays, as data\.form says\..* cannot be read"):
        digest(config_file.combine(file), print)


def test_a_manifest_that_comes_later_does_not_change_the_labels_unasked(init, corrected):
    folder, rows = corrected
    file = init(folder).folder / "pipeline.toml"
    assert settings()["data"]["form"] == "class folders"
    (folder / "list.csv").write_text("\n".join(rows))
    with pytest.raises(UsageError, match=r"expected the form class folders, as data\.form says"):
        digest(config_file.combine(file), print)
    asked = config_file.combine(file, assignments=["data.form=manifest"])
    assert digest(asked, print).form == "manifest"


def test_the_form_is_that_of_all_spans(init, photos, tmp_path):
    photos({"a": 8, "b": 8}, folder="spans/span-1")
    photos({"a": 8, "b": 8}, folder="spans/span-2")
    init(tmp_path / "spans", name="alike")
    assert settings("alike")["data"]["form"] == "class folders"
    write_arrays(tmp_path / "spans" / "span-1")
    init(tmp_path / "spans", name="mixed")
    assert "form" not in settings("mixed")["data"]
    with pytest.raises(UsageError, match=r"span-1 was recognised as .*the form class folders"):
        digest(config_file.combine(Path("alike") / "pipeline.toml"), print)


def test_init_warns_of_a_table_that_it_does_not_take(init, corrected):
    folder, _ = corrected
    (folder / "list.csv").write_bytes(bytes(500))
    (warning,) = [each for each in init(folder).suggestion.warnings if "list.csv" in each]
    assert "is not read, and the data is taken as class folders with 2 classes" in warning


def test_a_single_file_is_looked_at(init, tmp_path):
    write_arrays(tmp_path)
    assert init(tmp_path / "all.npz").suggestion.shape == (6, 6, 1)
    assert settings()["data"]["path"] == str(tmp_path / "all.npz")


def test_columns_of_other_names_can_be_given(init, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_manifest(folder)
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace("path,label", "photo,kind"))
    init(folder, assignments=["data.path_column=photo", "data.label_column=kind"])
    assert settings()["data"]["label_column"] == "kind"


def test_data_in_a_bucket_is_looked_at_as_on_this_machine(init, photos, bucket):
    data = photos({"rose": 30, "tulip": 20})
    bucket.upload(data, "photos")
    here = init(data, name="here")
    there = init(f"{bucket}/photos", name="there")
    assert there.suggestion == here.suggestion
    assert there.look.summary == here.look.summary
    assert settings("there")["data"]["path"] == f"{bucket}/photos"
    bucket.upload(data, "spans/span-1")
    assert init(f"{bucket}/spans", name="spans").look.class_names == ("rose", "tulip")
