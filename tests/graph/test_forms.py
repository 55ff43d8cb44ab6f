"""From a data set in each form to a pushed model, and the same images make the same model."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import made_images
from pipeline.datasets.schema_file import read_schema

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]
ROWS = {
    "manifest": made_images.write_manifest,
    "pixel table": made_images.write_pixel_table,
    "Parquet of images": made_images.write_parquet,
    "arrays": made_images.write_arrays,
}


@pytest.fixture(scope="module")
def originals(few_images, tmp_path_factory):
    return few_images.write(tmp_path_factory.mktemp("originals"))


@pytest.fixture(scope="module")
def in_form(originals, tmp_path_factory):
    """Writes the images of the IDX files in another form; returns the folder."""

    def written(write):
        folder = tmp_path_factory.mktemp("form")
        class_names = read_schema(str(PROJECT / "schema" / "schema.pbtxt"))[0].class_names
        for half in made_images.halves(originals, class_names, None, 1):
            write(folder, half)
        return folder

    return written


@pytest.fixture(scope="module")
def run(run_graph, undemanding, tmp_path_factory):
    def started(folder, *arguments):
        output = tmp_path_factory.mktemp("run") / "outputs"
        return run_graph(output, *undemanding(folder), *arguments)

    return started


@pytest.fixture(scope="module")
def from_idx(run, originals):
    return run(originals)


@pytest.mark.parametrize("form", ROWS)
def test_the_same_images_with_the_same_ids_make_the_same_model(form, run, in_form, from_idx):
    made = run(in_form(ROWS[form]))
    assert made.receipt["verdict"] == "pushed"
    assert made.receipt["reading"]["form"] == form
    assert made.receipt["model_digest"] == from_idx.receipt["model_digest"]


def test_class_folders_make_a_model_of_the_same_images(run, in_form, from_idx, set_values):
    """Their ids are paths, so that other images validate and the order of training is another."""
    made = run(in_form(made_images.write_class_folders))
    assert made.receipt["verdict"] == "pushed"
    assert made.receipt["reading"]["form"] == "class folders"
    assert made.receipt["evaluation"]["count"] == from_idx.receipt["evaluation"]["count"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Small photographs of two clear classes, in JPEG files of many sizes; one file is none."""
    folder = tmp_path_factory.mktemp("own") / "photos"
    random = np.random.default_rng(1)
    for number in range(160):
        name = ("night", "day")[number % 2]
        width, height = random.integers(30, 120, 2)
        image = random.integers(0, 60, (height, width, 3)) + (190 if name == "day" else 0)
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).save(folder / name / f"{number:03d}.jpg")
    (folder / "day" / "broken.jpg").write_bytes(b"no image")
    return folder


def test_two_commands_lead_from_photographs_to_a_model_that_answers(command, photographs, tmp_path):
    named, output = tmp_path / "skies", ("--output-dir", tmp_path / "outputs")
    begun = command("init", named, "--data", photographs)
    assert begun.code == 0, begun.errors
    assert "day/broken.jpg" in begun.output
    run = ("run", "--config", named / "pipeline.toml", *output)
    stopped = command(*run)
    assert stopped.code == 1
    assert "day/broken.jpg" in stopped.output
    assert "data.bad_files=skip" in stopped.output
    ended = command(*run, "--set", "data.bad_files=skip", "--set", "data.max_bad_share=0.05")
    assert ended.code == 0, ended.errors
    receipts = sorted((tmp_path / "outputs").glob("*/runs/*/receipt.json"))
    receipt = json.loads(receipts[-1].read_text(encoding="utf-8"))
    assert [file["name"] for file in receipt["reading"]["skipped"]] == ["day/broken.jpg"]
    shown = command("runs", "show", "latest", *output)
    assert "day/broken.jpg" in shown.output
    answered = command(
        "predict", photographs, "--config", named / "pipeline.toml", "--json", *output
    )
    # The broken file is named, and all others are answered.
    assert answered.code == 2
    assert [entry["file"] for entry in answered.json["refused"]] == [
        str(photographs / "day" / "broken.jpg")
    ]
    right = [
        answer["choices"][0]["class_name"] in answer["file"] for answer in answered.json["answers"]
    ]
    assert len(right) == 160
    assert np.mean(right) > 0.95
