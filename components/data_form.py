"""The forms of data. A module of its own: configuration and Trainer import no reader."""

import enum


class Form(enum.StrEnum):
    """The forms that labelled images come in."""

    CLASS_FOLDERS = "class folders"
    MANIFEST = "manifest"
    PIXEL_TABLE = "pixel table"
    PARQUET_IMAGES = "Parquet of images"
    ARRAYS = "arrays"
    IDX = "IDX"


# Their images are pixels of the schema's size, so that no image file is prepared.
OF_PIXELS = frozenset({Form.PIXEL_TABLE, Form.ARRAYS, Form.IDX})
