"""Recognises the form of a data set."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable

from components import object_store
from components.example_gen.readers import base, class_folders, idx_files, lost_splits
from components.example_gen.readers.files import (
    BucketFiles,
    Files,
    Listing,
    LocalFiles,
    RemoteFiles,
    suffix,
)
from components.example_gen.readers.folder import Folder, Shape
from components.features import IMAGE_SUFFIXES
from components.messages import counted, listed, shown

# Names of columns in the configuration that a form can use.
_USED_COLUMNS = {
    base.Form.MANIFEST: ("path_column", "label_column", "id_column", "split_column"),
    base.Form.PARQUET_IMAGES: ("path_column", "label_column", "split_column"),
    base.Form.PIXEL_TABLE: ("label_column", "id_column"),
}
# Maximum number of unread files in messages; `ignored` names all of them.
_MOST_TOLD = 3
_SINGLE_FILES = (".csv", ".tsv", ".parquet", ".npz")
_VIDEOS = frozenset([".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"])
_ARCHIVES = frozenset([".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst"])
_FORMS = (
    "expected class folders, a manifest, a pixel table, Parquet, .npz or IDX files. "
    "docs/your-data.md shows each form."
)


def open_data(
    path: str,
    options: base.Options,
    remote: bool = False,
    shape: Shape | None = None,
    is_span: bool = False,
) -> base.Reader:
    """Opens a data set of any form; looks at names and headers alone.

    Args:
      path: A folder, or a single .csv, .tsv, .parquet or .npz file.
      options: What the configuration says about reading.
      remote: Whether it lies elsewhere: in a bucket (s3://bucket/folder), or where TFX's file
        access reaches it (gs://bucket/folder).
      shape: Height, width and channels that the schema gives; None if there is no schema yet.
      is_span: Whether the data is one span of several: it may lack training or test files, or
        hold one class alone.

    Raises:
      ReadingError: There is no data of a known form, or of the expected one.
      ObjectStoreError: The bucket cannot be read.
    """
    files, listing = _listed(path, options, remote)
    folder = Folder(files, listing, options, shape, is_span)
    reader: base.Reader | None = (
        idx_files.recognise(folder) or _tables(folder) or _class_folders(folder)
    )
    if reader is None:
        raise base.ReadingError(f"{_nothing(files, listing)}{_no_manifest(folder)}")
    unread = _unread(folder, reader)
    if options.form not in (None, reader.form):
        raise _other_form(folder, options.form, reader, unread)
    _refuse_unused(reader, options)
    lost = lost_splits.find(reader, unread)
    lost_splits.refuse_labelled(folder, reader, lost, unread)
    told = (lost_splits.doubt(folder, path, split, unread[path]) for path, split in lost.items())
    others = {path: reason for path, reason in unread.items() if path not in lost}
    reader.doubts = (*reader.doubts, *told, *_doubts(folder, reader, others))
    return reader


def _tables(folder: Folder) -> base.Reader | None:
    """Arrays, Parquet and tables of text."""
    if not folder.listing.with_suffix(_SINGLE_FILES):
        return None
    # Imported here: Arrow takes as long as all the rest of a look at other data.
    from components.example_gen.readers import arrays, parquet_images

    return arrays.recognise(folder) or parquet_images.recognise(folder) or _rows(folder)


def _rows(folder: Folder) -> base.Reader | None:
    """Manifests and pixel tables in the data folder, or else in folders below it.

    Those below never replace a table above them that was meant as data and cannot be used.
    """
    from components.example_gen.readers import manifest, pixel_table, tables

    recognisers: list[Callable[[Folder, list[str]], base.Reader | None]]
    recognisers = [manifest.recognise, pixel_table.recognise]
    for paths in tables.levels(folder.listing):
        for recognise in tuple(recognisers):
            if reader := recognise(folder, paths):
                return reader
            if any(path in folder.missed for path in paths):
                recognisers.remove(recognise)
    return None


def _class_folders(folder: Folder) -> base.Reader | None:
    """Class folders; where there are none, what looked like data says more of what is wrong."""
    try:
        reader = class_folders.recognise(folder)
    except base.ReadingError as refusal:
        if not folder.missed:
            raise base.ReadingError(f"{refusal}{_no_manifest(folder)}") from refusal
        reader = None
    if reader is None and folder.missed:
        path, reason = next(iter(folder.missed.items()))
        error = folder.broken.get(path)
        raise error or base.ReadingError(f"{folder.files.shown(path)}: {reason}")
    return reader


def _no_manifest(folder: Folder) -> str:
    """Why a table in the folder is no manifest, as a further sentence; empty without a table."""
    if not folder.no_manifests:
        return ""
    path, reason = next(iter(folder.no_manifests.items()))
    return f" The table {shown(path)} is no manifest: {reason}"


def _unread(folder: Folder, reader: base.Reader) -> dict[str, str]:
    """Tables and files of arrays that may be meant as data and are not read, with the reasons."""
    missed = folder.no_manifests | folder.missed
    if not missed:
        return {}
    read = frozenset(reader.sources())
    return {path: reason for path, reason in missed.items() if path not in read}


def _doubts(folder: Folder, reader: base.Reader, unread: dict[str, str]) -> tuple[str, ...]:
    """Warns of files that may have been meant instead of what was recognised, or beside it."""
    if folder.options.form is not None:
        return ()
    told = {
        path: reason
        for path, reason in unread.items()
        # Beside a table that is read, others may hold anything.
        if path in folder.missed or reader.form == base.Form.CLASS_FOLDERS
    }
    return tuple(
        f"{folder.files.shown(path)} is not read, and the data is taken as {reader.summary}. The "
        f"reason: {reason} If the labels in this file are meant, fix it. If not, move it away, or "
        f'set data.form="{reader.form}".'
        for path, reason in itertools.islice(told.items(), _MOST_TOLD)
    )


def _other_form(
    folder: Folder, expected: base.Form, reader: base.Reader, unread: dict[str, str]
) -> base.ReadingError:
    """The refusal of data that was recognised as another form than the expected one."""
    told = itertools.islice(unread.items(), _MOST_TOLD)
    reasons = [f"{folder.files.shown(path)}: {reason}" for path, reason in told]
    why = " ".join(reasons) or "Nothing there looks like that form."
    return base.ReadingError(
        f"{folder.files.shown('')} was recognised as {reader.summary}; expected the form "
        f"{expected}, as data.form says. {why} Fix or restore the data. If another form is meant "
        f'from now on, set data.form="{reader.form}".'
    )


def _refuse_unused(reader: base.Reader, options: base.Options) -> None:
    """Refuses names of columns that the data has no use for: they are a mistake."""
    asked = {
        name: value
        for name, value in dataclasses.asdict(options).items()
        if name.endswith("_column") and value is not None
    }
    unused = [name for name in asked if name not in _USED_COLUMNS.get(reader.form, ())]
    if unused:
        settings = ", ".join(f"data.{name}={shown(asked[name])}" for name in unused)
        raise base.ReadingError(
            f"{settings}, but the data was recognised as {reader.summary}; expected a form with "
            "such a column. Leave the setting out, or name the file with the column as the data."
        )


def _listed(path: str, options: base.Options, remote: bool) -> tuple[Files, Listing]:
    """Access to the folder, or to the folder of a single file, with what is to be read there."""
    name = os.path.basename(path)
    if suffix(name) in _SINGLE_FILES and not (not remote and os.path.isdir(path)):
        files = _files(os.path.dirname(path) or ".", options, remote)
        if reason := files.why_unusable(name):
            raise base.ReadingError(f"{shown(path)}: {reason}")
        return files, Listing((name,), (), frozenset(), 0, ())
    if not remote and not os.path.isdir(path):
        raise _no_folder(path)
    files = _files(path, options, remote)
    return files, files.walk()


def _files(root: str, options: base.Options, remote: bool) -> Files:
    if not remote:
        return LocalFiles(root, options.outside_files)
    return BucketFiles(root) if object_store.is_address(root) else RemoteFiles(root)


def _no_folder(path: str) -> base.ReadingError:
    if not os.path.lexists(path):
        return base.ReadingError(
            f"{shown(path)} does not exist; expected a folder with data. Check the path."
        )
    ending = suffix(path)
    if idx_files.is_named(os.path.basename(path)):
        hint = "is one IDX file; expected the folder of all four. Give the folder."
    elif not os.path.isfile(path):
        hint = "is a pipe or a device; expected a folder with data. Copy its content to a file."
    elif ending in _ARCHIVES:
        hint = "is an archive; expected a folder with data. Unpack it, and give the folder."
    elif ending in IMAGE_SUFFIXES:
        hint = (
            "is a single image; expected a data set with labels. Give the folder of the classes; "
            "to classify one image, use predict."
        )
    elif ending in _VIDEOS:
        hint = "is a video; expected images. Extract frames into a folder for each class."
    else:
        hint = f"is a file of another kind; {_FORMS}"
    return base.ReadingError(f"{shown(path)} {hint}")


def _nothing(files: Files, listing: Listing) -> base.ReadingError:
    """The refusal of a folder without data of a known form."""
    folder = files.shown("")
    if not listing.paths:
        junk = f" but {listing.junk} hidden or temporary files" if listing.junk else ""
        below = " but empty folders" if listing.folders else ""
        return base.ReadingError(f"{folder} holds nothing{junk or below}; {_FORMS}")
    videos = len(listing.with_suffix(_VIDEOS))
    archives = listing.with_suffix(_ARCHIVES)
    if videos:
        return base.ReadingError(
            f"{folder} holds {counted(videos, 'video')} and no images; expected images. Extract "
            "frames into a folder for each class."
        )
    if archives:
        return base.ReadingError(
            f"{folder} holds no data but archives ({listed(archives)}); expected unpacked data. "
            "Unpack them there."
        )
    kinds = ", ".join(
        f"{len(paths)} {shown(ending) or 'without a suffix'}"
        for ending, paths in sorted(listing.by_suffix.items(), key=lambda item: -len(item[1]))[:5]
    )
    return base.ReadingError(
        f"{folder} holds {counted(len(listing.paths), 'file')} of no known form ({kinds}); {_FORMS}"
    )
