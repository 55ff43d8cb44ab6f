"""The files of EMNIST, which hold each image on its side: rows and columns are exchanged.

They are not turned: a name says too little for that, and `predict` reads such files by any name.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

_WORD = re.compile(r"(?<![a-z0-9])emnist(?![a-z0-9])")
_DOUBT = (
    "The names of the files say EMNIST, which holds each image on its side, with rows and columns "
    "exchanged. The images are taken as they are: the model will fail on upright ones. Write them "
    "upright to a file of another name, in NumPy with x.transpose(0, 2, 1)."
)


def is_named(paths: Iterable[str]) -> bool:
    """Whether files are called after EMNIST."""
    return any(_WORD.search(posixpath.basename(path).lower()) for path in paths)


def summary(paths: Iterable[str]) -> str:
    """What a summary says of such files, after what else it says; empty for others."""
    return "; images of EMNIST lie on their side" if is_named(paths) else ""


def doubts(paths: Iterable[str]) -> tuple[str, ...]:
    """What a person should know of such files; nothing of others."""
    return (_DOUBT,) if is_named(paths) else ()
