"""The keys of the configuration, for people and for programs."""

import json

from cli.render import keys
from pipeline import config


def test_every_key_is_listed_with_its_default(capsys):
    keys.print_keys("default", as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    listed = {line[0] for line in lines}
    assert set(config.known_keys()) <= listed
    assert ["training.widths", "[48,", "96,", "192]"] in [line[:4] for line in lines]


def test_every_key_is_listed_as_json(capsys):
    keys.print_keys("default", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == set(config.known_keys())
    assert found["training.augmentation.flip"]["default"] is True
    assert all(entry["about"] for entry in found.values())


def test_the_values_are_those_of_the_profile(capsys):
    keys.print_keys("smoke", as_json=True)
    smoke = json.loads(capsys.readouterr().out)
    assert smoke["gates.accuracy"]["default"] == config.load_config("smoke").gates.accuracy
