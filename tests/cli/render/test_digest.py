"""What `digest` prints."""

import dataclasses
import json

from cli.render.digest import print_digest
from operations.digest import ClassCount, DataDigest

FOUND = DataDigest(
    data="/photos",
    form="class folders",
    summary="class folders with 1 class",
    ignored=("notes.txt: not part of the data",),
    doubts=("list.csv is not read.",),
    classes=(ClassCount("[b]rose", 1200, 30, 200),),
    digest="0a" * 32,
)


def test_people_read_classes_and_digest(capsys):
    print_digest(FOUND, as_json=False)
    heading, rose, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["class", "train", "val", "test"]
    assert rose.split() == ["[b]rose", "1,200", "30", "200"]
    assert lines == [
        "",
        "Data    /photos: class folders with 1 class",
        "Ignored notes.txt: not part of the data",
        "Warning list.csv is not read.",
        f"Digest  {'0a' * 32}",
    ]


def test_programs_read_one_document(capsys):
    print_digest(FOUND, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "data": "/photos",
        "form": "class folders",
        "summary": "class folders with 1 class",
        "ignored": ["notes.txt: not part of the data"],
        "doubts": ["list.csv is not read."],
        "classes": [{"name": "[b]rose", "train": 1200, "val": 30, "test": 200}],
        "digest": "0a" * 32,
    }


def test_names_cannot_command_the_terminal(capsys):
    hostile = dataclasses.replace(
        FOUND, data="/pho\x1b[2Jtos", classes=(ClassCount("\x1b[31mrose\n", 1, 2, 3),)
    )
    print_digest(hostile, as_json=False)
    text = capsys.readouterr().out
    assert "\\x1b[31mrose\\n" in text
    assert "/pho\\x1b[2Jtos" in text
    assert text.replace("\n", "").isprintable()
