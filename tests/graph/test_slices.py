"""From a column of a manifest to a model that is refused for its weakness in one shop."""

import json

import lxml.html
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

SHOPS = ("07", "7", "", "north")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A manifest of dark and bright images; in the shop 07, most look like the other class."""
    folder = tmp_path_factory.mktemp("own") / "shelf"
    folder.mkdir()
    random = np.random.default_rng(1)
    rows = ["path,label,split,shop"]
    for number in range(480):
        is_day, shop = number % 2, SHOPS[number // 2 % 4]
        image = random.integers(0, 40, (16, 16)) + 40 + 150 * is_day
        if shop == "07" and random.random() < 0.8:
            image = 255 - image
        Image.fromarray(image.astype(np.uint8)).save(folder / f"{number:03d}.png")
        split = "test" if number % 3 == 0 else "train"
        shop = "tiny" if number in (3, 99, 201) else shop
        rows.append(f"{number:03d}.png,{('night', 'day')[is_day]},{split},{shop}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def run(command, shelf, tmp_path_factory):
    """Runs with these gates on slices, and lenient ones else.

    Returns the end of the command, and the folder of the newest run.
    """
    place = tmp_path_factory.mktemp("shelf")
    begun = command("init", place / "shelf", "--data", shelf)
    assert begun.code == 0, begun.errors

    def started(asked, *required):
        values = {
            "training.epochs": 8,
            "training.widths": [16, 16],
            "gates.accuracy": 0,
            "gates.class_recall": 0,
            "gates.accuracy_drop": 1,
            "gates.slices": asked,
            "gates.required_slices": required,
        }
        sets = [
            word
            for key, value in values.items()
            for word in ("--set", f"{key}={json.dumps(value)}")
        ]
        output = place / "outputs"
        ended = command(
            "run", "--config", place / "shelf" / "pipeline.toml", "--output-dir", output, *sets
        )
        folders = sorted(path.parent for path in output.glob("*/runs/*/receipt.json"))
        return ended, folders[-1] if folders else None

    return started


def receipt_in(folder):
    return json.loads((folder / "receipt.json").read_text(encoding="utf-8"))


def test_a_model_that_is_weak_in_one_shop_is_refused_for_it_alone(run):
    ended, folder = run({"shop": {"accuracy": 0.6, "min_images": 30}}, "shop=gone")
    assert ended.code == 3, ended.errors
    receipt = receipt_in(folder)
    missed = {gate["slice"] for gate in receipt["gates"] if not gate["passed"]}
    assert missed == {"shop=07", "shop=gone"}
    shop = receipt["evaluation"]["slices"]["shop"]
    assert {value: each["judged"] for value, each in shop["values"].items()} == {
        "(missing)": True,
        "07": True,
        "7": True,
        "north": True,
        "tiny": False,
    }
    assert sum(each["count"] for each in shop["values"].values()) == receipt["evaluation"]["count"]
    section = lxml.html.parse(str(folder / "review.html")).getroot().get_element_by_id("slices")
    rows = [row.findtext("th") for row in section.iterfind(".//tbody/tr")]
    assert rows[:2] == ["07", "gone"]
    assert rows[-1] == "tiny"


def test_other_slices_do_not_train_again(run):
    _, refused = run({"shop": {"accuracy": 0.6, "min_images": 30}}, "shop=gone")
    ended, pushed = run({"shop": {}})
    assert ended.code == 0, ended.errors
    before, after = receipt_in(refused), receipt_in(pushed)
    assert after["model_digest"] == before["model_digest"]
    assert after["nodes"]["Trainer"]["status"] == "cached"
    assert after["nodes"]["Blessing"]["status"] == "complete"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"town": {}}, "the column town, which the data does not have"),
        ({"shop": {"min_images": 1000}}, "but the test split has 160 images"),
        ({"label": {}}, "none of the reserved names"),
    ],
)
def test_slices_that_cannot_be_are_refused_before_anything_starts(run, asked, told):
    ended, _ = run(asked)
    assert ended.code == 2
    assert told in ended.errors
