"""A data folder that is being recognised."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from components.example_gen.readers import base
from components.example_gen.readers.files import Files, Listing

Shape = tuple[int, int, int]
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Folder:
    """A data folder and what is known of its data.

    Attributes:
      files: Access to it.
      listing: What lies there.
      options: What the configuration says about reading.
      shape: Height, width and channels that the schema gives; None if there is no schema yet.
      is_span: Whether it is one span of several, which may lack training or test files, or hold
        one class alone.
      missed: Files that looked like data but are none, with the reasons; recognising adds to it.
      broken: Those of them that cannot be read, with the errors.
      no_manifests: Tables that lack the columns of a manifest, with the reasons; it matters where
        there is no other data.
    """

    files: Files
    listing: Listing
    options: base.Options
    shape: Shape | None
    is_span: bool
    missed: dict[str, str] = dataclasses.field(default_factory=dict)
    broken: dict[str, base.ReadingError] = dataclasses.field(default_factory=dict)
    no_manifests: dict[str, str] = dataclasses.field(default_factory=dict)

    def attempted(self, path: str, action: Callable[[], Result]) -> Result | None:
        """What an action makes of a file; None where the file cannot be read.

        Such a file is set aside: it may be a stray one beside sound data of another form.
        """
        if path in self.broken:
            return None
        try:
            return action()
        except base.ReadingError as error:
            reason = str(error).removeprefix(self.files.shown(path))
            self.missed[path] = reason[2:] if reason.startswith(": ") else f"it{reason}"
            self.broken[path] = error
            return None
