"""Image files of every kind, made for the tests: by Pillow, and by hand where it cannot."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

HEIGHT, WIDTH = 6, 5
_RANDOM = np.random.default_rng(7)
COLOURS = _RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
OPACITY = _RANDOM.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
PICTURE = Image.fromarray(COLOURS)
TRANSPARENT = Image.fromarray(np.dstack([COLOURS, OPACITY]))
# Bit depth and colour type of every PNG file, with the number of values per pixel.
PNG_KINDS = {
    **{(depth, 0): 1 for depth in (1, 2, 4, 8, 16)},
    **{(depth, 2): 3 for depth in (8, 16)},
    **{(depth, 3): 1 for depth in (1, 2, 4, 8)},
    **{(depth, 4): 2 for depth in (8, 16)},
    **{(depth, 6): 4 for depth in (8, 16)},
}
# Passes of Adam7: first column, first row, distance of columns and of rows.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    """The file that Pillow writes."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def turned(orientation: int, endian: str = "<") -> Image.Exif:
    """EXIF data with an orientation, in either byte order."""
    exif = Image.Exif()
    exif.endian = endian
    exif[0x0112] = orientation
    return exif


def xmp(orientation: int) -> str:
    """XMP data with an orientation."""
    return f'<rdf:Description tiff:Orientation="{orientation}"/>'


def text(keyword: str, value: str, *, zipped: bool, international: bool):
    """Options to save a PNG file with a text chunk."""
    info = PngImagePlugin.PngInfo()
    add = info.add_itxt if international else info.add_text
    add(keyword, value, zip=zipped)
    return {"pnginfo": info}


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png_values(depth: int, colour_type: int) -> np.ndarray:
    """Random values of a PNG file, [height, width, values per pixel]."""
    random = np.random.default_rng(depth + colour_type)
    return random.integers(0, 2**depth, (HEIGHT, WIDTH, PNG_KINDS[depth, colour_type]))


def png(
    values: np.ndarray,
    depth: int,
    colour_type: int,
    *,
    before: tuple[bytes, ...] = (),
    after: tuple[bytes, ...] = (),
    interlaced: bool = False,
) -> bytes:
    """A PNG file of values [height, width, values per pixel], with further chunks around them."""
    height, width = values.shape[:2]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b""
    for left, top, right, down in passes:
        for row in values[top::down, left::right]:
            if row.size:
                rows += b"\0" + _packed(row.ravel(), depth)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *before,
            chunk(b"IDAT", zlib.compress(rows)),
            *after,
            chunk(b"IEND", b""),
        ]
    )


def palette(depth: int, size: int | None = None) -> bytes:
    """A PLTE chunk with random colours."""
    random = np.random.default_rng(depth)
    return chunk(b"PLTE", random.integers(0, 256, 3 * (size or 2**depth), np.uint8).tobytes())


def _packed(values: np.ndarray, depth: int) -> bytes:
    if depth == 16:
        return values.astype(">u2").tobytes()
    bits = np.unpackbits(values.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]
    return np.packbits(bits.ravel()).tobytes()
