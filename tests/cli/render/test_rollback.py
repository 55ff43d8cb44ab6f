"""What is printed of a rollback and of the versions that can be served again."""

import json
import shutil

import pytest

from cli import serving
from cli.render import rollback as render
from components.pusher import bucket, versions
from operations import rollback
from tests.made_runs import CLASSES

pytestmark = pytest.mark.usefixtures("sound_versions")


@pytest.fixture
def pushed(past):
    """The numbers of two versions."""
    models = (("20260101-120000", "a"), ("20260102-120000", "b"))
    return [past.run(run_id, model).pushed_version for run_id, model in models]


def test_a_rollback_is_printed_with_the_folder_that_is_served_then(pushed, locations, capsys):
    first, second = pushed
    done = rollback.rollback(locations, None)
    render.print_rollback(locations, done, None, as_json=False)
    folder = locations.serving / str(done.new_version)
    assert capsys.readouterr().out == (
        f"Served    {folder}: version {first} again, instead of {second}\n"
    )
    render.print_rollback(locations, done, None, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "pipeline": "clothes",
        "rolled_back_from": second,
        "rolled_back_to": first,
        "new_version": done.new_version,
        "user": done.user,
        "time": done.time,
        "withdrawn": done.withdrawn,
        "restored": done.restored,
        "withdrawn_answers": done.withdrawn_answers,
        "restored_answers": done.restored_answers,
        "withdrawn_weights": done.withdrawn_weights,
        "restored_weights": done.restored_weights,
        "differs": None,
        "dry_run": False,
    }


def test_a_check_says_that_the_last_rollback_would_be_completed(
    pushed, locations, capsys, monkeypatch
):
    done = rollback.rollback(locations, None)
    bucket.remember(locations.serving, "s3://models/clothes")
    monkeypatch.setattr(bucket, "whole_versions", lambda _: pushed)
    options = {"pipeline": "clothes", "output_dir": locations.root.parent}
    serving.rollback(to=None, list_versions=False, dry_run=True, as_json=False, **options)
    assert capsys.readouterr().out == (
        f"Version {done.new_version} is served since the last rollback, and the bucket lacks it. "
        "This rollback would only copy it there. Nothing changed.\n"
    )
    serving.rollback(to=None, list_versions=False, dry_run=True, as_json=True, **options)
    printed = json.loads(capsys.readouterr().out)
    assert printed == {
        "pipeline": "clothes",
        "version": done.new_version,
        "differs": None,
        "dry_run": True,
    }


def test_a_check_is_printed(pushed, locations, capsys):
    first, _ = pushed
    target = rollback.check(locations, None)
    render.print_check(locations, target, None, as_json=False)
    assert capsys.readouterr().out == (
        f"Version {first} is sound: it answers its reference images as before. Nothing changed.\n"
    )
    render.print_check(locations, target, None, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "pipeline": "clothes",
        "version": first,
        "differs": None,
        "dry_run": True,
    }


def test_versions_are_listed_newest_first(pushed, past, locations, capsys):
    first, second = pushed
    stray = locations.serving / "99999999999"
    shutil.copytree(locations.serving / str(first), stray)
    known = rollback.read_versions(locations)
    render.print_versions(known, as_json=True)
    documents = json.loads(capsys.readouterr().out)
    assert [document["version"] for document in documents] == [99999999999, second, first]
    assert documents[1] == {
        "version": second,
        "run_id": "20260102-120000",
        "published": known[1].published,
        "accuracy": past.template.evaluation.accuracy,
        "digest": versions.content_digest(locations.serving / str(second)),
        "can_be_rolled_back_to": True,
        "obstacle": None,
        "differs": None,
    }
    assert documents[0]["run_id"] is documents[0]["accuracy"] is None
    assert documents[0]["obstacle"] == "it is served now"

    render.print_versions(known, as_json=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    accuracy = f"{past.template.evaluation.accuracy:.4f}"
    published = [version.published for version in known]
    assert lines == [
        "version run published accuracy rollback",
        "99999999999 no: it is served now",
        f"{second} 20260102-120000 {published[1]} {accuracy} yes",
        f"{first} 20260101-120000 {published[0]} {accuracy} "
        "no: it is the same model as the served version",
    ]


@pytest.fixture
def new_line(pushed, past, tmp_path):
    """A third version, for other classes and images."""
    described = tmp_path / "export" / "assets.extra" / "image_schema.json"
    described.parent.mkdir(parents=True)
    described.write_text('{"image_shape": [32, 32, 3], "class_names": ["Rose", "Tulip"]}')
    past.exports["c"] = tmp_path / "export"
    return past.run("20260103-120000", "c").pushed_version


def test_other_classes_and_images_are_named_before_and_after_a_rollback(
    pushed, new_line, output_dir, capsys
):
    """Clients of the served version break with it."""
    _, second = pushed
    names = ", ".join(CLASSES)
    ours = f"is for 28x28x1 images in {len(CLASSES)} classes ({names}); version {new_line} is for"
    differs = f"{ours} 32x32x3 images in 2 classes (Rose, Tulip)"

    def ask(to=None, list_versions=False, dry_run=False, as_json=False):
        serving.rollback(to, list_versions, dry_run, "clothes", output_dir, as_json)
        return " ".join(capsys.readouterr().out.split())

    listed = json.loads(ask(list_versions=True, as_json=True))
    assert [version["differs"] for version in listed] == [None, differs, differs]
    assert "yes, but it is for 28x28x1 images in" in ask(list_versions=True)
    told = f"Attention version {second} {differs}. Clients must follow."
    assert told in ask(dry_run=True)
    assert json.loads(ask(dry_run=True, as_json=True))["differs"] == differs
    assert told in ask()
    back = json.loads(ask(to=new_line, as_json=True))
    assert back["differs"].startswith("is for 32x32x3 images in 2 classes (Rose, Tulip); version")
