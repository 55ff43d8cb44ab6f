"""What is printed of a verified run."""

import json

from cli.render.verification import print_verification
from operations.verify import Verification

DIFFERENT = Verification(
    "20260102-030405",
    {"ExampleGen.examples": True, "Trainer.model": False, "Predictions.predictions": False},
    ("code: [red]x.py holds something else than then",),
)


def printed(capsys, found):
    print_verification(found, as_json=False)
    return capsys.readouterr().out


def test_a_difference_is_printed_with_its_artifact_and_the_reasons(capsys):
    text = printed(capsys, DIFFERENT)
    rows = [line.split() for line in text.splitlines()[:4]]
    assert rows == [
        ["artifact"],
        ["ExampleGen.examples", "identical"],
        ["Trainer.model", "differs"],
        ["Predictions.predictions", "differs"],
    ]
    assert text.endswith(
        "\nRun 20260102-030405 is not reproduced: Trainer.model is the first artifact that "
        "differs.\n  code: [red]x.py holds something else than then\n"
    )


def test_a_difference_without_a_reason_is_a_fault_of_the_pipeline(capsys):
    text = printed(capsys, Verification("20260102-030405", {"Trainer.model": False}, ()))
    assert text.endswith("differs: that would be a fault of the pipeline\n")


def test_a_run_that_is_reproduced_is_printed(capsys):
    text = printed(capsys, Verification("20260102-030405", {"Trainer.model": True}, ()))
    assert text.endswith("\nRun 20260102-030405 is reproduced, to the bit.\n")


def test_what_changed_nothing_is_printed_too(capsys):
    reasons = ('lock: "a.txt" then, "b.txt" now',)
    text = printed(capsys, Verification("20260102-030405", {"Trainer.model": True}, reasons))
    assert text.endswith(f"What differs between the runs changed nothing:\n  {reasons[0]}\n")


def test_it_is_printed_as_json(capsys):
    print_verification(DIFFERENT, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "run_id": "20260102-030405",
        "identical": False,
        "first_difference": "Trainer.model",
        "artifacts": DIFFERENT.artifacts,
        "reasons": list(DIFFERENT.reasons),
    }
