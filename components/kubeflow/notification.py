"""Tells people how a run on a cluster ended: the exit handler of the graph.

It runs after all other nodes, also where one of them failed, and gets no artifacts.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from google.protobuf import json_format
from tfx.dsl.components.base import base_executor

from components.messages import listed, shown
from components.notifications import sending
from components.notifications.sending import ADDRESSES_VARIABLE, FAILURE, SUCCESS, Message

# What Kubeflow Pipelines calls it, and what Vertex AI and the documentation of KFP do.
_SUCCEEDED = ("COMPLETE", "SUCCEEDED")
_FAILED = "FAILED"
# Whether it was, nothing tells an exit handler.
_PUSHED_BEFORE = (
    "A model may have been published before that: if the node Pusher began, look into the folder "
    "of the served versions."
)

logger = logging.getLogger(__name__)


class AddressError(Exception):
    """There is no address, or one that cannot be parsed."""


class Executor(base_executor.BaseExecutor):
    """Sends a message to the addresses in the environment.

    Only a secret can be there: parameters stand in the compiled file and in the dashboard.
    """

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Sends the message; one that reaches nobody is only logged, since the run has ended.

        Raises:
          AddressError: If there is no address, or one that cannot be parsed.
          sending.NoAnswerError: If Apprise does not answer.
        """
        # No process started from here on needs the passwords in them.
        found = os.environ.pop(ADDRESSES_VARIABLE, "")
        addresses = sending.read_addresses(found, ADDRESSES_VARIABLE)
        if not addresses:
            raise AddressError(
                f"{ADDRESSES_VARIABLE} holds no address; expected Apprise addresses. Put them "
                "under the key of the secret that `compile --notify-secret` named."
            )
        bad = sending.unparsable(addresses)
        if bad:
            raise AddressError(
                f"{listed(bad)} cannot be parsed; expected Apprise addresses. Fix the secret "
                "that `compile --notify-secret` named."
            )
        missed = sending.deliver(addresses, compose(exec_properties))
        if missed:
            logger.warning(
                "The notification did not reach %s; nothing else is affected.", listed(missed)
            )


def compose(properties: dict[str, Any]) -> Message:
    """Makes the message.

    Args:
      properties: Parameters of the node: `final_status`, a struct with `state`; `pipeline`,
        `run_name`, `run` and `run_url`, which may be empty.
    """
    status = json_format.MessageToDict(properties["final_status"])
    state = str(status.get("state", "UNKNOWN"))
    succeeded = state in _SUCCEEDED
    lines = [
        _outcome(state),
        "",
        f"Run     {shown(properties['run_name'])} ({shown(properties['run'])}) of "
        f"{properties['pipeline']}, on a cluster",
    ]
    if properties["run_url"]:
        lines.append(f"Review  {properties['run_url']}{properties['run']}")
    return Message(
        title=f"{properties['pipeline']}: {'SUCCEEDED' if succeeded else 'FAILED'}",
        body="\n".join(lines),
        kind=SUCCESS if succeeded else FAILURE,
    )


def _outcome(state: str) -> str:
    if state in _SUCCEEDED:
        return (
            "Every node ended well. The page of the node Review says whether the model was pushed "
            "or refused."
        )
    if state == _FAILED:
        return f"A node failed. The dashboard shows which one; its log says why. {_PUSHED_BEFORE}"
    # A container that is killed, for lack of memory for example, cannot say how it ended.
    return (
        f"A node did not end well, and the cluster does not say why (state {shown(state)}). The "
        f"dashboard shows which one: its container was killed, or never began. {_PUSHED_BEFORE}"
    )
