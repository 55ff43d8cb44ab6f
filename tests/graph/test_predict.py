"""`predict`: photographs and IDX files, answered by the pushed model."""

import gzip
import json

import numpy as np
import pytest
from PIL import Image

COUNT = 7


@pytest.fixture(scope="module")
def predict(sample_run, quick_command):
    def run(*arguments):
        return quick_command("predict", *arguments, "--output-dir", sample_run.output_dir)

    return run


@pytest.fixture(scope="module")
def expected(sample_run, sample_images):
    """The model's own first three choices for the first test images."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(sample_run.export))
    pixels = tf.constant(sample_images.test_images[:COUNT])
    rows = loaded.signatures["predict_pixels"](pixels=pixels)["probabilities"].numpy()
    names = list(sample_run.evaluation["per_class"])
    return [
        [{"class_name": names[i], "probability": pytest.approx(row[i], abs=1e-5)} for i in order]
        for row, order in zip(rows, np.argsort(-rows)[:, :3], strict=True)
    ]


@pytest.fixture
def png(sample_images, tmp_path):
    path = tmp_path / "garment.png"
    Image.fromarray(sample_images.test_images[0]).save(path)
    return path


@pytest.fixture
def idx_file(sample_images, as_idx, tmp_path):
    path = tmp_path / "some-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(as_idx(sample_images.test_images[:COUNT])))
    return path


def test_a_png_gets_three_choices(predict, png, expected, sample_run):
    answered = predict(png, "--json")
    assert answered.code == 0, answered.errors
    assert answered.json["model"] == str(sample_run.export)
    (answer,) = answered.json["answers"]
    assert answer["file"] == str(png)
    assert answer["choices"] == expected[0]
    assert answer["low_confidence"] == (answer["choices"][0]["probability"] < 0.6)


def test_an_idx_file_is_answered_image_by_image(predict, idx_file, expected):
    answers = predict(idx_file, "--json").json["answers"]
    assert [answer["file"] for answer in answers] == [f"{idx_file}[{i}]" for i in range(COUNT)]
    assert [answer["choices"] for answer in answers] == expected


def test_a_person_reads_a_line_per_image(predict, png, idx_file, expected):
    answered = predict(png, idx_file)
    model, *lines = answered.output.splitlines()
    assert model.startswith("Model ")
    assert len(lines) == 1 + COUNT
    first = expected[0][0]["class_name"]
    assert lines[0].startswith(f"{png}: {first} ")
    assert lines[1].startswith(f"{idx_file}[0]: {first} ")


def test_a_photograph_on_white_is_inverted_and_said_so(predict, sample_images, expected, tmp_path):
    """Unless it has the size of the training images: then it counts as one of them."""
    path = tmp_path / "on_white.png"
    image = Image.fromarray(255 - sample_images.test_images[0])
    image.save(path)
    (answer,) = json.loads(predict(path, "--json").output)["answers"]
    assert answer["notes"] == []
    (answer,) = json.loads(predict(path, "--json", "--invert", "always").output)["answers"]
    assert answer["choices"] == expected[0]
    image.resize((56, 56)).save(path)
    (answer,) = json.loads(predict(path, "--json").output)["answers"]
    assert any("inverted" in note for note in answer["notes"])


def test_a_folder_is_answered_but_for_its_bad_files(predict, png, expected):
    (png.parent / "bad\x1b.png").write_bytes(b"no image")
    answered = predict(png.parent)
    assert answered.code == 2
    _, line = answered.output.splitlines()
    assert line.startswith(f"{png}: {expected[0][0]['class_name']} ")
    assert "\x1b" not in answered.errors and r"bad\x1b.png" in answered.errors
    answered = predict(png.parent, "--json")
    assert answered.code == 2
    assert [each["file"] for each in answered.json["answers"]] == [str(png)]
    assert [each["file"] for each in answered.json["refused"]] == [f"{png.parent}/bad\x1b.png"]


def test_the_model_of_a_named_pipeline_is_asked(predict, png, sample_run):
    named = predict(png, "--json", "--pipeline", sample_run.receipt["pipeline"])
    assert named.json["model"] == str(sample_run.export)
    unknown = predict(png, "--pipeline", "no-such-pipeline")
    assert unknown.code == 2
    assert "no model has been pushed" in unknown.errors


@pytest.mark.parametrize("name", ["text.png", "bad-idx3-ubyte.gz", "absent.png"])
def test_what_is_no_image_is_told_in_one_line(predict, tmp_path, name):
    path = tmp_path / name
    if name != "absent.png":
        path.write_text("neither pixels nor gzip")
    answered = predict(path)
    assert answered.code == 2
    assert answered.output == ""
    assert answered.errors.startswith("error: ") and str(path) in answered.errors
    assert answered.errors.count("\n") == 1
