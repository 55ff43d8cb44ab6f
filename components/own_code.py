"""Whether a worker of an engine runs the same code as the run that asks it.

Functions reach workers by their names, so a worker pool or an image runs its own copy. The cache
would keep what an older copy made under the fingerprint of the new one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import pathlib

from components import environment


class OtherCodeError(RuntimeError):
    """A worker has another copy of the code, or computes otherwise."""


@functools.cache
def digest() -> str:
    """SHA-256 of this process's modules of `components`, and of whether it uses oneDNN."""
    root = pathlib.Path(__file__).resolve().parent
    found = hashlib.sha256(str(environment.onednn()).encode())
    for path, content in sources(root).items():
        found.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()


def sources(place: pathlib.Path) -> dict[pathlib.Path, bytes]:
    """Content of a source file, or of each one below a folder, in the order of their paths.

    Editors leave locks and copies beside the files: names that no import finds are left out, and
    so is a link to nowhere. A file that is replaced just now may be missing.
    """
    found = {}
    for path in sorted([place] if place.suffix == ".py" else place.rglob("*.py")):
        names = path.relative_to(place.parent).with_suffix("").parts
        if all(map(str.isidentifier, names)):
            with contextlib.suppress(FileNotFoundError):
                found[path] = path.read_bytes()
    return found


def check(expected: str) -> None:
    """Refuses to work for a run with other code.

    Args:
      expected: `digest` of the process of the run.

    Raises:
      OtherCodeError: The digest of this process differs.
    """
    if digest() != expected:
        raise OtherCodeError(
            "a worker has another copy of components/ than the run, or only one of the two uses "
            "oneDNN (TF_ENABLE_ONEDNN_OPTS, or another processor); expected the same, since the "
            "cache would keep its results as those of this code. Bring the checkout, the package "
            "or the image of the workers up to date, and start the worker pools again."
        )
