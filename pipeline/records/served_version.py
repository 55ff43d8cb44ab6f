"""Reads the served model before a run, and decides whether a new model is compared with it.

Needs neither TensorFlow nor TFX.
"""

from __future__ import annotations

from components.image_schema import ImageSchema
from components.images import Preparation
from components.object_store import ObjectStoreError
from components.pusher import bucket, versions
from components.pusher.served import (
    ServedModel,
    UnreadableModelError,
    difference,
    preparation_difference,
    read_served,
)
from pipeline.errors import PipelineError, ServedModelError, UnreachableError
from pipeline.locations import Locations


def version_to_compare(locations: Locations, schema: ImageSchema, new_line: bool) -> int | None:
    """The served version that a new model has to be compared with; None where there is none.

    Args:
      locations: Places of the pipeline.
      schema: Image size and classes of the data.
      new_line: Whether to replace the served model without a comparison.

    Raises:
      ServedModelError: where the served model cannot be read; where it is for other images or
        classes than the schema, without `new_line`; and where it is not, with `new_line`.
    """
    served = read(locations)
    if served is None:
        _refuse_new_line(new_line, f"nothing is served in {locations.serving}")
        return None
    name = locations.root.name
    differs = difference(served, schema)
    if differs is None:
        _refuse_new_line(
            new_line,
            f"served version {served.version} of {name} has the image size and classes of the "
            "schema, so a new model is compared with it",
        )
        return served.version
    if new_line:
        return None
    raise ServedModelError(
        f"served version {served.version} of {name} {differs}. Expected a model to compare the new "
        "one with. Give the new pipeline a name of its own with --set name=NAME, or replace the "
        "served model without a comparison: run --new-line."
    )


def prepared_otherwise(locations: Locations, asked: Preparation) -> str | None:
    """Says how the served model prepares image files in another way than a run; None if alike.

    Args:
      locations: Places of the pipeline.
      asked: How the run prepares them.

    Raises:
      ServedModelError: where the served model cannot be read.
    """
    served = read(locations)
    if served is None:
        return None
    differs = preparation_difference(served, asked)
    return differs and f"served version {served.version} of {locations.root.name} {differs}"


def bucket_of(locations: Locations) -> str | None:
    """The address of the bucket that has copies of the versions of a pipeline; None without one.

    Raises:
      ServedModelError: where the note of the address cannot be read.
    """
    try:
        return bucket.address_of(locations.serving)
    except ObjectStoreError as error:
        raise in_bucket(error) from error


def copy_to_bucket(locations: Locations, address: str | None) -> int | None:
    """Copies the served version to a bucket, unless it is there whole.

    Only the holder of the pipeline's lock may call this.

    Args:
      locations: Places of the pipeline.
      address: Folder in a bucket; None where the pipeline has none.

    Returns:
      The version that was copied; None if there was nothing to do.

    Raises:
      ServedModelError: where the bucket refuses, or holds a newer version; where the serving folder
        cannot be read or written.
      UnreachableError: where it does not answer.
    """
    try:
        copied = bucket.catch_up(locations.serving, address) if address else None
        bucket.remember(locations.serving, address)
        return copied
    except ObjectStoreError as error:
        raise in_bucket(error) from error
    except OSError as error:
        raise ServedModelError(
            f"{error.filename or locations.serving} cannot be read or written ({error.strerror}); "
            "expected a serving folder to read and write. Check its rights."
        ) from error


def is_copied(locations: Locations, address: str | None) -> bool:
    """Says whether `copy_to_bucket` would have nothing to do; changes nothing.

    Where the bucket cannot be read, it would have: a run then tells of the fault.

    Args:
      locations: Places of the pipeline.
      address: As for `copy_to_bucket`.
    """
    base = locations.serving
    try:
        if bucket.address_of(base) != address:
            return False
        newest = bucket.check_unchanged(base, address) if address else None
    except (ObjectStoreError, OSError):
        return False
    return address is None or newest == max(versions.served_versions(base), default=None)


def in_bucket(error: ObjectStoreError) -> PipelineError:
    """The error of a command that could not read or write the versions of a bucket."""
    message = str(error)
    return UnreachableError(message) if error.is_passing else ServedModelError(message)


def read(locations: Locations) -> ServedModel | None:
    """Reads the model that a pipeline serves; None where it serves none.

    Raises:
      ServedModelError: where it cannot be read, or no model could follow it.
    """
    try:
        served = read_served(locations.serving)
    except UnreadableModelError as error:
        raise ServedModelError(f"{error}; {_expected(locations)}") from error
    check_numbers(locations)
    return served


def check_numbers(locations: Locations) -> None:
    """Checks that the next version can have a higher number than all others.

    Raises:
      ServedModelError: If it cannot.
    """
    if above := versions.too_high(locations.serving):
        raise ServedModelError(
            f"{above[0]} has so high a number that servers would load it instead of the next "
            "version; expected at most 18 digits, not all of them 9. Rename or remove it."
        )


def _expected(locations: Locations) -> str:
    try:
        *earlier, newest = versions.served_versions(locations.serving)
    except (OSError, ValueError):
        return (
            "expected the folder of the served versions, or nothing where no model was served yet. "
            "Mount it, give read permission, or put it back from a copy."
        )
    return (
        f"expected that the served version {newest} of {locations.root.name} can be read, since "
        f"the new model is compared with it. Restore its files from a copy, "
        f"{_way_out(locations, newest, earlier)}"
    )


def _way_out(locations: Locations, newest: int, earlier: list[int]) -> str:
    if not earlier:
        folder = locations.serving / str(newest)
        return f"or remove {folder}: the next model is then compared with none."
    command = locations.command("rollback", "--list")
    return f"or serve an earlier version again; this lists them: {command}"


def _refuse_new_line(new_line: bool, reason: str) -> None:
    if new_line:
        raise ServedModelError(
            f"{reason}; expected a served model of another image size or other classes for "
            "--new-line. Run without --new-line."
        )
