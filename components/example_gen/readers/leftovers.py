"""Says what lies in a data folder and is not read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from components.example_gen.readers.files import Listing
from components.example_gen.readers.folder import Folder
from components.features import IMAGE_SUFFIXES
from components.messages import counted, listed, shown

_MOST_LINES = 20
# Images in formats that are not read.
_OTHER_IMAGES = frozenset(
    [".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".svg", ".dng", ".cr2"]
)
_UNREAD_IMAGES = "images in a format that is not read; convert them to JPEG or PNG"


def lines(
    folder: Folder, is_read: Callable[[str], bool], images_reason: str | None = ""
) -> tuple[str, ...]:
    """A line for each kind of file that is not read.

    Args:
      folder: The data folder.
      is_read: Whether a file is read, or was told of already.
      images_reason: Why further image files are not read; None: none of them is to be told of.
    """
    others = {
        ending: [path for path in paths if path not in folder.missed and not is_read(path)]
        for ending, paths in folder.listing.by_suffix.items()
        if images_reason is not None or ending not in IMAGE_SUFFIXES
    }
    images: list[str] = []
    if images_reason:
        images = sorted(path for ending in IMAGE_SUFFIXES for path in others.pop(ending, []))
    missed = ((path, why) for path, why in folder.missed.items() if not is_read(path))
    return (
        *_images(images, images_reason),
        *capped(_others(ending, paths) for ending, paths in others.items() if paths),
        *capped(f"{shown(path)}: {why}" for path, why in missed),
        *_links(folder.listing),
        *_junk(folder.listing),
    )


def _images(paths: Sequence[str], reason: str | None) -> Iterable[str]:
    if paths:
        yield f"{counted(len(paths), 'image')} ({listed(paths[:3])}): {reason}"


def _others(ending: str, paths: list[str]) -> str:
    reason = _UNREAD_IMAGES if ending in _OTHER_IMAGES else "not part of the data"
    if len(paths) == 1:
        return f"{shown(paths[0])}: {reason}"
    kind = f"{shown(ending)} files" if ending else "files without a suffix"
    return f"{len(paths)} {kind} ({listed(paths[:3])}, ...): {reason}"


def capped(told: Iterable[str]) -> tuple[str, ...]:
    """The first lines, and how many more there are."""
    every = tuple(told)
    more = len(every) - _MOST_LINES
    return every if more <= 0 else (*every[:_MOST_LINES], f"and {more} more kinds of files")


def _links(listing: Listing) -> Iterable[str]:
    if listing.unfollowed:
        yield f"{listed(listing.unfollowed)}: links to folders that lead back or lie below others"


def _junk(listing: Listing) -> Iterable[str]:
    if listing.junk:
        noun = "hidden or temporary file or folder"
        plural = "hidden or temporary files and folders"
        yield f"{listing.junk} {noun if listing.junk == 1 else plural}"
