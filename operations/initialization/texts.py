"""The texts of the files that `init` writes."""

from __future__ import annotations

import json
import math
import re
import shlex
import string
import textwrap
from collections.abc import Iterator, Sequence

from google.protobuf import text_encoding

from components.messages import counted, escaped, listed
from components.slices import MIN_IMAGES, is_column_name
from operations.initialization.doubts import bad_images, skipped_share
from operations.initialization.look import UNDECIDED_SPLIT, Look
from operations.initialization.suggestion import Setting, Suggestion
from pipeline.config import Config

SCHEMA, CONFIGURATION, README = FILES = ("schema.pbtxt", "pipeline.toml", "README.md")
_WIDTH = 96
# The largest change of the share of a class that is no drift, as a share of an even class.
_DRIFT = 0.2
_MOST_ROWS = 100
# A column with more values is rather a name or a number than a group of images.
_MOST_SLICES = 50
_NUMBERS = """ The data has numbers: you may write names in their
# places, in the same order."""

_SCHEMA = string.Template("""\
# The data contract: image shape and class names. `init` wrote it; schema/README.md of the project
# explains each part.

feature {
  name: "image"
  type: BYTES
  # Raw pixels, one byte each, row by row, channels last; the shape is below.
  presence { min_fraction: 1.0 min_count: 1 }
  shape { dim { size: 1 } }
}
feature {
  name: "label"
  type: INT
  # The indices of the class names below.
  int_domain { min: 0 max: $last is_categorical: true }
  presence { min_fraction: 1.0 min_count: 1 }
  shape { dim { size: 1 } }
  # The largest change of any class's share, against the data of the served model, that is not yet
  # a drift: a fifth of an evenly spread class.
  drift_comparator { infinity_norm { threshold: $drift } }
  # Images that come to be classified have no label.
  not_in_environment: "SERVING"
}
feature {
  name: "example_id"
  type: BYTES
  presence { min_fraction: 1.0 min_count: 1 }
  shape { dim { size: 1 } }
  not_in_environment: "SERVING"
}

default_environment: "TRAINING"
default_environment: "SERVING"

# Class names in label order.$hint
string_domain {
  name: "label"
$names
}

# What the bytes of an image mean once decoded.
tensor_representation_group {
  key: "decoded"
  value {
    tensor_representation {
      key: "image"
      value {
        dense_tensor {
          column_name: "image"
          shape {
            dim { name: "height" size: $height }
            dim { name: "width" size: $width }
            dim { name: "channels" size: $channels }
          }
        }
      }
    }
  }
}
""")


def schema(names: Sequence[str], shape: tuple[int, int, int]) -> str:
    """The schema in text form.

    Args:
      names: Class names in label order.
      shape: Height, width and channels of an image.
    """
    height, width, channels = shape
    # Labels are taken by name or, where they are numbers from 0 on, by number.
    numbers = list(names) == [str(number) for number in range(len(names))]
    values = (text_encoding.CEscape(name.encode(), as_utf8=True) for name in names)
    return _SCHEMA.substitute(
        last=len(names) - 1,
        drift=f"{_DRIFT / len(names):.4g}",
        hint=_NUMBERS if numbers else "",
        names="\n".join(f'  value: "{value}"' for value in values),
        height=height,
        width=width,
        channels=channels,
    )


def configuration(name: str, folder: str, look: Look, suggestion: Suggestion) -> str:
    """The configuration file, with the reason of each value as a comment.

    Args:
      name: Name of the pipeline.
      folder: The folder, as the user wrote it.
      look: What is known of the data.
      suggestion: What to write.
    """
    height, width, channels = suggestion.shape
    tables = _by_table(suggestion.settings)
    lines = [
        *_comment(
            f"Configuration of the pipeline {name}. Change what you like: "
            "`python3 pipeline_runner.py keys` lists every key, and docs/configuration.md explains "
            "this file. Paths in it count from its folder. Train with:"
        ),
        "#",
        f"#     {_command('run', f'{folder}/{CONFIGURATION}')}",
        "",
        "version = 1",
        "",
        *_comment(f"Name of the pipeline: results go to outputs/{name}."),
        f"name = {_toml(name)}",
        "",
        *_comment("Class names and image size are in this file."),
        *_comment(f"Size: {height}x{width}, as {_clause(suggestion.size_reason)}."),
        *_comment(
            f"Channels: {channels} ({'gray' if channels == 1 else 'colour'}), as "
            f"{_clause(suggestion.channels_reason)}."
        ),
        f"schema_file = {_toml(SCHEMA)}",
        *_assignments(tables[""]),
        "",
        "[data]",
        *_comment(f"Recognised as {look.summary}."),
        f"path = {_toml(str(look.data))}",
        *_skipping(look, suggestion),
    ]
    for table, settings in tables.items():
        if table not in ("", "data"):
            lines += ["", f"[{table}]"]
        if table:
            lines += _assignments(settings)
    return "\n".join([*lines, *_slices(look, suggestion), ""])


def _clause(reason: str) -> str:
    """A reason as it follows `as`."""
    return reason.removeprefix("as ")


