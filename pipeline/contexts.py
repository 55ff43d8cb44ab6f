"""Contexts that runs add to ML Metadata, so that TFX finds in them what one node needs.

TFX looks for the inputs of a node among all executions of the pipeline, and the time for that grows
with the square of the number of runs. A context of this module holds a handful of executions.
"""

from __future__ import annotations

# One node in one run.
NODE_OF_RUN = "node_of_run"
# What made the model that a run compares with.
BASELINE_OF_RUN = "baseline_of_run"


def name_of(*parts: str) -> str:
    """Name of a context; pipelines that share a database may have runs of the same id."""
    return "/".join(parts)
