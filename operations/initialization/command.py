"""The `init` command: looks at data, suggests, and writes."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re
import unicodedata
from collections.abc import Callable, Sequence

from operations import other_data
from operations.initialization import texts, writing
from operations.initialization.look import Look, look
from operations.initialization.opened import Wanted
from operations.initialization.suggestion import Setting, Suggestion, suggest
from pipeline import class_weights, paths
from pipeline.config import (
    RESERVED_ENDINGS,
    Config,
    SplitConfig,
    assigned_key,
    load_config,
    values_by_key,
)
from pipeline.errors import ConfigurationError, OutputError
from pipeline.locations import DEFAULT_OUTPUT_DIR, Locations

_SIZE = re.compile(r"([1-9][0-9]{0,3})[xX]([1-9][0-9]{0,3})")
# A larger image would fill the memory; photographs are classified well at far smaller sizes.
_MOST_SIDE = 1024
_LONGEST_NAME = 50
_NO_NAME = "images"
_HASH_LENGTH = 6
# What stands for the share of groups to validate on until it is chosen.
_SHARE_OF_GROUPS = 0.1
# What `init` itself writes, or what the command line has an option for.
_NOT_SET = ("name", "schema_file")


@dataclasses.dataclass(frozen=True)
class Initialized:
    """What `init` wrote.

    Attributes:
      folder: The folder, as the user wrote it.
      pipeline: Name of the pipeline.
      look: What is known of the data.
      suggestion: What was written.
    """

    folder: pathlib.Path
    pipeline: str
    look: Look
    suggestion: Suggestion


def initialize(
    name: str,
    data: str,
    size: str | None,
    channels: int | None,
    assignments: Sequence[str],
    notify: Callable[[str], None],
) -> Initialized:
    """Looks at data, and writes a schema, a configuration file and a README for it.

    Args:
      name: Path of the folder to write to; its last part names the pipeline.
      data: Path of the data.
      size: Height and width as HxW; None suggests them.
      channels: 1 or 3; None suggests them.
      assignments: `key=value` each, which are written to the configuration file.
      notify: Shows a line about what takes time or is unusual.

    Raises:
      UsageError: An option or the data is bad, or a file is there; nothing was written.
    """
    asked = _asked(assignments)
    sides = _sides(size) if size is not None else None
    if channels not in (None, 1, 3):
        raise ConfigurationError(
            f"--channels: found {channels}; expected 1 for gray or 3 for colour. Set it with "
            "--channels 1."
        )
    if not name:
        raise ConfigurationError("NAME is empty; expected the name of a new folder. Give one.")
    folder = paths.resolved(pathlib.Path(name), "NAME")
    writing.refuse_existing(folder, texts.FILES)
    wanted = Wanted(sides, channels)
    seen = look(data, asked, wanted, notify)
    is_around = isinstance(seen.data, pathlib.Path) and seen.data.resolve() in (
        folder,
        *folder.parents,
    )
    if is_around:
        raise OutputError(
            f"{folder} is in the data folder, and would become part of the data; expected another "
            "folder. Choose another NAME."
        )
    suggestion = _with_assigned(suggest(seen, wanted, asked), assignments, asked)
    class_weights.check(asked.training.class_weights, seen.class_names)
    pipeline = pipeline_name(folder.name)
    warnings = (*suggestion.warnings, *_shared(pipeline, seen))
    suggestion = dataclasses.replace(suggestion, warnings=warnings)
    shown = pathlib.Path(name)
    writing.write_all(
        folder,
        {
            texts.SCHEMA: texts.schema(seen.class_names, suggestion.shape),
            texts.CONFIGURATION: texts.configuration(pipeline, str(shown), seen, suggestion),
            texts.README: texts.readme(pipeline, str(shown), seen, suggestion),
        },
    )
    return Initialized(shown, pipeline, seen, suggestion)


def _asked(assignments: Sequence[str]) -> Config:
    """The configuration that is asked for; beside `split.group`, `init` chooses the share for val.

    The default of `split.validation`, a number per class, is refused beside a group. The share in
    its place does not count as set.
    """
    keys = {assigned_key(assignment) for assignment in assignments}
    if "split.group" not in keys or "split.validation" in keys:
        return load_config("default", assignments)
    config = load_config("default", [*assignments, f"split.validation={_SHARE_OF_GROUPS}"])
    are_set = config.split.model_fields_set - {"validation"}
    split = SplitConfig.model_construct(are_set, **dict(config.split))
    return config.model_copy(update={"split": split})


def pipeline_name(folder: str) -> str:
    """The name of a folder as the name of a pipeline: lower-case letters, digits and dashes.

    Where more is lost than case and punctuation, the beginning of a hash tells the name apart from
    those of other folders.
    """
    # The same name is written in several ways, such as an accent with its letter or after it.
    written = unicodedata.normalize("NFKD", folder)
    plain = "".join("" if _is_lost(each) else each for each in written).lower()
    whole = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    name = whole[:_LONGEST_NAME]
    while name.endswith(RESERVED_ENDINGS):
        name = name.rpartition("-")[0]
    if name == whole != "" and not any(map(_is_lost, written)):
        return name
    digest = hashlib.sha256(written.encode()).hexdigest()[:_HASH_LENGTH]
    beginning = name[: _LONGEST_NAME - _HASH_LENGTH - 1].strip("-")
    return f"{beginning or _NO_NAME}-{digest}"


def _is_lost(character: str) -> bool:
    """Whether a character is left out of the name, and is no punctuation."""
    return not character.isascii() and unicodedata.category(character)[0] not in "PZ"


def _shared(pipeline: str, look: Look) -> tuple[str, ...]:
    """A warning where the pipeline has results of other data; none where it has not."""
    root = DEFAULT_OUTPUT_DIR / pipeline
    last = other_data.last_run_elsewhere(Locations(root), str(look.data))
    if last is None:
        return ()
    return (
        f"The folder {root} has results of other data, {last.data.description}. A run would "
        "compare its model with the one of that data, and replace it. If that is not meant, change "
        "`name` in pipeline.toml.",
    )


def _sides(size: str) -> tuple[int, int]:
    matched = _SIZE.fullmatch(size)
    height, width = map(int, matched.groups()) if matched else (0, 0)
    if not 1 <= min(height, width) <= max(height, width) <= _MOST_SIDE:
        raise ConfigurationError(
            f"--size: found {size!r}; expected height and width in pixels, up to {_MOST_SIDE}, "
            "such as 64x48. Set it with --size HxW."
        )
    return height, width


def _with_assigned(suggestion: Suggestion, assignments: Sequence[str], asked: Config) -> Suggestion:
    """What is asked for takes the place of what is suggested."""
    values = values_by_key(asked)
    settings = {setting.key: setting for setting in suggestion.settings}
    for key in map(assigned_key, assignments):
        if key in _NOT_SET or values[key] is None:
            raise ConfigurationError(
                f"--set {key}: expected a key and a value that `init` does not write itself. "
                "Change it in pipeline.toml afterwards."
            )
        settings[key] = Setting(key, values[key], "As --set asks for.")
    return dataclasses.replace(suggestion, settings=tuple(settings.values()))
