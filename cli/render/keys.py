"""Prints the configuration keys."""

from __future__ import annotations

import json

from cli.render.tables import make_console, plain_table
from pipeline import config


def print_keys(profile: str, as_json: bool) -> None:
    """Prints every key that `run --set` takes, with its value in a profile and its description.

    Raises:
      ConfigurationError: where there is no such profile.
    """
    defaults = config.values_by_key(config.load_config(profile))
    keys = {key: (defaults[key], about) for key, about in config.known_keys().items()}
    if as_json:
        values = {key: {"default": value, "about": about} for key, (value, about) in keys.items()}
        print(json.dumps(values, indent=1))
        return
    table = plain_table("key", profile, "about")
    for key, (value, about) in keys.items():
        table.add_row(key, json.dumps(value), about)
    make_console().print(table)
