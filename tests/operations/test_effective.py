"""Effective values: each says where it comes from."""

import pytest

from operations.effective import effective
from pipeline import config
from pipeline.errors import ConfigurationError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pipeline.toml"
    path.write_text('name = "flowers"\nseed = 4\n[training]\nepochs = 30\nbatch_size = 16\n')
    return path


def origins(*arguments):
    return {each.key: (each.value, each.origin) for each in effective(*arguments)}


def test_every_key_is_told_after_data_and_profile():
    keys = [each.key for each in effective(None, None, ())]
    assert keys == ["data", "profile", *config.known_keys()]
    assert {each.origin for each in effective(None, None, ())} == {"default"}


def test_what_is_asked_for_later_wins(file):
    found = origins(file, "smoke", ["training.epochs=2", "gates.accuracy=0.5"])
    assert found["profile"] == ("smoke", "--profile")
    assert found["name"] == ("flowers", str(file))
    assert found["seed"] == (4, str(file))
    assert found["training.batch_size"] == (16, str(file))
    assert found["training.epochs"] == (2, "--set")
    assert found["gates.accuracy"] == (0.5, "--set")
    assert found["training.widths"] == ([16, 32, 48], "profile smoke")
    assert found["training.l2"] == (0.0, "default")


def test_the_sample_has_values_of_its_own(tmp_path):
    path = tmp_path / "sample.toml"
    path.write_text('data = "sample"\n')
    found = origins(path, None, ())
    assert found["data"] == ("sample", str(path))
    assert found["profile"] == ("smoke", "default")
    assert found["split.validation"] == (100, "sample")
    # In the profile, too, and the sample has the last word.
    assert found["training.epochs"] == (3, "sample")


def test_the_profile_of_a_file_is_told(tmp_path):
    path = tmp_path / "best.toml"
    path.write_text('profile = "best"\n')
    found = origins(path, None, ())
    assert found["profile"] == ("best", str(path))
    assert found["training.epochs"] == (50, "profile best")


@pytest.mark.parametrize("assignment", ["nonsense=1", "training.epochs", "training.epochs=many"])
def test_what_a_run_refuses_is_refused(assignment):
    with pytest.raises(ConfigurationError):
        effective(None, None, [assignment])
