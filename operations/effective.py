"""The effective values of a configuration, and where each comes from."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from pydantic import JsonValue

from pipeline.config import assigned_key, profile_keys, sample_keys, values_by_key
from pipeline.config_file import Settings, combine
from pipeline.datasets import AUTO

_DEFAULT = "default"


@dataclasses.dataclass(frozen=True)
class Value:
    """A value that a run would take.

    Attributes:
      key: Dotted key; `data` and `profile` come first.
      value: The value.
      origin: `default`, the profile, the sample, the configuration file, or the option.
    """

    key: str
    value: JsonValue
    origin: str


def effective(
    file: pathlib.Path | None, profile: str | None, assignments: Sequence[str]
) -> tuple[Value, ...]:
    """The values of a run with a configuration file and options.

    Args:
      file: Configuration file; None for none.
      profile: Profile of the command line; None leaves that of the file.
      assignments: `key=value` of the command line.

    Raises:
      UsageError: The file, the profile, a key or a value is bad.
    """
    base = combine(file)
    settings = combine(file, profile=profile, assignments=assignments)
    values = values_by_key(settings.config())
    origins = _origins(settings, base, file, assignments)
    profile_origin = "--profile" if profile else str(file) if base.profile else _DEFAULT
    return (
        Value("data", settings.data or AUTO, str(file) if base.data else _DEFAULT),
        Value("profile", settings.chosen_profile, profile_origin),
        *(Value(key, value, origins.get(key, _DEFAULT)) for key, value in values.items()),
    )


def _origins(
    settings: Settings, base: Settings, file: pathlib.Path | None, assignments: Sequence[str]
) -> dict[str, str]:
    """Where each key comes from that is not a default; what is asked for later wins."""
    profile = settings.chosen_profile
    origins = dict.fromkeys(profile_keys(profile), f"profile {profile}")
    if settings.sample:
        origins |= dict.fromkeys(sample_keys(profile), "sample")
    in_file = [assigned_key(assignment) for assignment in base.assignments]
    origins |= dict.fromkeys(in_file + ["seed"] * (base.seed is not None), str(file))
    return origins | dict.fromkeys(map(assigned_key, assignments), "--set")
