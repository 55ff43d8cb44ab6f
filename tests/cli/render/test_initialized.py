"""What `init` prints."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cli.render.initialized import print_initialized
from components.example_gen.readers.base import Bad, Form
from operations.initialization import tested
from operations.initialization.command import Initialized
from operations.initialization.look import Look, Sample
from operations.initialization.shares import Division
from operations.initialization.suggestion import Suggestion


@pytest.fixture
def made():
    """A result with an odd name of a class and bad images."""
    bad = tuple(Bad(f"{number}\x1b[1m.png", "damaged") for number in range(12))
    sides = np.array([100, 200, 300])
    look = Look(
        data=Path("/photos"),
        form=Form.CLASS_FOLDERS,
        summary="class folders with 40 classes",
        ignored=("notes.txt: not part of the data",),
        doubts=(),
        class_names=("[bold]rose", *(f"class {number}" for number in range(2, 41))),
        counts={
            "train": (0,) * 40,
            "val": (0,) * 40,
            "test": (0,) * 40,
            "undecided": (1000, *(20,) * 39),
        },
        sample=Sample(
            15,
            *(sides, sides, sides),
            *(0, "dark", np.zeros((0, 3)), None, np.zeros((0, 2, 2))),
            *(bad, np.arange(15), np.arange(15) < 12),
        ),
        division=Division(0.15, 0.2, is_complete=True),
        bad_share=0.8,
        columns={"shop": 3},
        window=3,
        lacking=("class 2",),
        tested=tested.Tested((1000, *(20,) * 39), False, True, None, ()),
        is_guess=False,
    )
    suggestion = Suggestion((96, 96, 3), "the median", "colours", (), ("Look at this.",), 1000)
    return Initialized(Path("my flowers"), "my-flowers", look, suggestion)


@pytest.fixture
def printed(made, capsys):
    print_initialized(made)
    return capsys.readouterr().out


def test_counts_and_suggestions_are_shown(printed):
    for text in (
        "Data        /photos: class folders with 40 classes",
        "Ignored     notes.txt: not part of the data",
        "Spans       the newest 3 are trained on, so that each class has images",
        "Split       train, val and test are drawn, since the data names no test images",
        "Sizes       height 110, 200, 290; width 110, 200, 290 (5th, 50th, 95th percentile of 3",
        "Image size  96x96: the median",
        "Channels    3: colours",
        "Borders     dark",
        "Balance     20 to 1,000 images per class, 50.0 to 1",
        "Columns     shop (3 values); docs",
        "Training    at most 13 epochs of about 1,000 images, roughly 2 minutes on two cores",
        "Warning     Look at this.",
        "Pipeline    my-flowers: a run writes its results to outputs/my-flowers",
    ):
        assert text in printed


@pytest.mark.parametrize("is_given", [True, False])
def test_validation_images_of_the_data_are_not_said_to_be_drawn(made, capsys, is_given):
    source = dataclasses.replace(made.look.tested, is_given=is_given)
    counts = {**made.look.counts, "val": (5,) * 40}
    look = dataclasses.replace(made.look, counts=counts, tested=source)
    print_initialized(dataclasses.replace(made, look=look))
    told = {
        True: "Split       train, val and test are given by the data",
        False: "Split       the validation images are given by the data; the images for test are "
        "drawn",
    }
    assert told[is_given] in capsys.readouterr().out


def test_many_classes_and_bad_images_are_cut(printed):
    assert "and 10 more classes" in printed
    assert printed.count("Bad         ") == 11
    assert "Bad         and 2 more" in printed


def test_names_reach_the_terminal_escaped(printed):
    assert "\x1b" not in printed
    assert "[bold]rose" in printed


def test_the_next_command_is_last(printed):
    assert printed.endswith(
        "  python3 pipeline_runner.py run --config 'my flowers/pipeline.toml'\n"
    )
