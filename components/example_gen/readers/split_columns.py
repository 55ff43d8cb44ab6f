"""The column of a table that names the split of each image."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from components import features
from components.example_gen.readers import base, split_names, tables
from components.example_gen.readers.files import Files
from components.features import TEST, TRAIN, VALIDATION
from components.messages import shown

_HINT = "If the column is no split, rename it, or name another one as data.split_column."
# Values that fit the split that a file is called after.
_FITTING = {TRAIN: (TRAIN, VALIDATION), VALIDATION: (VALIDATION,), TEST: (TEST,)}


def read(files: Files, path: str, name: str, column: pa.ChunkedArray, of_file: int) -> list[int]:
    """The split of each row; an empty value leaves it to the name of the file.

    Args:
      files: Access to the folder.
      path: The table.
      name: Name of the column.
      column: Its values.
      of_file: The split that the file is called after, as a position in `features.SPLITS`, or
        `UNDECIDED`.

    Raises:
      ReadingError: A value names no split, or contradicts the name of the file.
    """
    if pa.types.is_null(column.type):
        return [of_file] * len(column)
    if tables.is_text(column.type):
        texts = [text or "" for text in tables.shared_texts(column)]
    else:
        texts = tables.as_text(files, path, name, column)
    known = {text: split_names.of_name(text) for text in set(texts)}

    def refuse(wrong: Collection[str], fault: str, expected: str) -> None:
        rows = [row for row, text in enumerate(texts) if text in wrong]
        if rows:
            told = f"{fault} ({shown(texts[rows[0]])}, say)"
            tables.refuse_rows(files, path, told, expected, rows, _HINT)

    unknown = {text for text, split in known.items() if text.strip() and split is None}
    refuse(unknown, f"an unknown {shown(name)}", split_names.EXPECTED)
    if of_file != base.UNDECIDED:
        fitting = _FITTING[of_file]
        others = {
            text for text, split in known.items() if split is not None and split not in fitting
        }
        expected = f"{' or '.join(features.SPLITS[split] for split in fitting)}, or no value"
        refuse(others, f"a {shown(name)} that contradicts the name of the file", expected)
    splits = [known[text] for text in texts]
    return [of_file if split is None else split for split in splits]
