"""Reads the shape of the images and the names of the classes from a schema."""

from __future__ import annotations

import dataclasses
import os

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components import features
from components.class_names import composed, is_showable
from components.messages import shown

SCHEMA_FILE = "schema.pbtxt"
_LONGEST = 300
_DECODED_GROUP = "decoded"


class SchemaError(ValueError):
    """A schema without the image size or the class names that a classifier needs."""


@dataclasses.dataclass(frozen=True)
class ImageSchema:
    """Size of the images and names of the classes.

    Attributes:
      height: Height of an image in pixels.
      width: Width of an image in pixels.
      channels: Number of values per pixel, 1 for grayscale and 3 for colour.
      class_names: Class names in label order, in Unicode's composed form.
    """

    height: int
    width: int
    channels: int
    class_names: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return (self.height, self.width, self.channels)

    @property
    def bytes_per_image(self) -> int:
        """Size of a raw image in bytes, one per pixel and channel."""
        return self.height * self.width * self.channels


def parse_schema(text: str, source: str) -> ImageSchema:
    """Reads an `ImageSchema` from the text form of a TensorFlow Metadata schema.

    Args:
      text: A `tensorflow.metadata.v0.Schema` in text form, with or without a byte order mark.
      source: Name of the source of the text, for error messages.

    Raises:
      SchemaError: If the text is not a schema, or lacks the decoded shape or the class names, or a
        name could command a terminal.
    """
    schema = schema_pb2.Schema()
    try:
        text_format.Parse(text.removeprefix("\ufeff"), schema)
    except text_format.ParseError as error:
        raise SchemaError(
            f"{source} is not a schema in text form ({shown(repr(str(error)))}); expected a "
            "tensorflow.metadata.v0.Schema. See schema/README.md for an example."
        ) from error
    return from_proto(schema, source)


def from_proto(schema: schema_pb2.Schema, source: str) -> ImageSchema:
    """Reads an `ImageSchema` from a schema proto.

    Args:
      schema: The schema.
      source: Name of the source of the schema, for error messages.

    Raises:
      SchemaError: If the decoded shape or the class names are missing or contradictory, or a name
        could command a terminal.
    """
    height, width, channels = _decoded_shape(schema, source)
    return ImageSchema(height, width, channels, _class_names(schema, source))


def read_artifact(uri: str) -> ImageSchema:
    """Reads the schema artifact in the folder `uri`."""
    # Import TFX only here: reading a schema as text must not import it.
    from tfx.dsl.io import fileio

    path = os.path.join(uri, SCHEMA_FILE)
    with fileio.open(path, "r") as file:
        return parse_schema(file.read(), path)


def _decoded_shape(schema: schema_pb2.Schema, source: str) -> tuple[int, int, int]:
    representations = schema.tensor_representation_group[_DECODED_GROUP].tensor_representation
    dimensions = representations[features.IMAGE].dense_tensor.shape.dim
    sizes = tuple(dimension.size for dimension in dimensions)
    if len(sizes) != 3 or min(sizes, default=0) < 1 or sizes[2] not in (1, 3):
        shape = f"the shape {shown(str(sizes))}" if sizes else "no shape"
        raise SchemaError(
            f"{source} gives the decoded image {shape}; expected three dimensions, height, width "
            f'and channels (1 or 3), in tensor_representation_group "{_DECODED_GROUP}". See '
            "schema/README.md for an example."
        )
    if sizes[0] * sizes[1] > features.MOST_IMAGE_PIXELS:
        raise SchemaError(
            f"{source} gives the decoded image {sizes[0]:,} x {sizes[1]:,} pixels; expected at "
            f"most {features.MOST_IMAGE_PIXELS:,}, as no image with more is read. See "
            "schema/README.md for an example."
        )
    return sizes


def _class_names(schema: schema_pb2.Schema, source: str) -> tuple[str, ...]:
    domains = [d for d in schema.string_domain if d.name == features.LABEL]
    names = tuple(map(composed, domains[0].value)) if domains else ()
    labels = [f.int_domain for f in schema.feature if f.name == features.LABEL]
    expected = labels[0].max - labels[0].min + 1 if labels and labels[0].min == 0 else 0
    if len(names) < 2 or len(names) != expected or len(set(names)) != len(names):
        raise SchemaError(
            f"{source} names {len(names)} classes, but its label domain has {expected} labels; "
            f'expected a string_domain "{features.LABEL}" with a distinct name for each label from '
            "0 to max of int_domain, and at least two. See schema/README.md for an example."
        )
    for label, name in enumerate(names):
        if not is_showable(name):
            raise SchemaError(
                f"{source} names class {label} {name[:_LONGEST]!r}, with control characters; "
                "expected text in one line that is safe to show. Rename the class."
            )
    return names
