"""The systemd unit that keeps a schedule going."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import string
import sys
from collections.abc import Callable, Mapping, Sequence

from components.disk import write_whole
from components.notifications.sending import ADDRESSES_VARIABLE
from operations.notifications.metrics import ADDRESS_VARIABLE
from operations.notifications.notifying import (
    REVIEW_URL_VARIABLE,
    Notifier,
    review_url_from_environment,
)
from operations.scheduling.plan import Options
from pipeline import paths
from pipeline.datasets import AUTO, SAMPLE
from pipeline.datasets.find import DIRECTORY_VARIABLE, find_source
from pipeline.errors import ConfigurationError, OutputError

_TEMPLATE = pathlib.Path(__file__).with_name("pipeline.service")
# What the command line leaves to the environment: for the project, for S3, for PostgreSQL, and for
# the certificates of a proxy or a store. oneDNN decides on the order of sums: without its variable,
# each node would run again.
_VARIABLES = (
    *(DIRECTORY_VARIABLE, "XDG_CACHE_HOME", REVIEW_URL_VARIABLE, ADDRESS_VARIABLE),
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE"),
    *("AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "PGPASSFILE", "TF_ENABLE_ONEDNN_OPTS", "TMPDIR"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
# Addresses, each of which may have a password in it.
_ADDRESSES = (
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)
# Who can read a unit would know them. With each, what to do instead.
_SECRETS: Mapping[str, str] = {
    ADDRESSES_VARIABLE: "name a file with --notify-file",
    **dict.fromkeys(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        "put it into ~/.aws/credentials",
    ),
    "PGPASSWORD": "put the password into ~/.pgpass",
}
# Beyond what a run has to end in: for the scheduler, which then tells of it.
_SPARE_SECONDS = 60
# What has no place in a unit: a service that ends with each run would be started again and again.
_NOT_IN_UNIT = ("--once", "--next", "--json")
_PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "pipeline_runner.py"
_PLAIN = re.compile(r"[\w%+,./:=@-]+", re.ASCII)
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


@dataclasses.dataclass(frozen=True)
class Unit:
    """A service that systemd runs for a user.

    Attributes:
      pipeline: Name of the pipeline.
      command: Absolute path of a program, and its arguments.
      working_folder: Folder in which it starts.
      stop_seconds: Time that a run has to end once it is asked to.
    """

    pipeline: str
    command: Sequence[str]
    working_folder: pathlib.Path
    stop_seconds: float

    @property
    def file_name(self) -> str:
        """Name of the unit file."""
        return f"image-pipeline-{self.pipeline}.service"

    def text(self, environment: Mapping[str, str]) -> str:
        """The unit file.

        Args:
          environment: Environment of the service; the unit takes what is no secret.
        """
        program, *arguments = self.command
        # Variables are replaced in arguments alone.
        words = [_quoted(program), *(_quoted(part).replace("$", "$$") for part in arguments)]
        settings = [
            f"Environment={_quoted(f'{name}={value}')}"
            for name, value in _kept(environment).items()
        ]
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
          path: Path of the file; None takes systemd's folder of the user.

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


@dataclasses.dataclass(frozen=True)
class UnitFile:
    """A systemd unit for a command line.

    Attributes:
      text: Content of the file.
      path: Path of the file; None where it was not to be written.
      name: Name or path for `systemctl enable`.
      left_out: Variables of the environment that may hold secrets and so stay out of it, each with
        what to do instead.
    """

    text: str
    path: pathlib.Path | None
    name: str
    left_out: Mapping[str, str]


def install_unit(
    options: Options, arguments: Sequence[str], path: str | None, notify: Callable[[str], None]
) -> UnitFile:
    """Writes the systemd unit for a command line; starts nothing.

    Args:
      options: Options of the command line.
      arguments: The command line itself: `schedule` and its arguments.
      path: Path of the unit file; `-` writes none, None takes systemd's folder of the user.
      notify: Is told, in one line, of what may not be as meant.

    Raises:
      UsageError: where the service would refuse to start, or the unit cannot be written.
    """
    _check_unit(options, arguments, notify)
    unit = Unit(
        options.target.settings().pipeline_name(),
        [sys.executable, str(_PROGRAM), *_with_full_config(_without_unit(arguments))],
        pathlib.Path.cwd(),
        options.policy.stop_seconds,
    )
    written = None if path == "-" else unit.install(pathlib.Path(path) if path else None)
    return UnitFile(
        text=unit.text(os.environ),
        path=written,
        name=str(written) if written and path else unit.file_name,
        left_out=_left_out(os.environ),
    )


def _kept(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that the unit takes over."""
    kept = {name: environment[name] for name in _VARIABLES if environment.get(name)}
    kept |= {
        name: environment[name]
        for name in _ADDRESSES
        if environment.get(name) and not _may_have_password(environment[name])
    }
    return kept


