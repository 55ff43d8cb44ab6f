"""Tables that are called after a split and are not read: the split would be drawn instead."""

from __future__ import annotations

from collections.abc import Mapping

from components import features
from components.example_gen.readers import base, split_names
from components.example_gen.readers.files import suffix
from components.example_gen.readers.folder import Folder
from components.messages import shown

# Forms that have a table for each split.
_FORMS = (base.Form.MANIFEST, base.Form.PIXEL_TABLE, base.Form.PARQUET_IMAGES)


def find(reader: base.Reader, unread: Mapping[str, str]) -> dict[str, int]:
    """The unread files that are called after a split that nothing else gives, with the splits.

    Args:
      reader: What was recognised.
      unread: Files that may be meant as data and are not read, with the reasons.
    """
    if not unread:
        return {}
    endings = {suffix(path) for path in unread}
    read = [path for path in reader.sources() if suffix(path) in endings]
    given = {*reader.splits, *map(split_names.of_file, read), base.UNDECIDED}
    named = {path: split_names.of_file(path) for path in unread}
    return {path: split for path, split in named.items() if split not in given}


def doubt(folder: Folder, path: str, split: int, reason: str) -> str:
    """Warns of such a file.

    Args:
      folder: The data folder.
      path: The file.
      split: The split that it is called after, as a position in `features.SPLITS`.
      reason: Why it is not read.
    """
    return (
        f"{folder.files.shown(path)} is called after the split {features.SPLITS[split]} and is not "
        f"read, and nothing else gives that split. The reason: {reason} If the file holds labelled "
        "images, fix it. If not, rename it, or move it away."
    )


def refuse_labelled(
    folder: Folder, reader: base.Reader, lost: Mapping[str, int], unread: Mapping[str, str]
) -> None:
    """Refuses such a file that has labels, where each split may be a table of its own.

    Raises:
      ReadingError: There is one.
    """
    if reader.form not in _FORMS:
        return
    # Imported here: Arrow takes as long as all the rest of a look at other data.
    from components.example_gen.readers import tables

    for path, split in lost.items():
        label = tables.label_column(folder.files, path, folder.options.label_column)
        if label is not None:
            raise base.ReadingError(
                f"{folder.files.shown(path)} has labels in the column {shown(label)}, but is not "
                f"read; expected it to be, since it is called after the split "
                f"{features.SPLITS[split]}, which nothing else gives. The reason: {unread[path]} "
                "Fix the file. If it is no part of the data, rename it, or move it away."
            )
