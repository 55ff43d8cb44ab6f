"""The digest of a data set, which `compile` needs, with what a run would read of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from components import features
from pipeline.config_file import Settings
from pipeline.datasets import AUTO
from pipeline.datasets.dataset import DataSet
from pipeline.datasets.find import find_source
from pipeline.datasets.reading import read_dataset
from pipeline.datasets.schema_file import read_schema, schema_path


@dataclasses.dataclass(frozen=True)
class ClassCount:
    """The images of a class.

    Attributes:
      name: Name of the class.
      train: Number of images in `train`.
      val: Number of images in `val`.
      test: Number of images in `test`.
    """

    name: str
    train: int
    val: int
    test: int


@dataclasses.dataclass(frozen=True)
class DataDigest:
    """A data set that was read to its end.

    Attributes:
      data: Path of the data and, if it comes in spans, which of them a run takes.
      form: Form of the data.
      summary: What was recognised, in words.
      ignored: What lies there and is not read, a line each.
      doubts: What may not be as its owner means it, some sentences each.
      classes: The images of each class, in label order.
      digest: SHA-256 of the content, hexadecimal.
    """

    data: str
    form: str
    summary: str
    ignored: tuple[str, ...]
    doubts: tuple[str, ...]
    classes: tuple[ClassCount, ...]
    digest: str


def digest(settings: Settings, notify: Callable[[str], None]) -> DataDigest:
    """Reads a data set, checks it as a run does, and computes its digest.

    Args:
      settings: What the options ask for.
      notify: Shows a line about what takes time or is unusual.

    Raises:
      UsageError: The configuration or the data is bad.
    """
    config = settings.config()
    schema, schema_sha256 = read_schema(schema_path(config.schema_file))
    source = find_source(settings.data or AUTO, notify, config.spans, config.data)
    data = read_dataset(source, schema, schema_sha256, config, notify=notify)
    return DataDigest(
        data=data.description,
        form=data.form,
        summary=data.summary,
        ignored=data.ignored,
        doubts=data.doubts,
        classes=_classes(data, schema.class_names),
        digest=data.digest,
    )


def _classes(data: DataSet, names: tuple[str, ...]) -> tuple[ClassCount, ...]:
    counts = zip(names, *(data.counts[split] for split in features.SPLITS), strict=True)
    return tuple(ClassCount(*each) for each in counts)
