"""Reads addresses, and sends messages to them in a process of its own.

Addresses hold passwords and tokens: no message, log or record of this project repeats one.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

from components.messages import with_kind

ADDRESSES_VARIABLE = "IMAGE_PIPELINE_NOTIFY"

SUCCESS, WARNING, FAILURE = "success", "warning", "failure"

# Time limits of each service, and of the process that asks them.
SERVICE_SECONDS, PROCESS_SECONDS = 20, 30
_DELIVERY = pathlib.Path(__file__).with_name("delivery.py")
# A comma may also stand inside an address, between the receivers of a mail.
_SEPARATOR = re.compile(r"\s+|,+(?=\s|$|[a-zA-Z][a-zA-Z0-9]*://)")
SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9]{0,15}(?=://)")


@dataclasses.dataclass(frozen=True)
class Address:
    """Where messages go.

    Attributes:
      url: Address as Apprise takes it; a secret, so it is never printed.
      place: Where the address is written, and its scheme; no secret.
    """

    url: str = dataclasses.field(repr=False)
    place: str


@dataclasses.dataclass(frozen=True)
class Message:
    """A message to people.

    Attributes:
      title: One line.
      body: Several lines.
      kind: `success`, `warning` or `failure`; services choose a colour or an icon by it.
    """

    title: str
    body: str
    kind: str


class NoAnswerError(Exception):
    """Apprise does not answer: it is not installed, or hangs."""


def read_addresses(text: str, source: str) -> list[Address]:
    """The addresses in a text; lines that begin with # are comments.

    Args:
      text: Addresses, separated by spaces, commas or line breaks.
      source: Where the text is from, for messages.
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    urls = [url for url in _SEPARATOR.split("\n".join(lines)) if url]
    return [Address(url, _place(url, number, source)) for number, url in enumerate(urls, 1)]


def _place(url: str, number: int, source: str) -> str:
    scheme = SCHEME.match(url)
    kind = f"{scheme[0]}://..." if scheme else "without a scheme"
    return f"address {number} of {source} ({kind})"


def unparsable(addresses: list[Address]) -> list[str]:
    """The places of the addresses that Apprise cannot parse.

    Raises:
      NoAnswerError: If Apprise does not answer.
    """
    return _unmet(addresses, None)


def deliver(addresses: list[Address], message: Message) -> list[str]:
    """Sends a message; returns the places of the addresses that it did not reach.

    Raises:
      NoAnswerError: If Apprise does not answer.
    """
    return _unmet(addresses, {**dataclasses.asdict(message), "seconds": SERVICE_SECONDS})


def _unmet(addresses: list[Address], message: dict[str, str | int] | None) -> list[str]:
    """Lets a process of its own parse the addresses, or send a message to them."""
    task = {"addresses": [address.url for address in addresses], "message": message}
    try:
        ended = subprocess.run(
            # Isolated: the modules beside it bear names that libraries might ask for.
            [sys.executable, "-I", str(_DELIVERY)],
            input=json.dumps(task),
            stdout=subprocess.PIPE,
            # Services may write the addresses there.
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=PROCESS_SECONDS,
            check=True,
        )
        taken = json.loads(ended.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        # Its own text may have the addresses.
        kind = with_kind(type(error).__name__, "")
        raise NoAnswerError(f"Apprise does not answer ({kind})") from error
    return [address.place for address, good in zip(addresses, taken, strict=True) if not good]
