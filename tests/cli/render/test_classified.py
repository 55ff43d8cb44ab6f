"""What `predict` prints, for people and for programs."""

import json

import pytest

from cli.render import classified
from operations.predict import Answer, Choice, Classified
from operations.questions import Refused

MODEL = ("/out/clothes/serving/17", "clothes", 17)
CHOICES = (Choice("[bold]Bag", 0.5), Choice("Hat", 0.25))


@pytest.mark.parametrize(
    ("low_confidence", "notes", "line"),
    [
        (True, ("padded",), "a.png: [bold]Bag 0.500, Hat 0.250  (low confidence; padded)"),
        (False, ("padded",), "a.png: [bold]Bag 0.500, Hat 0.250  (padded)"),
        (False, (), "a.png: [bold]Bag 0.500, Hat 0.250"),
    ],
)
def test_people_read_the_model_and_a_line_for_each_image(capsys, low_confidence, notes, line):
    answer = Answer("a.png", CHOICES, low_confidence, notes)
    classified.print_classified(Classified(*MODEL, (answer,), ()), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "Model version 17 of clothes (/out/clothes/serving/17)",
        line,
    ]


def test_programs_read_one_document(capsys):
    answer = Answer("a.png", CHOICES, True, ("padded",))
    classified.print_classified(Classified(*MODEL, (answer,), ()), as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "model": "/out/clothes/serving/17",
        "pipeline": "clothes",
        "version": 17,
        "answers": [
            {
                "file": "a.png",
                "choices": [
                    {"class_name": "[bold]Bag", "probability": 0.5},
                    {"class_name": "Hat", "probability": 0.25},
                ],
                "low_confidence": True,
                "notes": ["padded"],
            }
        ],
        "refused": [],
    }


def test_names_cannot_command_the_terminal(capsys):
    """A class or a file may be called anything, and a terminal obeys escape sequences."""
    answer = Answer("\x1b[2Ja.png", (Choice("\x1b]0;title\x07", 0.5),), False, ())
    refused = Refused("b\n\x1b[31m\udcff.png", "is empty")
    classified.print_classified(Classified(*MODEL, (answer,), (refused,)), as_json=False)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1:] == [r"\x1b[2Ja.png: \x1b]0;title\x07 0.500"]
    assert printed.err == "error: b\\n\\x1b[31m\\xff.png: is empty\n"


def test_programs_read_what_was_refused(capsys):
    refused = Refused("b\x1b.png", "is empty")
    classified.print_classified(Classified(*MODEL, (), (refused,)), as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["refused"] == [{"file": "b\x1b.png", "reason": "is empty"}]


@pytest.mark.parametrize(("count", "text"), [(500, ""), (1000, "1,000 images classified\n")])
def test_progress_is_shown_of_many_images(capsys, count, text):
    classified.print_progress(count)
    assert capsys.readouterr() == ("", text)
