"""The served model before a run: found sound and for the same task, or refused with a way out."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.image_schema import ImageSchema
from operations import resume
from pipeline.datasets.schema_file import read_schema
from pipeline.errors import ServedModelError
from pipeline.records import served_version

PIPELINE = "fashion-mnist-sample-smoke"
SCHEMA = ImageSchema(28, 28, 1, ("[bold]x", "Boot"))
OTHER = dataclasses.replace(SCHEMA, class_names=("Bag", "Boot"))


@pytest.fixture
def pushed(past):
    """Pushes a model of these weights; returns its version."""
    days = iter(range(1, 28))
    return lambda model: past.run(f"202601{next(days):02d}-120000", model).pushed_version


def damage(locations, version):
    (locations.serving / str(version) / "saved_model.pb").write_text("damaged")


def test_where_nothing_is_served_there_is_no_version_to_compare_with(locations):
    assert served_version.version_to_compare(locations, SCHEMA, new_line=False) is None


def test_the_newest_version_is_the_one_to_compare_with(pushed, locations):
    pushed("a")
    newest = pushed("b")
    assert served_version.version_to_compare(locations, SCHEMA, new_line=False) == newest


@pytest.mark.parametrize("schema", [OTHER, dataclasses.replace(SCHEMA, channels=3)])
def test_a_served_model_for_another_task_is_told_with_both_ways_out(pushed, locations, schema):
    version = pushed("a")
    with pytest.raises(ServedModelError) as caught:
        served_version.version_to_compare(locations, schema, new_line=False)
    assert caught.value.exit_code == 2
    told = str(caught.value)
    assert f"served version {version} of clothes is for 28x28x1 images in 2 classes" in told
    assert "--set name=NAME" in told
    assert "--new-line" in told


@pytest.mark.parametrize("schema", [OTHER, dataclasses.replace(SCHEMA, channels=3)])
def test_a_new_line_is_compared_with_none(pushed, locations, schema):
    pushed("a")
    assert served_version.version_to_compare(locations, schema, new_line=True) is None


def test_a_new_line_is_no_way_around_the_comparison(pushed, locations):
    version = pushed("a")
    with pytest.raises(
        ServedModelError, match=f"served version {version} of clothes has the image"
    ):
        served_version.version_to_compare(locations, SCHEMA, new_line=True)


def test_a_new_line_needs_a_served_model_to_differ_from(locations):
    with pytest.raises(ServedModelError, match="nothing is served"):
        served_version.version_to_compare(locations, SCHEMA, new_line=True)


@pytest.mark.parametrize("number", [10**18 - 1, 10**18, 2**63 - 1])
def test_a_version_that_no_other_could_follow_is_refused(pushed, locations, number):
    """Servers would load it for ever, and not what is pushed next."""
    version = pushed("a")
    (locations.serving / str(version)).rename(locations.serving / str(number))
    with pytest.raises(ServedModelError, match=f"{number} has so high a number"):
        served_version.version_to_compare(locations, SCHEMA, new_line=False)


@pytest.mark.parametrize("new_line", [False, True])
def test_a_served_model_that_cannot_be_read_stops_the_run_with_a_way_out(
    pushed, locations, new_line
):
    pushed("a")
    damage(locations, pushed("b"))
    command = (
        "python3 pipeline_runner.py rollback --list --pipeline clothes "
        f"--output-dir {locations.root.parent}"
    )
    with pytest.raises(ServedModelError) as caught:
        served_version.version_to_compare(locations, OTHER, new_line)
    assert "are not those that were published" in str(caught.value)
    assert str(caught.value).endswith(command)


def test_the_only_version_may_be_removed(pushed, locations):
    version = pushed("a")
    damage(locations, version)
    told = f"or remove {locations.serving / str(version)}: the next model is then compared with"
    with pytest.raises(ServedModelError, match=told):
        served_version.version_to_compare(locations, SCHEMA, new_line=False)


def test_resume_asks_for_a_new_line_again(receipt, keep_receipt, locations, output_dir):
    keep_receipt(receipt, request=receipt.request.model_copy(update={"new_line": True}))
    assert resume.request_of("latest", output_dir, False).new_line
    # Where it was cut off after its push, the line has begun.
    (locations.serving / "17").mkdir(parents=True)
    assert not resume.request_of("latest", output_dir, False).new_line


@pytest.fixture
def serve(tmp_path):
    """Serves a model that somebody put there by hand, of these classes; returns the folder."""

    def put(names, pipeline=PIPELINE, **description):
        export = tmp_path / "outputs" / pipeline / "serving" / "17"
        (export / "assets.extra").mkdir(parents=True)
        (export / "saved_model.pb").write_text("model")
        described = {"image_shape": [28, 28, 1], "class_names": names, **description}
        (export / "assets.extra" / "image_schema.json").write_text(json.dumps(described))
        return export

    return put


@pytest.mark.parametrize(
    ("names", "arguments", "words"),
    [
        (["cat", "dog"], [], "is for 28x28x1 images in 2 classes (cat, dog)"),
        (None, [], "does not say image_shape and class_names"),
        ("absent", ["--new-line"], "nothing is served"),
    ],
)
def test_a_run_is_refused_before_anything_heavy_is_imported(
    serve, light_command, tmp_path, names, arguments, words
):
    if names != "absent":
        serve(names)
    place = ["--data", "sample", "--output-dir", tmp_path / "outputs"]
    ended = light_command("run", *place, *arguments)
    assert ended.code == 2, ended.errors
    (line,) = [line for line in ended.errors.splitlines() if line.startswith("error: ")]
    assert words in line
    assert not list((tmp_path / "outputs" / PIPELINE).glob("runs/*"))


@pytest.fixture
def run_photographs(serve, light_command, tmp_path):
    """Begins a run on files of images, 30 x 40 pixels, with a served model that pads such files."""
    schema, _ = read_schema(str(Path(__file__).resolve().parents[3] / "schema" / "schema.pbtxt"))
    serve(schema.class_names, "photographs-smoke", fit="pad", background=0)
    for number in range(100):
        folder = tmp_path / "data" / ("test" if number >= 70 else "train") / str(number % 10)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 30), number, np.uint8)).save(folder / f"{number}.png")
    values = ("name=photographs", "split.validation=2")
    arguments = ("run", "--profile", "smoke", *(a for value in values for a in ("--set", value)))

    def run(*settings, **environment):
        place = ("--data", tmp_path / "data", "--output-dir", tmp_path / "outputs")
        asked = [a for value in settings for a in ("--set", value)]
        return light_command(*arguments, *place, *asked, **environment)

    return run


def test_a_person_is_warned_that_the_served_model_gets_images_prepared_otherwise(run_photographs):
    ended = run_photographs("images.fit=crop", "images.background=9")
    words = (
        "prepares image files with images.fit=pad and images.background=0, and this run with "
        "images.fit=crop and images.background=9."
    )
    assert words in ended.errors
    assert "Warning: served version 17 of photographs-smoke" in ended.errors
    # It went on.
    assert "heavy import" in ended.errors


def test_a_run_that_prepares_images_like_the_served_model_is_not_warned(run_photographs):
    ended = run_photographs(IMAGE_PIPELINE_ATTEMPT="of a schedule")
    assert "prepares image files" not in ended.errors
    assert "heavy import" in ended.errors


def test_a_scheduled_run_that_prepares_images_otherwise_is_refused(run_photographs, tmp_path):
    ended = run_photographs("images.fit=crop", IMAGE_PIPELINE_ATTEMPT="of a schedule")
    assert ended.code == 2
    assert "images.fit=pad, and this run with images.fit=crop; expected the same" in ended.errors
    assert not (tmp_path / "outputs" / "photographs-smoke" / "runs").exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_should_be_the_serving_folder_and_is_none_stops_the_run(locations, kind):
    """A link that leads nowhere, say to a disk that is not mounted, is no first model."""
    locations.root.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        locations.serving.write_text("")
    else:
        locations.serving.symlink_to(locations.root / "unmounted")
    with pytest.raises(ServedModelError) as refusal:
        served_version.version_to_compare(locations, SCHEMA, new_line=False)
    assert str(refusal.value).startswith(f"{locations.serving} is no folder; expected")


def test_a_version_that_is_a_link_to_nowhere_is_no_first_model(locations):
    locations.serving.mkdir(parents=True)
    (locations.serving / "17").symlink_to(locations.root / "unmounted")
    with pytest.raises(ServedModelError, match=r"saved_model\.pb is missing or empty"):
        served_version.version_to_compare(locations, SCHEMA, new_line=False)
