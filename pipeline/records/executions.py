"""Nodes and artifacts of a run, as ML Metadata has them; without ML Metadata."""

from __future__ import annotations

import dataclasses

from pipeline.records.outcomes import NodeStatus
from pipeline.records.receipt import NodeRecord


@dataclasses.dataclass(frozen=True)
class ArtifactRecord:
    """An artifact in ML Metadata.

    Attributes:
      id: Number in ML Metadata.
      uri: Folder of the artifact.
      properties: Custom properties by name.
    """

    id: int
    uri: str
    properties: dict[str, str | int | float]


@dataclasses.dataclass(frozen=True)
class NodeExecution:
    """How a node of a run ended.

    Attributes:
      status: How the node ended.
      seconds: Seconds from start to end.
      outputs: Artifacts by the name of the output.
      code_fingerprint: Fingerprint of the code that it ran; None where it has none or did not run.
    """

    status: NodeStatus
    seconds: float
    outputs: dict[str, list[ArtifactRecord]]
    code_fingerprint: str | None = None

    @property
    def ended_well(self) -> bool:
        """Whether the node's outputs are complete, from this run or an earlier one."""
        return self.status.ended_well

    @property
    def record(self) -> NodeRecord:
        """The node in the receipt."""
        return NodeRecord(
            status=self.status,
            seconds=round(self.seconds, 3),
            code_fingerprint=self.code_fingerprint,
        )

    def output(self, key: str) -> ArtifactRecord | None:
        """The one artifact of an output, if there is one."""
        found = self.outputs.get(key, [])
        return found[0] if found else None