def _skipping(look: Look, suggestion: Suggestion) -> list[str]:
    """What a run needs in order to leave bad images out, as a comment."""
    keys = {setting.key for setting in suggestion.settings}
    if not look.sample.bad or "data.bad_files" in keys:
        return []
    share = skipped_share(look)
    default = Config.model_fields["data"].default.max_bad_share
    is_offered = share > default and "data.max_bad_share" not in keys
    return [
        *_comment(
            f"{bad_images(look)} A run stops at such images. Repair or remove them. To leave them "
            "out instead, remove the # of what follows:"
        ),
        '# bad_files = "skip"',
        *([f"# max_bad_share = {share}"] if is_offered else []),
    ]


def _slices(look: Look, suggestion: Suggestion) -> list[str]:
    """Slices by the further columns of the data, as a comment."""
    usable = [
        (name, count)
        for name, count in look.columns.items()
        if 1 < count <= _MOST_SLICES and is_column_name(name)
    ]
    if not usable or any(setting.key == "gates.slices" for setting in suggestion.settings):
        return []
    told = listed([f"{name} ({count} values)" for name, count in usable])
    return [
        "",
        *_comment(
            f"Further columns of the data: {told}. Each value can be a slice of the test images "
            "with a gate of its own, to see where the model is weak (docs/your-data.md, Slices). "
            "For the first column, remove the # of what follows:"
        ),
        f"# [gates.slices.{_key(usable[0][0])}]",
        "# accuracy = 0.8",
        f"# min_images = {_least_images(look, usable[0][1])}",
    ]


def _least_images(look: Look, values: int) -> int:
    """Half of the test images of a slice, if all slices have as many, and at most the default."""
    return max(1, min(MIN_IMAGES, math.floor(sum(look.test_images) / values / 2)))


def _by_table(settings: Sequence[Setting]) -> dict[str, list[Setting]]:
    """The settings of each table; those at the top and those of `data` come first."""
    tables: dict[str, list[Setting]] = {"": [], "data": []}
    for setting in settings:
        tables.setdefault(setting.key.rpartition(".")[0], []).append(setting)
    return tables


def _assignments(settings: Sequence[Setting]) -> list[str]:
    lines = []
    for setting in settings:
        key = setting.key.rpartition(".")[2]
        lines += [*_comment(setting.reason), f"{key} = {_toml(setting.value)}"]
    return lines


def readme(name: str, folder: str, look: Look, suggestion: Suggestion) -> str:
    """The README of the folder.

    Args:
      name: Name of the pipeline.
      folder: The folder, as the user wrote it.
      look: What is known of the data.
      suggestion: What was written to the other files.
    """
    height, width, channels = suggestion.shape
    warnings = [f"- {warning}" for warning in suggestion.warnings]
    return "\n".join(
        [
            f"# {name}",
            "",
            f"A classifier of {len(look.class_names)} classes. Its data: {_escaped(look.summary)}.",
            "",
            f"- `{SCHEMA}`: class names and image size ({height}x{width}, "
            f"{counted(channels, 'channel')})",
            f"- `{CONFIGURATION}`: everything else, with the reason of each value",
            "",
            "Train, look at the result, and classify a new image, in the folder where you ran "
            "`init`:",
            "",
            f"    {_command('run', f'{folder}/{CONFIGURATION}')}",
            "    python3 pipeline_runner.py review --open",
            f"    {_command('predict IMAGE', f'{folder}/{CONFIGURATION}')}",
            "",
            f"The gates in `{CONFIGURATION}` only refuse a model that has learned nothing.",
            "After the first run, raise them.",
            "",
            *([*warnings, ""] if warnings else []),
            *_table(look),
            "",
        ]
    )


def _toml(value: object) -> str:
    """A value as TOML has it. JSON's texts, numbers and booleans are TOML, too.

    TOML has no null: a key of a table without a value is left out.
    """
    if isinstance(value, dict):
        pairs = [f"{_toml(key)} = {_toml(held)}" for key, held in value.items() if held is not None]
        return f"{{{', '.join(pairs)}}}"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _command(words: str, file: str) -> str:
    return f"python3 pipeline_runner.py {words} --config {shlex.quote(file)}"


def _comment(text: str) -> list[str]:
    # A name of the data may have characters that end a line.
    return textwrap.wrap(escaped(text), _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _escaped(text: str) -> str:
    """A text that Markdown shows as it is."""
    special = "\\`*_{}[]<>|#"
    return "".join(f"\\{each}" if each in special else each for each in escaped(text))


def _table(look: Look) -> Iterator[str]:
    splits = [split for split, counts in look.counts.items() if sum(counts)]
    named = ["images" if split == UNDECIDED_SPLIT else split for split in splits]
    yield f"| class | {' | '.join(named)} |"
    yield f"| --- |{' --- |' * len(named)}"
    for position, name in enumerate(look.class_names[:_MOST_ROWS]):
        counts = " | ".join(f"{look.counts[split][position]:,}" for split in splits)
        yield f"| {_escaped(name)} | {counts} |"
    left = len(look.class_names) - _MOST_ROWS
    if left > 0:
        yield f"\n{left:,} further classes are in `{SCHEMA}`."
