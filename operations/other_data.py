"""Finds pipelines of one name whose runs are on data of different places.

Such pipelines share a folder of results: a model of one data set would be compared with that of
another, and take its place.
"""

from __future__ import annotations

import os

from pipeline.datasets import SAMPLE
from pipeline.locations import Locations
from pipeline.records import history
from pipeline.records.receipt import Receipt


def last_run_elsewhere(locations: Locations, data: str) -> Receipt | None:
    """The last run of a pipeline if its data was at another place; else None.

    Args:
      locations: Paths of the pipeline.
      data: Full path or address of the data, or `sample`.
    """
    # A folder that cannot be there is told of by what is to write to it.
    is_there = os.access(locations.runs, os.R_OK | os.X_OK)
    last = history.newest(locations) if is_there else None
    return None if last is None or _place(last.data.name) == _place(data) else last


def _place(data: str) -> str:
    """A path without its links."""
    return data if data == SAMPLE or "://" in data else os.path.realpath(data)
