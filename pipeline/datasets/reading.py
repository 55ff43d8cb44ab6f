"""Reads the files of a run to the end and checks them."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

from components.example_gen import idx, split
from components.image_schema import ImageSchema
from pipeline import paths
from pipeline.datasets import SAMPLE
from pipeline.datasets.dataset import DataSet, Source
from pipeline.errors import DataError


def read_dataset(source: Source, schema: ImageSchema, schema_sha256: str) -> DataSet:
    """Reads all files of a run to the end, in bounded memory, and checks them.

    Draws the sample first if the run uses it.

    Args:
      source: the folder and its spans.
      schema: image shape and class names.
      schema_sha256: SHA-256 of the schema file.

    Raises:
      DataError: a file is missing, contradicts the schema, or changed meanwhile.
    """
    if source.sample:
        _draw_sample(source.folder)
    files = list(_files_of(source))
    before = _stamps(files)
    try:
        *train, (test, test_per_class) = [_read_pair(*names, schema) for names in files]
    except idx.IdxError as error:
        # Of a file that is still being copied, this is what is wrong, whatever was read of it.
        _check_at_rest(before, _stamps(files))
        raise DataError(str(error)) from error
    _check_at_rest(before, _stamps(files))
    name = SAMPLE if source.sample else str(source.folder)
    train_per_class = map(sum, zip(*(counts for _, counts in train), strict=True))
    return DataSet(
        name,
        source.sample,
        tuple(pair for pair, _ in train),
        test,
        schema_sha256,
        tuple(train_per_class),
        tuple(test_per_class),
        source.window,
    )


def _read_pair(
    name: str, images: str, labels: str, schema: ImageSchema
) -> tuple[idx.IdxPair, list[int]]:
    """Checks a pair; returns it with its number of images of each class."""
    classes = len(schema.class_names)
    pair, values = idx.read_pair(name, images, labels, schema.shape, classes)
    return pair, split.class_counts(values, classes)


def check_split(data: DataSet, class_names: tuple[str, ...], validation_per_class: int) -> None:
    """Checks that each class has images to train on, to validate on and to test on.

    Raises:
      DataError: a class has too few images.
    """
    try:
        split.check_classes(
            data.train_per_class, data.test_per_class, validation_per_class, class_names
        )
    except split.SplitError as error:
        more = " Or take more spans, with spans.window." if data.window else ""
        raise DataError(f"{error}{more}") from error


def _draw_sample(folder: pathlib.Path) -> None:
    # Imported here because only drawing needs Pillow.
    from pipeline.datasets import sample

    try:
        sample.write_sample(folder)
    except OSError as error:
        raise DataError(
            f"the sample cannot be written to {folder} ({error.strerror}); expected a folder that "
            "can be written to. Set XDG_CACHE_HOME to one."
        ) from error


def _files_of(source: Source) -> Iterator[tuple[str, str, str]]:
    """Name, images and labels of each pair: those that are trained on, then that of the test."""
    window = source.window
    if window is None:
        expected = "all four IDX files, or folders called span-N"
        for half in idx.FILES:
            yield half, *_pair_paths(source.folder, half, expected)
        return
    for span in window.train:
        yield f"{span.name}-{idx.TRAIN}", *_pair_paths(span.folder, idx.TRAIN, "a whole span")
    span = window.reference
    yield f"{span.name}-{idx.TEST}", *_pair_paths(span.folder, idx.TEST, "a whole span")


def _pair_paths(folder: pathlib.Path, half: str, expected: str) -> tuple[str, str]:
    images, labels = (_file(folder, file, expected) for file in idx.FILES[half])
    return images, labels


def _file(folder: pathlib.Path, name: str, expected: str) -> str:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.exists():
            paths.refuse_endless(candidate)
            return str(candidate)
    raise DataError(
        f"{folder} holds neither {name} nor {name}.gz; expected {expected}. "
        "Copy the missing one there; where it is still being copied, run again when all is there."
    )


# Size, time of the last change in nanoseconds, and number of a file; None of one that is gone.
_Stamp = tuple[int, int, int] | None


def _stamps(files: list[tuple[str, str, str]]) -> dict[str, _Stamp]:
    return {path: _stamp(path) for _, *paths in files for path in paths}


def _stamp(path: str) -> _Stamp:
    try:
        found = pathlib.Path(path).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _check_at_rest(before: dict[str, _Stamp], after: dict[str, _Stamp]) -> None:
    """Refuses files that changed while the whole of them was read.

    The age of a file says nothing: one that was written a second ago can be whole, one whose copy
    stalled an hour ago is not, and the clock of a file server is not ours. That a file is not whole
    shows in its content; what changes later still, ExampleGen finds by the SHA-256.
    """
    changed = [path for path, stamp in before.items() if after[path] != stamp]
    if changed:
        raise DataError(
            f"{changed[0]} changed while it was read; expected files at rest. Where it is still "
            "being copied, run again when it is whole; to avoid this, copy under another name and "
            "rename at the end."
        )
