"""What `predict` prints, for people and for programs."""

import json

import pytest

from cli.render import classified
from operations.predict import Answer, Choice, Classified

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
    classified.print_classified(Classified(*MODEL, (answer,)), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "Model version 17 of clothes (/out/clothes/serving/17)",
        line,
    ]


def test_programs_read_one_document(capsys):
    answer = Answer("a.png", CHOICES, True, ("padded",))
    classified.print_classified(Classified(*MODEL, (answer,)), as_json=True)
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
    }
