"""The systemd unit that keeps a schedule going."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import string
from collections.abc import Mapping, Sequence

from operations.notifications.metrics import ADDRESS_VARIABLE
from operations.notifications.notifying import REVIEW_URL_VARIABLE
from pipeline import paths
from pipeline.datasets.data import DIRECTORY_VARIABLE
from pipeline.errors import OutputError
from pipeline.locations import write_whole

_TEMPLATE = pathlib.Path(__file__).with_name("pipeline.service")
# What the command line leaves to the environment. The addresses of those who are notified are
# secrets, and stay out of a unit.
_VARIABLES = (DIRECTORY_VARIABLE, "XDG_CACHE_HOME", REVIEW_URL_VARIABLE, ADDRESS_VARIABLE)
# Beyond what a run has to end in: for the scheduler, which then tells of it.
_SPARE_SECONDS = 60
_PLAIN = re.compile(r"[\w%+,./:=@-]+", re.ASCII)
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


@dataclasses.dataclass(frozen=True)
class Unit:
    """A service that systemd runs for a user.

    Attributes:
      pipeline: whose runs it schedules.
      command: absolute path of a program, and its arguments.
      working_folder: in which it starts.
      stop_seconds: how long a run has to end once it is asked to.
    """

    pipeline: str
    command: Sequence[str]
    working_folder: pathlib.Path
    stop_seconds: float

    @property
    def file_name(self) -> str:
        """What systemd calls it."""
        return f"image-pipeline-{self.pipeline}.service"

    def text(self, environment: Mapping[str, str]) -> str:
        """The unit file.

        Args:
          environment: of the service, of which it takes what is no secret.
        """
        program, *arguments = self.command
        # Variables are replaced in arguments alone.
        words = [_quoted(program), *(_quoted(part).replace("$", "$$") for part in arguments)]
        kept = {name: environment[name] for name in _VARIABLES if environment.get(name)}
        settings = [f"Environment={_quoted(f'{name}={value}')}" for name, value in kept.items()]
        return string.Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
            name=self.pipeline,
            working_folder=_plain(str(self.working_folder)),
            command=" ".join(words),
            environment="\n".join(settings),
            stop_seconds=round(self.stop_seconds + _SPARE_SECONDS),
        )

    def install(self, path: pathlib.Path | None) -> pathlib.Path:
        """Writes the unit file for the environment of this process; starts nothing.

        Args:
          path: of the file; None takes the folder in which systemd looks for those of the user.

        Raises:
          OutputError: where it cannot be written.
        """
        path = path.absolute() if path else _user_folder() / self.file_name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, self.text(os.environ))
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written ({error.strerror}); expected a file in a folder of "
                "your own. Name another with --unit-file, or - to print it."
            ) from error
        return path


def _user_folder() -> pathlib.Path:
    return paths.in_home(".config", "XDG_CONFIG_HOME") / "systemd" / "user"


def _quoted(text: str) -> str:
    """A word that systemd reads as the text, but for `$`."""
    word = _plain(text)
    return word if _PLAIN.fullmatch(text) else f'"{word.translate(_ESCAPES)}"'


def _plain(text: str) -> str:
    """A text in which systemd sees none of its specifiers."""
    return text.replace("%", "%%")
