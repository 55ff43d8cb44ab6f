"""Prints which version was fetched from a bucket."""

from __future__ import annotations

import dataclasses
import json

from operations.fetch import Fetched


def print_fetched(fetched: Fetched, as_json: bool) -> None:
    """Prints a version, as text or as JSON."""
    if as_json:
        print(json.dumps(dataclasses.asdict(fetched), indent=2))
    elif fetched.is_new:
        print(f"Fetched   {fetched.folder}")
    else:
        print(f"Unchanged {fetched.folder}: the bucket has no newer version")
