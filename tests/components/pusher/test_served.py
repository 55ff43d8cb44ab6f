"""The served model is read from its folder and checked, or refused with the reason."""

import json
import os
import shutil

import pytest

from components.image_schema import ImageSchema
from components.images import Fit, Preparation
from components.pusher import versions
from components.pusher.served import (
    UnreadableModelError,
    difference,
    preparation_difference,
    read_served,
)

ODD_SHAPES = ([28, 28], [28, 28, 0], [28, -1, 1], [28, 28, 10**400], "[28, 28, true]")
SCHEMA = ImageSchema(28, 28, 1, ("Shirt", "Boot"))


@pytest.fixture
def version(make_export, base, tmp_path):
    """Folder of a version with kept files."""
    (tmp_path / "golden.npz").write_text("questions")
    export = make_export(tmp_path / "export")
    return base / str(versions.publish(export, base, [tmp_path / "golden.npz"]))


def test_the_result_is_none_if_no_model_is_served(base):
    assert read_served(base) is None


def test_it_reads_the_newest_version(version, base):
    newest = versions.publish(version, base)
    served = read_served(base)
    assert (served.version, served.export) == (newest, base / str(newest))
    assert served.digest == versions.content_digest(version)
    assert (served.image_shape, served.class_names) == ((28, 28, 1), ("Shirt", "Boot"))


def truncate(path):
    path.write_bytes(path.read_bytes()[:3])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [truncate, flip, empty, remove])
@pytest.mark.parametrize("kept", [False, True])
def test_each_damage_to_each_file_is_found(version, base, damage, kept):
    folder = versions.kept_folder(base, int(version.name)) if kept else version
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        damage(path)
        with pytest.raises(UnreadableModelError):
            read_served(base)
        path.write_bytes(content)
    assert read_served(base)


def test_an_additional_file_is_detected(version, base):
    (version / "variables" / "more").write_text("more")
    with pytest.raises(UnreadableModelError, match="not those that were published"):
        read_served(base)


@pytest.mark.parametrize(
    "description",
    [
        *("", "{", "[]", "{}", '{"image_shape": 3, "class_names": []}', '{"class_names": ["a"]}'),
        *(f'{{"image_shape": {shape}, "class_names": ["a"]}}' for shape in ODD_SHAPES),
    ],
)
def test_a_version_without_a_description_of_its_inputs_is_refused(
    make_export, base, tmp_path, description
):
    """A version that somebody put there by hand has no kept files to check it with."""
    export = make_export(base / "17")
    (export / "assets.extra" / "image_schema.json").write_text(description)
    with pytest.raises(UnreadableModelError, match=r"image_schema\.json"):
        read_served(base)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"export": "abc"}', "\x00"])
def test_malformed_digests_are_refused(version, base, content):
    (versions.kept_folder(base, int(version.name)) / "digests.json").write_text(content)
    with pytest.raises(UnreadableModelError, match=r"digests\.json"):
        read_served(base)


@pytest.mark.parametrize(
    "name",
    [
        *("../export/saved_model.pb", "/dev/null", "link", "folder", "..", "", ".", "null\0"),
        *("pipe", "\ud800", "absent", "x" * 100_000, "./golden.npz"),
    ],
)
def test_a_kept_file_leads_nowhere_else(version, base, name):
    folder = versions.kept_folder(base, int(version.name))
    (folder / "link").symlink_to(folder / "golden.npz")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    digests = json.loads((folder / "digests.json").read_text())
    digests["files"] = {name: digests["files"]["golden.npz"]}
    (folder / "digests.json").write_text(json.dumps(digests))
    with pytest.raises(UnreadableModelError, match=r"no file of its folder|too long") as caught:
        read_served(base)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("is_absolute", [False, True], ids=["relative", "absolute"])
@pytest.mark.parametrize("place", ["another disk", "folder of the version"])
def test_a_sound_file_elsewhere_is_no_kept_file(version, base, tmp_path, is_absolute, place):
    """Its digest is the one that is named, so that nothing but the path speaks against it."""
    folder = versions.kept_folder(base, int(version.name))
    other = {"another disk": tmp_path, "folder of the version": folder / "inner"}[place] / "secret"
    other.parent.mkdir(exist_ok=True)
    other.write_text("secret")
    digests = json.loads((folder / "digests.json").read_text())
    name = str(other) if is_absolute else os.path.relpath(other, folder)
    digests["files"] = {name: versions.file_digest(other)}
    (folder / "digests.json").write_text(json.dumps(digests))
    with pytest.raises(UnreadableModelError, match="no file of its folder"):
        read_served(base)


