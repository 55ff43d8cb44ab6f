"""The configuration file of `--config`: TOML, with the data, the profile and any key of `keys`.

    data = "../photos"
    name = "flowers"
    schema_file = "schema.pbtxt"

    [training]
    epochs = 30

Paths count from the folder of the file. The values become assignments `key=value` ahead of those
of `--set`, so that the receipt of a run needs no file to repeat it.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

import pydantic

from components.messages import shown, shown_value
from pipeline import paths
from pipeline.config import (
    Config,
    known_keys,
    load_config,
    nearest,
    pipeline_name,
    present_key,
    profile_keys,
    refused_value,
)
from pipeline.datasets import AUTO, SAMPLE
from pipeline.errors import ConfigurationError

VERSION = 1
# Nobody writes as much by hand; a file of another kind is told at once.
_MOST_BYTES = 2**20
_MOST_BITS = 64
_DATA_PATH = "data.path"
# What a file takes beside the keys of the configuration.
_OTHER_KEYS = ("version", "data", _DATA_PATH, "profile")


@dataclasses.dataclass(frozen=True)
class ConfigFile:
    """A configuration file that was read and checked.

    Attributes:
      data: Full path of the data, `auto` or `sample`; None where the file does not say.
      profile: Name of a profile; None where the file does not say.
      seed: Random seed; None where the file does not say.
      assignments: All other values, `key=value` each; paths are full paths.
    """

    data: str | None = None
    profile: str | None = None
    seed: int | None = None
    assignments: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a configuration file and the command line ask for together.

    Attributes:
      profile: Name of a profile; None where neither says.
      data: Data; None where neither says.
      seed: Random seed; None where neither says.
      assignments: `key=value` each; later ones win.
    """

    profile: str | None
    data: str | None
    seed: int | None
    assignments: tuple[str, ...]

    @property
    def sample(self) -> bool:
        """Whether they ask for the synthetic sample."""
        return self.data == SAMPLE

    @property
    def chosen_profile(self) -> str:
        """Name of the profile, if the data is what is asked for."""
        return self.profile or ("smoke" if self.sample else "default")

    def config(self) -> Config:
        """The configuration, if the data is what is asked for.

        Raises:
          ConfigurationError: If the profile, a key or a value is unknown or out of range.
        """
        return load_config(
            self.chosen_profile, self.assignments, sample=self.sample, seed=self.seed
        )

    def pipeline_name(self) -> str:
        """Name of the pipeline.

        Raises:
          ConfigurationError: If the profile, a key or a value is unknown or out of range.
        """
        return pipeline_name(self.config(), self.sample)


def combine(
    file: pathlib.Path | None,
    *,
    profile: str | None = None,
    data: str | None = None,
    seed: int | None = None,
    assignments: Sequence[str] = (),
) -> Settings:
    """Puts the options of a command line on top of a configuration file.

    Args:
      file: Path of the file; None for no file.
      profile: Profile of the command line; None leaves that of the file.
      data: Data of the command line; None leaves that of the file.
      seed: Seed of the command line; None leaves that of the file.
      assignments: `key=value` of the command line, which win over the file.

    Raises:
      ConfigurationError: If the file cannot be read, or has an unknown key or a bad value.
      PathError: If its path, or one that it holds, cannot be used.
    """
    base = read(file) if file else ConfigFile()
    return Settings(
        profile=base.profile if profile is None else profile,
        data=base.data if data is None else data,
        seed=base.seed if seed is None else seed,
        assignments=(*base.assignments, *assignments),
    )


def read(file: pathlib.Path) -> ConfigFile:
    """Reads and checks a configuration file.

    Raises:
      ConfigurationError: If it cannot be read, or has an unknown key or a bad value.
      PathError: If its path, or one that it holds, cannot be used.
    """
    table = _parsed(_text(file), file)
    _check_version(table.pop("version", VERSION), file)
    values = _once(_values(table, "", file), file)
    data, profile = _data(values, file), _profile(values, file)
    _check(profile, _nested(values), file)
    if "schema_file" in values:
        values["schema_file"] = _from_folder(file, values["schema_file"], "schema_file")
    seed = values.pop("seed", None)
    assignments = tuple(
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()
    )
    return ConfigFile(data, profile, seed, assignments)


def _text(file: pathlib.Path) -> str:
    place = paths.resolved(file, "--config")
    try:
        paths.refuse_endless(place)
        with place.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"--config {file} does not exist; expected a configuration file. Check the path, or "
            "write one with `python3 pipeline_runner.py init NAME --data PATH`."
        ) from error
    except IsADirectoryError as error:
        raise ConfigurationError(
            f"--config {file} is a folder; expected a file in TOML. Name the file in it, such as "
            f"{file / 'pipeline.toml'}."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"--config {file} cannot be read ({error.strerror}); expected a readable file in TOML. "
            "Check its permissions."
        ) from error
    if len(content) > _MOST_BYTES:
        raise ConfigurationError(
            f"--config {file} is larger than 1 MiB; expected a configuration file in TOML. Check "
            "the path."
        )
    try:
        # Some editors begin a file with a byte order mark.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"--config {file}: line {line} is not UTF-8 text; expected TOML, which is UTF-8. Save "
            "the file as UTF-8."
        ) from error


