"""Hands a message to Apprise, in a process of its own that can be ended at any time.

Started by its path, not as a module, so that it imports Apprise and nothing of this project:

    python delivery.py < TASK

A service may hang, or log its address: both end with this process. The task is a JSON document on
the input, since others can read a command line: `addresses`, and a `message` with `title`, `body`,
`kind` and `seconds`, or null. Prints, as a JSON list, whether each address took the message;
without a message, whether Apprise can parse it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import json
import os
import sys
from typing import TypedDict

import apprise

_NAME = "Image pipeline"


class Message(TypedDict):
    """A message, and the time limit of each service in seconds."""

    title: str
    body: str
    kind: str
    seconds: float


def main(addresses: list[str], message: Message | None) -> list[bool]:
    """Parses the addresses, and sends the message to all of them at once."""
    asset = apprise.AppriseAsset(app_id=_NAME, app_desc=_NAME)
    services = [apprise.Apprise.instantiate(address, asset=asset) for address in addresses]
    if message is None:
        return [service is not None for service in services]
    with concurrent.futures.ThreadPoolExecutor(len(services)) as pool:
        return list(pool.map(functools.partial(_send, message), services))


def _send(message: Message, service: apprise.NotifyBase) -> bool:
    sent = apprise.Apprise(service).notify(
        title=message["title"],
        body=message["body"],
        notify_type=message["kind"],
        # Otherwise services would take names that look like markup for it.
        body_format=apprise.NotifyFormat.TEXT,
        timeout=message["seconds"],
    )
    return bool(sent)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    task = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        taken = main(task["addresses"], task["message"])
    print(json.dumps(taken), file=answers, flush=True)
    # This does not wait for the threads of services that hang.
    os._exit(0)
