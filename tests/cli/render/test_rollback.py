"""What is printed of a rollback and of the versions that can be served again."""

import json
import shutil

import pytest

from cli.render import rollback as render
from components.pusher import versions
from operations import rollback

pytestmark = pytest.mark.usefixtures("sound_versions")


@pytest.fixture
def pushed(past):
    """The numbers of two versions."""
    models = (("20260101-120000", "a"), ("20260102-120000", "b"))
    return [past.run(run_id, model).pushed_version for run_id, model in models]


def test_a_rollback_is_printed_with_the_folder_that_is_served_then(pushed, locations, capsys):
    first, second = pushed
    done = rollback.rollback(locations, None)
    render.print_rollback(locations, done, as_json=False)
    folder = locations.serving / str(done.new_version)
    assert capsys.readouterr().out == (
        f"Served    {folder}: version {first} again, instead of {second}\n"
    )
    render.print_rollback(locations, done, as_json=True)
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
        "dry_run": False,
    }


def test_a_check_is_printed(pushed, locations, capsys):
    first, _ = pushed
    target = rollback.check(locations, None)
    render.print_check(locations, target, as_json=False)
    assert capsys.readouterr().out == (
        f"Version {first} is sound: it answers its reference images as before. Nothing changed.\n"
    )
    render.print_check(locations, target, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "pipeline": "clothes",
        "version": first,
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
