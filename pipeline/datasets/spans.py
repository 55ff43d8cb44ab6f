"""Data that comes in spans: which folders `span-N` a run takes.

A folder of spans holds no images itself; each span has them in any form:

    clothes/span-1/     images to train on, and to test on
    clothes/span-2/     new examples alone, to train on
    clothes/span-10/    numbers order the spans, not texts

A run trains on a window of the newest spans. It is tested on one reference span, which stays the
same, so that accuracies can be compared from span to span. Both are settled once, before the graph
starts. A span that cannot be read is refused and never passed over: a run that nobody watches would
go on with old data.

Half of a folder of images looks like a small span, and is trained on. So whoever delivers a span
copies it under another name, such as `.span-11`, and renames the folder when it is whole.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from components.messages import listed, shown
from pipeline.datasets import span_numbers
from pipeline.datasets.bucket import BucketPath, Place
from pipeline.errors import DataError

if TYPE_CHECKING:
    from pipeline.config import DataConfig, SpansConfig

_NAME = re.compile(r"span-([0-9]+)")
# Such as Span_4, span-4b or span-new: it may be meant as a span, and must not be overlooked.
_MEANT = re.compile(r"span([^a-z]|$)", re.IGNORECASE)
_IDX_FILES = "*-ubyte*"
_CLASS_NAMES = "classes.toml"
_TABLES = (".csv", ".tsv", ".parquet")
_ARRAYS = (".npz",)
# Files of IDX images and labels to test on, as `readers.idx_files` names them.
_TEST_FILES = re.compile(r"(.*[-_])?(t10k|test)[-_](images|labels)[-.]idx[0-9].*")


@dataclasses.dataclass(frozen=True)
class Span:
    """A folder of new examples.

    Attributes:
      number: Number of the span; later spans have larger ones.
      folder: Folder of its files.
    """

    number: int
    folder: Place

    @property
    def name(self) -> str:
        """Begins the ids of its examples, whether the folder is called span-3 or span-03."""
        return f"span-{self.number}"

    def has_test_images(self, data: DataConfig) -> bool:
        """Whether its data names images to test on.

        Args:
          data: the part of the configuration that says how data is read.

        Raises:
          DataError: where the data cannot be used: to pass the span over would change what models
            are tested on, in silence.
        """
        # Imported here: receipts need this module too, and no reader.
        from components.example_gen.readers.base import ReadingError
        from components.example_gen.readers.opening import open_data
        from components.features import TEST
        from pipeline.datasets.options import reading_options

        if any(_TEST_FILES.fullmatch(path.name) for path in self.folder.iterdir()):
            return True
        if self.has_idx_files:
            return False
        try:
            reader = open_data(
                str(self.folder),
                reading_options(data),
                remote=isinstance(self.folder, BucketPath),
                is_span=True,
            )
        except ReadingError as error:
            raise DataError(str(error)) from error
        return TEST in reader.splits

    @property
    def has_idx_files(self) -> bool:
        """Whether it holds IDX files, which always name what is to test on."""
        return any(_idx_files(self.folder))


@dataclasses.dataclass(frozen=True)
class Window:
    """The spans that a run takes.

    Attributes:
      train: those that it trains on, the newest last.
      reference: the one that it is tested on, which may be one of them.
      present: numbers of all that are there.
      ignored: what lies beside the spans and is not read, a line each.
    """

    train: tuple[Span, ...]
    reference: Span
    present: frozenset[int]
    ignored: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """What `span_numbers.describe` says of it."""
        return span_numbers.describe([span.number for span in self.train], self.reference.number)


def resolve(
    folder: Place, asked: SpansConfig, data: DataConfig, notify: Callable[[str], None]
) -> Window | None:
    """Settles which spans of a folder a run takes; None where it is no folder of spans.

    Args:
      folder: Folder of spans or of images, or a file.
      asked: The part of the configuration about spans.
      data: The part of the configuration about reading data.
      notify: Called with one line for each thing that may not be as expected.

    Raises:
      DataError: where the folder does not hold the spans that are asked for.
    """
    found = find_spans(folder)
    if not found:
        _refuse_any(folder, asked)
        return None
    newest = found[-1] if asked.newest is None else _numbered(found, "newest", asked.newest)
    present = [span for span in found if span.number <= newest.number]
    reference = _reference(found, asked.reference, data)
    numbers = frozenset(span.number for span in found)
    window = Window(tuple(present[-asked.window :]), reference, numbers, ignored(folder))
    if len(window.train) < asked.window:
        notify(
            f"{folder} holds {len(present)} of the {asked.window} spans that spans.window asks "
            "for: all of them are taken"
        )
    _tell_of_unused_tests(window, data, notify)
    return window


def find_spans(folder: Place) -> list[Span]:
    """The spans of a folder in the order of their numbers; none where it holds none.

    Raises:
      DataError: where the folder cannot be listed, or what it holds is ambiguous.
    """
    try:
        # The folder of the sample is made when it is first read.
        paths = _meant(folder) if folder.is_dir() else []
        found = sorted((_span(path) for path in paths), key=lambda span: span.number)
        _check_unambiguous(folder, found)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed ({error.strerror}); expected a readable folder. Check the "
            "path and its permissions."
        ) from error
    return found


def ignored(folder: Place) -> tuple[str, ...]:
    """What lies beside the spans of a folder and is not read, a line each."""
    names = sorted(path.name for path in _beside(folder))
    return (f"{listed(names)}: beside the spans, in none of them",) if names else ()


def _beside(folder: Place) -> Iterator[Place]:
    """What lies in a folder of spans, is no span, and is neither hidden nor temporary."""
    # Imported here: receipts need this module too, and no reader.
    from components.example_gen.readers.files import is_junk

    for path in folder.iterdir():
        if not _NAME.fullmatch(path.name) and not is_junk(path.name):
            yield path


def _meant(folder: Place) -> list[Place]:
    """What lies in the folder that is, or may be meant as, a span; not such as span-3.zip."""
    return [
        path
        for path in folder.iterdir()
        if _MEANT.match(path.name) and (path.is_dir() or _NAME.fullmatch(path.name))
    ]


def _span(path: Place) -> Span:
    name = _NAME.fullmatch(path.name)
    if name and path.is_dir():
        return Span(int(name[1]), path)
    raise DataError(
        f"{path} is no span; expected a folder called span-N, with a number for N. Rename it, or "
        "name it .span-N until the copy is complete."
    )


def _check_unambiguous(folder: Place, found: list[Span]) -> None:
    for one, other in itertools.pairwise(found):
        if one.number == other.number:
            raise DataError(
                f"{one.folder} and {other.folder} are both span {one.number}; expected one folder "
                "for each number. Rename or remove one of them."
            )
    for path in sorted(_beside(folder), key=lambda path: path.name) if found else ():
        if kind := _kind_of_data(path):
            raise DataError(
                f"{folder} holds both spans ({found[0].folder.name}) and {kind} "
                f"({shown(path.name)}); expected one or the other. Move the files into a span of "
                "their own, or elsewhere."
            )


def _kind_of_data(path: Place) -> str | None:
    """What data would be read of a file or a folder if there were no spans beside it, in words."""
    name = path.name.lower()
    if fnmatch.fnmatch(name, _IDX_FILES):
        return "IDX files"
    if name == _CLASS_NAMES:
        return "names of class folders"
    if name.endswith(_TABLES):
        return "a table"
    if name.endswith(_ARRAYS):
        return "arrays"
    return "class folders" if _holds_classes(path) else None


def _holds_classes(path: Place) -> bool:
    """Whether a folder holds images, or is one of a split with folders that do."""
    from components.example_gen.readers.split_names import of_name
    from components.features import IMAGE_SUFFIXES

    if not path.is_dir():
        return False
    places: list[Place] = [path]
    if of_name(path.name) is not None:
        places += path.iterdir()
    return any(
        pathlib.PurePath(inner.name).suffix.lower() in IMAGE_SUFFIXES
        for place in places
        if place.is_dir()
        for inner in place.iterdir()
    )


def _idx_files(folder: Place) -> Iterator[Place]:
    yield from folder.glob(_IDX_FILES)


def _refuse_any(folder: Place, asked: SpansConfig) -> None:
    values = asked.model_dump(exclude_defaults=True).items()
    if values:
        settings = ", ".join(f"spans.{key}={value}" for key, value in values)
        raise DataError(
            f"{folder} holds no spans, but {settings} asks for them; expected folders called "
            "span-N there. Name a folder of spans with --data, or leave the setting out."
        )


def _numbered(found: list[Span], key: str, number: int) -> Span:
    for span in found:
        if span.number == number:
            return span
    numbers = ", ".join(str(span.number) for span in found)
    raise DataError(
        f"{found[0].folder.parent} holds no span {number}, which spans.{key}={number} asks for; "
        f"expected one of {numbers}. Set spans.{key} to one of them, or leave it out."
    )


def _reference(found: list[Span], number: int | None, data: DataConfig) -> Span:
    if number is not None:
        return _numbered(found, "reference", number)
    for span in found:
        if span.has_test_images(data):
            return span
    if not found[0].has_idx_files:
        # Its test split is drawn.
        return found[0]
    raise DataError(
        f"no span of {found[0].folder.parent} has test files (t10k-*-ubyte); expected them in at "
        "least one, the reference span. Copy the images and labels to test on into one of them."
    )


def _tell_of_unused_tests(window: Window, data: DataConfig, notify: Callable[[str], None]) -> None:
    unused = [
        str(span.number)
        for span in window.train
        if span != window.reference and span.has_test_images(data)
    ]
    if unused:
        notify(
            f"Test files of span {', '.join(unused)} are not used: the test split stays that of "
            f"span {window.reference.number} (spans.reference)"
        )