def test_digests_that_are_a_pipe_are_refused(version, base):
    digests = versions.kept_folder(base, int(version.name)) / "digests.json"
    digests.unlink()
    os.mkfifo(digests)
    with pytest.raises(UnreadableModelError, match="no regular file"):
        read_served(base)


def test_an_unreadable_file_is_refused(version, base, monkeypatch):
    def refuse(path, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(version), "open", refuse)
    with pytest.raises(UnreadableModelError, match="Permission denied"):
        read_served(base)


def test_an_empty_folder_is_refused(base):
    (base / "17").mkdir(parents=True)
    with pytest.raises(UnreadableModelError, match=r"saved_model\.pb is missing or empty"):
        read_served(base)


def described(version, base, **changes):
    path = version / "assets.extra" / "image_schema.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    shutil.rmtree(base / ".kept")
    return read_served(base)


def test_a_model_for_the_schema_does_not_differ(version, base):
    assert difference(read_served(base), SCHEMA) is None


def test_names_of_classes_in_another_unicode_form_do_not_differ(version, base):
    schema = ImageSchema(28, 28, 1, ("K\xe4se", "Boot"))
    assert difference(described(version, base, class_names=["Ka\u0308se", "Boot"]), schema) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"class_names": ["Shirt", "Sandal"]},
            "is for 28x28x1 images in 2 classes (among them Sandal); "
            "the schema is for 28x28x1 images in 2 classes (among them Boot)",
        ),
        (
            {"class_names": ["Boot", "Shirt"]},
            "is for 28x28x1 images in 2 classes (Boot, Shirt); "
            "the schema is for 28x28x1 images in 2 classes (Shirt, Boot)",
        ),
        (
            {"class_names": ["Shirt", "Boot", "Bag"]},
            "is for 28x28x1 images in 3 classes (among them Bag); "
            "the schema is for 28x28x1 images in 2 classes",
        ),
        (
            {"class_names": ["a", "b", "c", "d"]},
            "is for 28x28x1 images in 4 classes (a, b, c, ...); "
            "the schema is for 28x28x1 images in 2 classes (Shirt, Boot)",
        ),
        (
            {"class_names": ["Shirt", "\x1b[2J"]},
            "is for 28x28x1 images in 2 classes (among them \\x1b[2J); "
            "the schema is for 28x28x1 images in 2 classes (among them Boot)",
        ),
        (
            {"image_shape": [32, 32, 3]},
            "is for 32x32x3 images in 2 classes; the schema is for 28x28x1 images in 2 classes",
        ),
    ],
)
def test_the_difference_names_the_tasks_of_model_and_schema(version, base, changes, words):
    assert difference(described(version, base, **changes), SCHEMA) == words


PADDED = Preparation(28, 28, 1, Fit.PAD, 0)


@pytest.mark.parametrize(
    ("fit", "background", "words"),
    [
        ("pad", 0, None),
        ("crop", 0, "with images.fit=crop, and this run with images.fit=pad"),
        ("pad", 255, "with images.background=255, and this run with images.background=0"),
        (
            "stretch",
            9,
            "with images.fit=stretch and images.background=9, and this run with images.fit=pad and "
            "images.background=0",
        ),
    ],
)
def test_it_is_told_how_a_model_prepares_image_files_otherwise(
    version, base, fit, background, words
):
    model = described(version, base, fit=fit, background=background)
    expected = words and f"prepares image files {words}"
    assert preparation_difference(model, PADDED) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fit": "crop"},
        {"fit": ["crop"], "background": 1},
        {"fit": "crop", "background": True},
        {"fit": "crop", "background": 256},
    ],
)
def test_what_an_export_does_not_say_of_image_files_is_no_difference(version, base, changes):
    assert preparation_difference(described(version, base, **changes), PADDED) is None
