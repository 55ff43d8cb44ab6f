"""Other images than the reference data's: in colour, of another size, with other classes."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

SCHEMA = Path(__file__).resolve().parents[2] / "schema" / "schema.pbtxt"
CLASSES = ("Red", "Green", "Blue", "Dark")
SIDE = 32


def colour_schema():
    """The schema of the project with another shape and other classes, and nothing else changed."""
    text = SCHEMA.read_text()
    names = "\n".join(f'  value: "{name}"' for name in CLASSES)
    domain = f'string_domain {{\n  name: "label"\n{names}\n}}'
    text = re.sub(r"string_domain \{.*?\n\}", domain, text, flags=re.DOTALL)
    text = re.sub(r"max: 9\b", f"max: {len(CLASSES) - 1}", text)
    for dimension, size in (("height", SIDE), ("width", SIDE), ("channels", 3)):
        text = re.sub(rf'(name: "{dimension}" size:) \d+', rf"\1 {size}", text)
    return text


def colour_images(per_class, random):
    """Noise in which one channel is bright; for the last class none is."""
    labels = random.permutation(np.repeat(np.arange(len(CLASSES)), per_class))
    images = random.integers(0, 80, (len(labels), SIDE, SIDE, 3))
    for number, label in enumerate(labels):
        if label < 3:
            images[number, ..., label] += 150
    return images.astype(np.uint8), labels.astype(np.uint8)


@pytest.fixture(scope="module")
def images(sample_images):
    random = np.random.default_rng(1)
    train, test = colour_images(150, random), colour_images(25, random)
    return sample_images.change(
        train_images=train[0], train_labels=train[1], test_images=test[0], test_labels=test[1]
    )


@pytest.fixture(scope="module")
def run(images, run_graph, set_values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("colour")
    schema = folder / "schema.pbtxt"
    schema.write_text(colour_schema())
    return run_graph(
        folder / "outputs",
        *("--data", images.write(folder / "data"), "--profile", "smoke"),
        *set_values(name="colour", schema_file=schema, split__validation_per_class=25),
        *set_values(training__batch_size=16, training__epochs=5),
    )


def test_it_ends_pushed_with_its_own_classes(run):
    assert run.receipt["pipeline"] == "colour-smoke"
    assert run.receipt["verdict"] == "pushed"
    assert tuple(run.evaluation["per_class"]) == CLASSES
    assert np.shape(run.evaluation["confusion"]) == (4, 4)
    assert {gate["slice"] for gate in run.receipt["gates"]} == {"overall", *CLASSES}


def test_its_model_sees_colours(run, images, command, tmp_path):
    files = []
    for label in range(4):
        position = int(np.flatnonzero(images.test_labels == label)[0])
        files.append(tmp_path / f"{label}.png")
        Image.fromarray(images.test_images[position]).save(files[-1])
    answered = command("predict", *files, "--json", "--output-dir", run.output_dir)
    assert answered.code == 0, answered.errors
    choices = [answer["choices"][0]["class_name"] for answer in answered.json["answers"]]
    assert choices == list(CLASSES)
