"""Tells people how a run ended, by mail, chat or webhook, through Apprise.

Addresses hold passwords and tokens: they come from the environment or from a file that only its
owner can read, and no message, log or record of this project repeats one.
"""

from __future__ import annotations

import logging
import os
import pathlib
import re
import shlex
import stat
import urllib.parse
from collections.abc import Callable

from components.messages import listed, told
from components.notifications import sending
from components.notifications.sending import (
    ADDRESSES_VARIABLE,
    FAILURE,
    SCHEME,
    SUCCESS,
    WARNING,
    Address,
    Message,
)
from components.redaction import redacted
from pipeline.errors import ConfigurationError
from pipeline.records.outcomes import Status, Verdict
from pipeline.records.receipt import Receipt
from review import summary

REVIEW_URL_VARIABLE = "IMAGE_PIPELINE_REVIEW_URL"

_KINDS = {Verdict.PUSHED: SUCCESS, Verdict.REFUSED: WARNING}
_WEB = re.compile("https?://", re.IGNORECASE)
_OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO
# The page and the log have the rest.
_MOST_REASONS, _MOST_CHARACTERS = 10, 500

logger = logging.getLogger(__name__)


class Notifier:
    """Tells the given addresses how runs end.

    It never fails: where a message cannot be delivered, a line in the log says so.
    """

    def __init__(self, addresses: list[Address], review_url: str | None):
        """Takes addresses that Apprise can parse.

        Args:
          addresses: Addresses to notify.
          review_url: URL of the output folder, where a web server shows it.
        """
        self._addresses = addresses
        self._review_url = review_url

    @classmethod
    def from_options(cls, file: pathlib.Path | None) -> Notifier:
        """Takes the addresses from the environment, and from a file if one is given.

        Raises:
          ConfigurationError: where an address cannot be parsed, or others can read the file.
        """
        addresses = sending.read_addresses(
            os.environ.get(ADDRESSES_VARIABLE, ""), ADDRESSES_VARIABLE
        )
        if file is not None:
            addresses += _addresses_in(file)
        if addresses:
            _check(addresses)
        return cls(addresses, review_url_from_environment() if addresses else None)

    def run_ended(
        self, receipt: Receipt, page: pathlib.Path | None, before: Receipt | None
    ) -> None:
        """Tells how a run ended, unless it changed nothing.

        Args:
          receipt: Receipt of the run.
          page: Review page; None where none could be made.
          before: Receipt of the run of the same pipeline before it, if any.
        """

        def compose() -> Message | None:
            if not _is_news(receipt, before):
                return None
            return _about_run(receipt, page, before, self._review_url)

        self._send(compose)

    def alarm(self, title: str, text: str) -> bool:
        """Tells of a fault outside of a run; returns False if the message reached nobody."""
        return self._send(lambda: Message(title, text, FAILURE))

    def all_clear(self, title: str, text: str) -> None:
        """Tells that an alarm is over."""
        self._send(lambda: Message(title, text, SUCCESS))

    def _send(self, compose: Callable[[], Message | None]) -> bool:
        """Sends a message, if there is one; returns False if it reached none of the addresses."""
        if not self._addresses:
            return True
        reached = False
        try:
            message = compose()
            missed = sending.deliver(self._addresses, message) if message else []
            reached = len(missed) < len(self._addresses)
        # A run is as good as it is, whoever hears of it, and however patient they are.
        except (Exception, KeyboardInterrupt) as error:
            missed = [f"anyone ({told(error)})"]
        if missed:
            logger.warning(
                "The notification did not reach %s; nothing else is affected.", listed(missed)
            )
        return reached


class CurrentNotifier:
    """Tells the addresses that a file has at the time of each message.

    A scheduler lives for months, and its runs read the file anew as well.
    """

    def __init__(self, file: pathlib.Path | None):
        """Takes a file of addresses; None leaves those of the environment alone.

        Raises:
          ConfigurationError: where an address cannot be parsed, or others can read the file.
        """
        self._file = file
        self._notifier = Notifier.from_options(file)

    def alarm(self, title: str, text: str) -> bool:
        """Tells of a fault outside of a run; returns False if the message reached nobody."""
        return self._current().alarm(title, text)

    def all_clear(self, title: str, text: str) -> None:
        """Tells that an alarm is over."""
        self._current().all_clear(title, text)

    def _current(self) -> Notifier:
        if self._file is not None:
            try:
                self._notifier = Notifier.from_options(self._file)
            except ConfigurationError as error:
                logger.warning("The addresses that were read before are notified: %s", error)
        return self._notifier


def _addresses_in(file: pathlib.Path) -> list[Address]:
    """The addresses in a file that only the user can read."""
    # As a path, :// has lost a slash.
    if SCHEME.match(str(file).replace(":/", "://", 1)):
        raise ConfigurationError(
            "--notify-file was given an address; expected a file, since others can read what "
            "stands in a command line. Write it into a file of mode 600, or into the environment "
            f"variable {ADDRESSES_VARIABLE}."
        )
    found = sending.read_addresses(_private_text(file), str(file))
    if not found:
        raise ConfigurationError(
            f"{file} holds no address; expected Apprise addresses, one a line. Leave out "
            "--notify-file to tell nobody."
        )
    return found


def _private_text(file: pathlib.Path) -> str:
    try:
        _check_private(file, file.stat())
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(
            f"{file} cannot be read ({reason}); expected a file of Apprise addresses, one a line."
        ) from error


