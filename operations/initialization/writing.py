"""Writes files into a folder: all of them or none, and never over something that is there."""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import shutil
from collections.abc import Mapping

from components.messages import shown
from pipeline.errors import OutputError


def refuse_existing(folder: pathlib.Path, names: tuple[str, ...]) -> None:
    """Refuses a folder that holds one of these files, or is none.

    Raises:
      OutputError: A file is there, or the folder cannot be used.
    """
    try:
        if os.path.lexists(folder) and not folder.is_dir():
            raise OutputError(f"{folder} is no folder; expected a new folder. Choose another name.")
        there = [name for name in names if os.path.lexists(folder / name)]
    except OSError as error:
        raise _unwritable(folder, error) from error
    if there:
        raise OutputError(
            f"{folder} already has {', '.join(there)}, and nothing is overwritten; expected a new "
            "folder. Choose another name, or move the files away."
        )


def write_all(folder: pathlib.Path, texts: Mapping[str, str]) -> None:
    """Writes files into a folder, which is made if it is missing.

    Args:
      folder: The folder.
      texts: Text of each file, by its name.

    Raises:
      OutputError: The files cannot be written, or one is there; nothing is left behind.
    """
    try:
        if folder.is_dir():
            _write(folder, texts)
            return
        made = [place for place in folder.parents if not place.exists()]
        try:
            _write_new(folder, texts)
        except BaseException:
            for place in made:
                with contextlib.suppress(OSError):
                    place.rmdir()
            raise
    except FileExistsError as error:
        raise OutputError(
            f"{shown(str(error.filename))} appeared meanwhile, and nothing is overwritten; "
            "expected a new folder. Choose another name."
        ) from error
    except OSError as error:
        raise _unwritable(folder, error) from error


def _write_new(folder: pathlib.Path, texts: Mapping[str, str]) -> None:
    """Writes into a new folder, which gets its name when it is whole.

    Until then its name is random: process ids are the same in two containers, and what a killed
    one left must not be in the way.
    """
    partial = folder.with_name(f".init-{secrets.token_hex(8)}")
    partial.mkdir(parents=True)
    try:
        _write(partial, texts)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write(folder: pathlib.Path, texts: Mapping[str, str]) -> None:
    written = []
    try:
        for name, text in texts.items():
            # x: what came into being meanwhile stays.
            with (folder / name).open("x", encoding="utf-8") as file:
                written.append(folder / name)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _unwritable(folder: pathlib.Path, error: OSError) -> OutputError:
    return OutputError(
        f"{folder} cannot be written ({error.strerror}); expected a folder of your own, with "
        "room on its disk. Choose another with its path as NAME."
    )
