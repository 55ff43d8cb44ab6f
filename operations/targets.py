"""What `compile` can compile for. Imports nothing heavy: the command line offers it."""

from __future__ import annotations

import enum


class Target(enum.StrEnum):
    """What will run the compiled graph."""

    KUBEFLOW = "kubeflow"
    VERTEX = "vertex"

    @property
    def suffix(self) -> str:
        """Suffix of its files."""
        return ".yaml" if self == Target.KUBEFLOW else ".json"

    @property
    def roots(self) -> tuple[str, ...]:
        """Beginnings of the URIs that it can keep artifacts below."""
        return ("gs://", "s3://", "minio://") if self == Target.KUBEFLOW else ("gs://",)