def _left_out(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that may hold secrets, each with what to do instead."""
    found = {name: instead for name, instead in _SECRETS.items() if environment.get(name)}
    for name in _ADDRESSES:
        if _may_have_password(environment.get(name, "")):
            found[name] = "add it with `systemctl --user edit`"
    return found


def _may_have_password(address: str) -> bool:
    return any(sign in address for sign in "@?")


def _check_unit(options: Options, arguments: Sequence[str], notify: Callable[[str], None]) -> None:
    """Refuses now, while somebody is there, what the service would refuse at its start."""
    alone = [argument for argument in arguments if argument in _NOT_IN_UNIT]
    if alone:
        raise ConfigurationError(
            f"{', '.join(alone)} beside --install-unit; expected the options of a schedule that "
            "goes on. Leave out one or the other."
        )
    _check_working_folder(pathlib.Path.cwd())
    for name, value in _kept(os.environ).items():
        paths.refuse_undecoded(value, name)
    options.timetable()
    # The unit repeats it.
    review_url_from_environment()
    target = options.target
    if target.notify_file:
        Notifier.from_options(target.notify_file)
    settings = target.settings()
    if settings.data not in (None, AUTO, SAMPLE):
        config = settings.config()
        find_source(settings.data, notify, config.spans, config.data)


def _check_working_folder(folder: pathlib.Path) -> None:
    """Refuses a folder whose name systemd reads otherwise: it takes no quotes around it."""
    paths.refuse_untold(str(folder), "working folder")
    if str(folder) != str(folder).rstrip(" \\"):
        raise ConfigurationError(
            f"the working folder {str(folder)!r} ends in a space or a backslash, which systemd "
            "does not take; expected another end. Rename it, or start from another folder."
        )


def _without_unit(arguments: Sequence[str]) -> list[str]:
    """A command line that runs what it would otherwise install."""
    left, skip = [], False
    for argument in arguments:
        if not skip and argument != "--install-unit" and not argument.startswith("--unit-file"):
            left.append(argument)
        skip = argument == "--unit-file"
    return left


def _with_full_config(arguments: Sequence[str]) -> list[str]:
    """A command line with the full path of the configuration file: a unit is read on its own."""
    option, full = "--config", list(arguments)
    for position, argument in enumerate(arguments):
        if argument.startswith(f"{option}="):
            full[position] = f"{option}={_full(argument.removeprefix(f'{option}='))}"
        elif position and arguments[position - 1] == option:
            full[position] = _full(argument)
    return full


def _full(path: str) -> str:
    return str(paths.expanded(pathlib.Path(path), "--config").absolute())


def _user_folder() -> pathlib.Path:
    return paths.in_home(".config", "XDG_CONFIG_HOME") / "systemd" / "user"


def _quoted(text: str) -> str:
    """A word that systemd reads as the text, except for `$`."""
    word = _plain(text)
    return word if _PLAIN.fullmatch(text) else f'"{word.translate(_ESCAPES)}"'


def _plain(text: str) -> str:
    """A text in which systemd sees none of its specifiers."""
    return text.replace("%", "%%")