def _parsed(text: str, file: pathlib.Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(text)
        _refuse_long_numbers(table)
        return table
    except RecursionError as error:
        raise ConfigurationError(
            f"--config {file}: lists or tables are nested too deeply; expected at most one list in "
            "a table of a table. docs/configuration.md shows the form."
        ) from error
    # Also a number of thousands of digits.
    except ValueError as error:
        end = f"(at the end, line {len(text.splitlines())})"
        problem = str(error).replace("(at end of document)", end)
        raise ConfigurationError(
            f"--config {file} is not valid TOML: {shown(problem)}; expected lines such as "
            "epochs = 30, and texts in quotes. docs/configuration.md shows the form."
        ) from error


def _refuse_long_numbers(value: object) -> None:
    """Refuses whole numbers beyond TOML's: Python reads hexadecimal ones that it cannot print.

    Raises:
      ValueError: If there is one.
    """
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ValueError(f"a whole number has more than {_MOST_BITS} bits")
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _refuse_long_numbers(part)


def _check_version(version: object, file: pathlib.Path) -> None:
    if type(version) is int and version > VERSION:
        raise ConfigurationError(
            f"--config {file} has version {shown_value(version)}; expected at most {VERSION}, "
            "since this checkout is older than the file: update it."
        )
    if type(version) is not int or version < VERSION:
        raise ConfigurationError(
            f"--config {file}: version: found {shown_value(version)}; expected {VERSION}. "
            f"Write version = {VERSION}, or leave it out."
        )


def _values(table: dict[str, Any], prefix: str, file: pathlib.Path) -> Iterator[tuple[str, Any]]:
    """The value of each dotted key.

    Raises:
      ConfigurationError: If a key is unknown, or a section has a value.
    """
    sections = {key.rpartition(".")[0] for key in known_keys()}
    for name, value in table.items():
        key = present_key(f"{prefix}{name}")
        # A quoted name may hold a dot, but is not the key in a table.
        if isinstance(value, dict) and key in sections and "." not in name:
            yield from _values(value, f"{key}.", file)
        elif "." in name or not (key in known_keys() or key in _OTHER_KEYS):
            raise ConfigurationError(_unknown(key, value, sections, file))
        else:
            yield key, value


def _once(values: Iterator[tuple[str, Any]], file: pathlib.Path) -> dict[str, Any]:
    """Refuses a value that has two names in the file, of which TOML knows nothing."""
    once: dict[str, Any] = {}
    for key, value in values:
        if key in once:
            raise ConfigurationError(
                f"--config {file}: {key} has two values, {shown_value(once[key])} and "
                f"{shown_value(value)}, under its present and its former name; expected one. "
                "Remove the former name."
            )
        once[key] = value
    return once


def _unknown(key: str, value: object, sections: set[str], file: pathlib.Path) -> str:
    if key in sections:
        return (
            f"--config {file}: {key}: found {shown_value(value)}; expected a table. Write "
            f"[{key}] on a line of its own, and the keys below it."
        )
    if key in known_keys():
        table, _, name = key.rpartition(".")
        return (
            f"--config {file}: the key {key} is in quotes, so that its dots are part of a name; "
            f"expected it without quotes. Remove them, or write {name} below [{table}]."
        )
    return (
        f"--config {file}: unknown key {shown(repr(key))}"
        f"{nearest(key, (*known_keys(), *_OTHER_KEYS))}; "
        "expected data, profile, version, or one that `python3 pipeline_runner.py keys` lists."
    )


def _data(values: dict[str, Any], file: pathlib.Path) -> str | None:
    """Takes the data out of the values of a file."""
    key = "data" if "data" in values else _DATA_PATH
    if key not in values:
        return None
    data = values.pop(key)
    if not isinstance(data, str) or not data:
        raise ConfigurationError(
            f"--config {file}: {key}: found {shown_value(data)}; expected a path in quotes, auto "
            "or sample. Change it in the file."
        )
    # As on the command line: a folder of that name is ./auto.
    return data if data in (AUTO, SAMPLE) else _from_folder(file, data, key)


def _profile(values: dict[str, Any], file: pathlib.Path) -> str | None:
    """Takes the profile out of the values of a file."""
    profile = values.pop("profile", None)
    if profile is None:
        return None
    try:
        profile_keys(str(profile))
    except ConfigurationError as error:
        raise ConfigurationError(f"--config {file}: {error}") from error
    return str(profile)


def _check(profile: str | None, values: dict[str, Any], file: pathlib.Path) -> None:
    """Checks a file by itself, so that a bad value is never said to come from the command line."""
    try:
        Config(profile=profile or "default", **values)
    except pydantic.ValidationError as error:
        _, problem = refused_value(error)
        raise ConfigurationError(f"--config {file}: {problem} Change it in the file.") from error


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return nested


def _from_folder(file: pathlib.Path, path: str, key: str) -> str:
    """A path of a file as a full path; an address, which `compile` takes, as it is."""
    if "://" in path:
        return path
    origin = f"--config {file}: {key}"
    # Below the folder, a slip such as `s3:/bucket` would look like a path.
    paths.refuse_address(path, origin, or_bucket=key != "schema_file")
    # Where a link leads to the file, the folder is that of the link, in which the user sees it.
    folder = paths.expanded(file, "--config").absolute().parent
    place = folder / paths.expanded(pathlib.Path(path), origin)
    return str(paths.resolved(place, origin))
