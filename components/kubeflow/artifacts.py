"""Artifacts that only a cluster has, and what its artifacts say of the nodes that made them."""

from __future__ import annotations

from tfx.types import artifact

# Properties of each artifact. A cluster tells nodes nothing of other nodes, so these do.
NODE_BEGAN = "node_began"
NODE_SECONDS = "node_seconds"
NODE_CODE_FINGERPRINT = "node_code_fingerprint"
# Property of a model artifact; it means that no model is served yet.
ABSENT = "absent"
# Property of a model artifact with the number of the served version.
SERVED_VERSION = "served_version"


class File(artifact.Artifact):
    """An artifact that is a file at its URI; all others are folders."""

    TYPE_NAME = "components.File"


class Page(File):
    """A page that the dashboard of a cluster shows."""

    TYPE_NAME = "components.Page"


class Record(File):
    """A JSON document."""

    TYPE_NAME = "components.Record"
