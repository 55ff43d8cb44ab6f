"""How runs and their nodes end. Standard library alone."""

from __future__ import annotations

import enum


class Status(enum.StrEnum):
    """How far a run came."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Verdict(enum.StrEnum):
    """What a run decided."""

    PUSHED = "pushed"
    REFUSED = "refused"
    STOPPED = "stopped"
    NONE = "none"


class NodeStatus(enum.StrEnum):
    """How a node of a run ended."""

    COMPLETE = "complete"
    CACHED = "cached"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    NOT_RUN = "not run"

    @property
    def ended_well(self) -> bool:
        """Whether the node's outputs are complete, from this run or an earlier one."""
        return self in (NodeStatus.COMPLETE, NodeStatus.CACHED)