def _check_private(file: pathlib.Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(
            f"{file} is no regular file; expected a file of Apprise addresses, one a line."
        )
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{file} belongs to another user (id {found.st_uid}); expected a file of your own, "
            f"since addresses are secrets. Take it over with: "
            f"chown {os.geteuid()} {shlex.quote(str(file))}"
        )
    if found.st_mode & _OTHERS_MAY:
        raise ConfigurationError(
            f"{file} has mode {stat.S_IMODE(found.st_mode):03o}: others can get at the addresses; "
            f"expected 600. Fix that with: "
            f"chmod 600 {shlex.quote(str(file))}"
        )


def review_url_from_environment() -> str | None:
    """The address in the environment under which a web server shows the output folder, if any.

    Raises:
      ConfigurationError: where it is no such address, or holds a password.
    """
    url = os.environ.get(REVIEW_URL_VARIABLE)
    if url:
        check_url(url, REVIEW_URL_VARIABLE, "under which a web server shows the output folder")
    return url


def check_url(url: str, source: str, meaning: str) -> None:
    """Refuses what is no address of a web page, or what messages must not repeat.

    Args:
      url: Address.
      source: Where it is given, for messages.
      meaning: What the address is for, as the end of a sentence about it.

    Raises:
      ConfigurationError: where it is no such address, or holds a password.
    """
    if not _WEB.match(url):
        raise ConfigurationError(
            f"{source} begins with neither http:// nor https://; expected the address {meaning}."
        )
    if redacted(url) != url:
        raise ConfigurationError(
            f"{source} has a password or a query; expected an address without them, since every "
            "message repeats it. Leave them out, and let the web server ask its readers."
        )


def _check(addresses: list[Address]) -> None:
    try:
        bad = sending.unparsable(addresses)
    except sending.NoAnswerError as error:
        raise ConfigurationError(
            f"{error}; expected it in the environment, since it sends notifications. Set it up "
            f"with `make setup`, or unset {ADDRESSES_VARIABLE} and leave out --notify-file."
        ) from error
    if bad:
        raise ConfigurationError(
            f"{listed(bad)} cannot be parsed; expected Apprise addresses. "
            "docs/monitoring/README.md shows their form, and says how Apprise itself checks them."
        )


def _is_news(receipt: Receipt, before: Receipt | None) -> bool:
    """Whether to tell of a run: not of one that pushed the version that was served already."""
    if receipt.verdict != Verdict.PUSHED or before is None:
        return True
    return _recovers(receipt, before) or receipt.pushed_version != before.pushed_version


def _recovers(receipt: Receipt, before: Receipt | None) -> bool:
    pushed = receipt.verdict == Verdict.PUSHED
    return pushed and before is not None and before.verdict != Verdict.PUSHED


def _about_run(
    receipt: Receipt, page: pathlib.Path | None, before: Receipt | None, review_url: str | None
) -> Message:
    verdict = _verdict(receipt, page)
    recovered = " recovered" if _recovers(receipt, before) else ""
    lines = [
        *_shortened(verdict.reasons),
        *_measured(verdict),
        verdict.advice,
        "",
        f"Run     {receipt.run_id} of {receipt.pipeline}, on {receipt.host}",
        f"Review  {_link(page, review_url) if page else 'could not be made; the log says why'}",
    ]
    if page and receipt.status != Status.COMPLETED:
        lines.append(f"Go on   {receipt.command_to_go_on(_output_dir(page))}")
    return Message(
        title=f"{receipt.pipeline}{recovered}: {verdict.headline}",
        body="\n".join(lines),
        kind=_KINDS.get(receipt.verdict, FAILURE),
    )


def _verdict(receipt: Receipt, page: pathlib.Path | None) -> summary.Conclusion:
    """The verdict of the review; without one, as far as the receipt alone goes."""
    stored = summary.stored_summary(page.parent) if page else None
    if stored:
        return stored.verdict
    # Here and not above: they import SciPy, and most runs have their review.
    from review import gate_table, verdict
    from review.artifacts import FinishedRun, Gaps

    judged = Gaps().fill("gates", lambda: gate_table.gates(FinishedRun(receipt, {}), None))
    return verdict.verdict(receipt, judged, None)


def _shortened(reasons: list[str]) -> list[str]:
    lines = [reason[:_MOST_CHARACTERS] for reason in reasons[:_MOST_REASONS]]
    left = len(reasons) - len(lines)
    return [*lines, f"... and {left} more."] if left else lines


def _measured(verdict: summary.Conclusion) -> list[str]:
    if not verdict.accuracy or not verdict.worst_class:
        return []
    worst = verdict.worst_class
    return [
        f"Test accuracy {_share(verdict.accuracy, 4)} on {verdict.accuracy.total:,} images; "
        f"weakest class {worst.name}, recall {_share(worst.recall, 3)}."
    ]


def _share(share: summary.Proportion, decimals: int) -> str:
    low, high = share.interval.low, share.interval.high
    interval = f"95 % interval {low:.{decimals}f} to {high:.{decimals}f}"
    return f"{share.value:.{decimals}f} ({interval})"


def _link(page: pathlib.Path, review_url: str | None) -> str:
    if review_url is None:
        return page.resolve().as_uri()
    path = page.relative_to(_output_dir(page)).as_posix()
    return f"{review_url.rstrip('/')}/{urllib.parse.quote(path)}"


def _output_dir(page: pathlib.Path) -> pathlib.Path:
    # OUTPUT_DIR/PIPELINE/runs/RUN/review.html
    return page.parents[3]
