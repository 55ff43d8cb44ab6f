"""What ExampleGen is asked for: one JSON parameter of the node."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

from components import images
from components.example_gen.readers.base import Options
from components.example_gen.split import Settings
from components.reading_report import BadFiles, FitName

# What a part of the data is read for.
Use = Literal["all", "train", "test"]


@dataclasses.dataclass(frozen=True)
class Part:
    """A folder or file of examples in one form: the whole data, or a span of it.

    Attributes:
      name: First part of the ids; empty where the data has a single part.
      path: Its path, relative to the location of the data; empty for the location itself.
      use: `train` (with val), `test` or both.
    """

    name: str
    path: str
    use: Use


@dataclasses.dataclass(frozen=True)
class Request:
    """How the node reads, prepares and divides images.

    Attributes:
      parts: Parts of the data.
      shape: Height, width and channels of the images.
      class_count: Number of classes.
      class_names: Names of the classes in label order; empty where the data has their numbers, so
        that a new name changes no example.
      options: How data is read.
      fit: How images of another size are fitted.
      background: Brightness of padding and of transparent pixels.
      bad_files: Whether images that cannot be used stop the run, or are skipped.
      max_bad_share: Maximum share of images to skip.
      split: How examples are divided.
      contents: SHA-256 of each source by part and path, where there are few; what reads them then
        checks them on the way.
    """

    parts: tuple[Part, ...]
    shape: tuple[int, int, int]
    class_count: int
    class_names: tuple[str, ...]
    options: Options
    fit: FitName
    background: int
    bad_files: BadFiles
    max_bad_share: float
    split: Settings
    contents: tuple[dict[str, str], ...] = ()

    @property
    def preparation(self) -> images.Preparation:
        """The form that each image gets."""
        return images.Preparation(*self.shape, images.Fit(self.fit), self.background)


def names_of(request: Request) -> tuple[str, ...]:
    """The names of the classes, or else their numbers, in label order."""
    return request.class_names or tuple(map(str, range(request.class_count)))


def to_json(request: Request) -> str:
    """The request as text, the same for equal requests."""
    return json.dumps(dataclasses.asdict(request), sort_keys=True)


def from_json(text: str) -> Request:
    """Reads a request from its text."""
    values: dict[str, Any] = json.loads(text)
    height, width, channels = values.pop("shape")
    return Request(
        parts=tuple(Part(**part) for part in values.pop("parts")),
        shape=(height, width, channels),
        class_names=tuple(values.pop("class_names")),
        options=Options(**values.pop("options")),
        split=Settings(**values.pop("split")),
        contents=tuple(values.pop("contents")),
        **values,
    )
