"""The settings are the same after their conversion to the parameters of a node and back."""

import dataclasses
import json

import pytest

from components.trainer.settings import Settings, with_run_parameters
from pipeline import config
from pipeline.profiles import PROFILES


def test_settings_come_back_from_json_as_they_were(settings):
    text = json.dumps(dataclasses.asdict(settings))
    assert Settings.from_dict(json.loads(text)) == settings


@pytest.mark.parametrize("profile", PROFILES)
def test_the_configuration_holds_all_settings_but_those_that_the_graph_adds(profile):
    values = config.load_config(profile).training.model_dump()
    loaded = Settings.from_dict({**values, "seed": 3, "identity": "x", "background": 255})
    assert loaded.widths == values["widths"]
    assert dataclasses.asdict(loaded.augmentation) == values["augmentation"]


def test_an_unknown_setting_is_refused(settings):
    with pytest.raises(TypeError, match="momentum"):
        Settings.from_dict({**dataclasses.asdict(settings), "momentum": 0.9})


def test_seed_and_data_digest_become_part_of_the_settings(settings):
    """They are separate parameters, but determine which snapshot a training resumes from."""
    values = {k: v for k, v in dataclasses.asdict(settings).items() if k != "seed"}
    given = {"seed": 9, "data_digest": "of the data"}
    loaded = Settings.from_dict(with_run_parameters(values, **given))
    assert loaded.seed == 9
    assert dataclasses.replace(loaded, seed=settings.seed, identity=settings.identity) == settings
    others = [{**given, "seed": 8}, {**given, "data_digest": "of other data"}]
    assert loaded not in [Settings.from_dict(with_run_parameters(values, **o)) for o in others]
