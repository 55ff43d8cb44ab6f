"""Turns image files into pixels of one size, by the rules of docs/images.md.

Training data, `predict` and, as a graph, the export (`components.trainer.decoding`) follow the same
rules. This module imports neither TensorFlow nor TFX: every command starts without them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import hashlib
import io
import logging
import math
import struct
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from components.features import MOST_IMAGE_PIXELS
from components.messages import with_kind
from components.reading_report import Border

# The only formats that are tried: Pillow would start Ghostscript for an EPS file.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
# Mean brightness of a dark border at most, and of a bright border at least.
DARK_BORDER, BRIGHT_BORDER = 64, 191

_EXPECTED = "a PNG, JPEG, WebP, BMP, GIF or TIFF file"
SAVE_AGAIN = "Save it with 8 bits per colour, as gray or RGB."
# Share of images whose borders have to be alike.
_UNIFORM = 0.9
# Pixels that are composited at a time, so that large images need little memory.
_BAND = 2**20
_MOST_REASON = 200
# Of an image by which preparations are told apart: of a large form, it is smaller than the form.
_MOST_PROBE_PIXELS = 2**21
# JPEG has no longer sides than 65,535.
_LONGEST_PROBE_SIDE = 2**15
_UNUSABLE_MODES = {
    "I": "32-bit or signed integers",
    "F": "floating-point numbers",
    "CMYK": "the colours of a printer (CMYK)",
    "LAB": "Lab colours",
    "HSV": "HSV colours",
    "YCbCr": "YCbCr colours",
    "La": "premultiplied transparency",
    "RGBa": "premultiplied transparency",
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# After the length of the first box, in ISO's base media file format.
_PHONE_KIND = b"ftyp"
_PNG_GRAY, _PNG_RGB, _PNG_PALETTE = 0, 2, 3
_TIFF_RGB, _TIFF_YCBCR = 2, 6
# Length of the tRNS chunk by colour type: one value, or one per channel.
_KEY_LENGTHS = {_PNG_GRAY: 2, _PNG_RGB: 6}
_DNG_VERSION = 0xC612
_UNSPECIFIED_SAMPLE, _TRANSPARENCY_SAMPLE = 0, 2

# Without a handler, Python would print Pillow's complaints about damaged files.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class ImageError(ValueError):
    """An image cannot be used; the message says why, what was expected and how to fix it."""


class Fit(enum.StrEnum):
    """How an image of another size becomes one of the expected size."""

    PAD = "pad"
    CROP = "crop"
    STRETCH = "stretch"


@dataclasses.dataclass(frozen=True)
class Preparation:
    """The form that every image gets.

    Attributes:
      height: Height in pixels.
      width: Width in pixels.
      channels: Number of values per pixel, 1 for grayscale and 3 for colour.
      fit: How an image of another size is fitted.
      background: Brightness of padding and of what is transparent, 0 to 255.
    """

    height: int
    width: int
    channels: int
    fit: Fit
    background: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return (self.height, self.width, self.channels)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An image in the expected form.

    Attributes:
      pixels: The image, uint8 [height, width, channels].
      border: Mean brightness of the border before fitting, 0 to 255.
      size: Width and height before fitting.
    """

    pixels: np.ndarray
    border: float
    size: tuple[int, int]


def prepare(content: bytes, preparation: Preparation) -> Prepared:
    """Decodes and fits an image file.

    Args:
      content: Content of the file.
      preparation: The expected form.

    Raises:
      ImageError: If the image cannot be used.
    """
    image = decode(content, preparation.channels, preparation.background)
    pixels = fitted(image, preparation)
    if image.size == (preparation.width, preparation.height):
        # Of small images, the border costs more than anything else if it is cut out by Pillow.
        return Prepared(pixels, float(borders(pixels[np.newaxis])[0]), image.size)
    return Prepared(pixels, border(image), image.size)


def preparation_digest(preparation: Preparation) -> str:
    """Tells apart what prepares the same file otherwise: settings, these rules, Pillow's version.

    Args:
      preparation: The expected form.

    Returns:
      The SHA-256, hexadecimal, of what a transparent PNG file and a JPEG file become.
    """
    digest = hashlib.sha256()
    for content in _probes(preparation):
        digest.update(prepare(content, preparation).pixels.tobytes())
    return digest.hexdigest()


def _probes(preparation: Preparation) -> Iterator[bytes]:
    """Image files that are larger than a small expected form, and less wide for their height."""
    height, width = 3 * preparation.height, 2 * preparation.width
    smaller = max(
        math.ceil(math.sqrt(height * width / _MOST_PROBE_PIXELS)),
        math.ceil(max(height, width) / _LONGEST_PROBE_SIDE),
    )
    shape = (height // smaller + 1, width // smaller + 1, 4)
    rows, columns, bands = (axis.astype(np.uint8) for axis in np.indices(shape, sparse=True))
    image = Image.fromarray(7 * rows + 5 * columns + 64 * bands, "RGBA")
    for opened, name in ((image, "PNG"), (image.convert("RGB"), "JPEG")):
        file = io.BytesIO()
        opened.save(file, name)
        yield file.getvalue()


def decode(content: bytes, channels: int, background: int) -> Image.Image:
    """Decodes an image file: 8 bits, upright, opaque.

    Args:
      content: Content of the file.
      channels: 1 for grayscale, 3 for colour.
      background: Brightness behind what is transparent, 0 to 255.

    Returns:
      An image of mode L or RGB.

    Raises:
      ImageError: If the image cannot be used.
    """
    if not content:
        raise ImageError(f"the file is empty; expected {_EXPECTED}. Copy the file again.")
    with _refusing(), _silent(), _opened(content) as image:
        _refuse_unusable(image, content)
        transparent = _png_transparent(content) if image.format == "PNG" else None
        image.load()
        if transparent is None and image.format == "GIF":
            transparent = _gif_transparent(image)
        turn = _turn(image)
        opaque = _opaque(image, transparent, background)
        mode = "L" if channels == 1 else "RGB"
        # Pillow would copy an image that has the mode already.
        plain = opaque if opaque.mode == mode else opaque.convert(mode)
        return plain if turn is None else plain.transpose(turn)


def fitted(image: Image.Image, preparation: Preparation) -> np.ndarray:
    """Fits a decoded image; one of the expected size stays unchanged.

    Args:
      image: Image of mode L or RGB.
      preparation: The expected form.

    Returns:
      uint8 [height, width, channels].

    Raises:
      ImageError: If the image is too narrow.
    """
    height, width = preparation.height, preparation.width
    if image.size != (width, height):
        _refuse_narrow(image, preparation)
        if preparation.fit == Fit.PAD:
            image = _padded(image, preparation)
        elif preparation.fit == Fit.CROP:
            image = _resized(_cropped(image, preparation), width, height)
        else:
            image = _resized(image, width, height)
    return np.array(image, np.uint8).reshape(preparation.shape)


def border(image: Image.Image) -> float:
    """Mean brightness of the outermost pixels of a decoded image, each counted once, 0 to 255."""
    width, height = image.size
    boxes = (
        (0, 0, width, 1),
        (0, height - 1, width, height) if height > 1 else None,
        (0, 1, 1, height - 1) if height > 2 else None,
        (width - 1, 1, width, height - 1) if height > 2 and width > 1 else None,
    )
    edges = b"".join(image.crop(box).convert("L").tobytes() for box in boxes if box)
    return float(np.frombuffer(edges, np.uint8).mean(dtype=np.float64))


def borders(images: np.ndarray) -> np.ndarray:
    """Measures the mean brightness of the border of each image, as `prepare` does.

    Args:
      images: uint8 [N, height, width, channels].

    Returns:
      float64 [N], 0 to 255.
    """
    count, height, width, channels = images.shape
    rows = images.reshape(count, height * width, channels)
    brightness = _luma(rows.take(_border_positions(height, width), axis=1))
    # Whole numbers: exact, and for a single small image faster than a mean.
    return brightness.sum(axis=1, dtype=np.int64) / brightness.shape[1]


@functools.cache
def _border_positions(height: int, width: int) -> np.ndarray:
    """Positions of the outermost pixels in the row of all pixels of an image, int64."""
    outermost = np.ones((height, width), bool)
    outermost[1:-1, 1:-1] = False
    return np.flatnonzero(outermost)


def border_kind(borders: np.ndarray) -> Border:
    """Says whether nearly all borders are dark, bright, or neither.

    Args:
      borders: Mean brightness of the border of each image, float64 [N].
    """
    if len(borders) and np.mean(borders <= DARK_BORDER) >= _UNIFORM:
        return "dark"
    if len(borders) and np.mean(borders >= BRIGHT_BORDER) >= _UNIFORM:
        return "bright"
    return "mixed"


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Turns whatever Pillow raises on damaged or hostile bytes into an `ImageError`."""
    try:
        yield
    except (ImageError, MemoryError):
        # What one machine has no memory for says nothing of the file.
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"this is no image of a known format, or its header is damaged; expected {_EXPECTED}. "
            "Convert or replace the file."
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large("far more pixels") from error
    except Exception as error:
        text = "".join(each if each.isprintable() else " " for each in str(error))
        reason = " ".join(text.split())[:_MOST_REASON]
        reason = with_kind(type(error).__name__, reason)
        raise ImageError(
            f"the image is damaged ({reason}); expected a complete file. Copy or save it again."
        ) from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Hides Pillow's warnings; what matters of them is an error here.

    The list of filters belongs to all threads. If two of them get in each other's way, then at
    worst warnings of Pillow stay hidden.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        yield


def _opened(content: bytes) -> Image.Image:
    """Reads the header alone."""
    if content[4:8] == _PHONE_KIND:
        raise ImageError(
            f"this is a HEIC or AVIF image, or a video; expected {_EXPECTED}. Convert it to JPEG "
            "or PNG."
        )
    image = Image.open(io.BytesIO(content), formats=list(FORMATS))
    if image.width * image.height > MOST_IMAGE_PIXELS:
        raise _too_large(f"{image.width} x {image.height} pixels")
    return image


def _too_large(size: str) -> ImageError:
    return ImageError(
        f"the image has {size}; expected at most {MOST_IMAGE_PIXELS:,} pixels. Make it smaller."
    )


def _refuse_unusable(image: Image.Image, content: bytes) -> None:
    # The further images of an MPO file, which phones write, are previews.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise ImageError(
            "the file has several frames or pages; expected a single image. Save the one you mean "
            "as PNG."
        )
    if image.format == "TIFF":
        _refuse_unusable_tiff(image)
        _refuse_missing_strips(image)
    if image.mode in _UNUSABLE_MODES:
        raise ImageError(
            f"the image has {_UNUSABLE_MODES[image.mode]}; expected gray, RGB or a palette with 8 "
            f"or 16 bits. {SAVE_AGAIN}"
        )
    tiles = getattr(image, "tile", [])
    if image.format == "GIF" and tiles and tiles[0][1] != (0, 0, *image.size):
        raise ImageError(
            "the frame does not cover the whole image; expected a single full image. Save it as "
            "PNG."
        )
    if image.format == "BMP" and tiles and tiles[0][3][0] == "BGRX":
        _refuse_hidden_transparency(content, tiles[0][2], image)


def _refuse_hidden_transparency(content: bytes, offset: int, image: Image.Image) -> None:
    """Refuses a BMP file whose unused fourth value is used: some programs mean transparency."""
    pixels = np.frombuffer(content, np.uint8, 4 * image.width * image.height, offset)
    fourth = pixels[3::4]
    if fourth.any() and fourth.min() < 255:
        raise ImageError(
            "the BMP file has a fourth value per pixel of unknown meaning; expected 24 bits per "
            f"pixel. {SAVE_AGAIN}"
        )


def _refuse_unusable_tiff(image: Image.Image) -> None:
    """Refuses files that Pillow reads in part, or with values in another range."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    tag = ExifTags.Base
    photometric = tags.get(tag.PhotometricInterpretation)
    bits = set(tags.get(tag.BitsPerSample, (1,)))
    extra = set(tags.get(tag.ExtraSamples, ()))
    eight_bits = bits == {8}
    # Each with what Pillow would do about it.
    findings = (
        # It would take it for inverted gray.
        (photometric is None, "no statement about its colours (PhotometricInterpretation)"),
        # It would read them as unsigned, or keep them.
        (set(tags.get(tag.SampleFormat, (1,))) != {1}, "signed or floating-point values"),
        # It would leave 12 bits in the low part of 16.
        (not bits <= {1, 2, 4, 8, 16}, f"{max(bits)} bits per colour"),
        # It would not invert it.
        (photometric == 0 and bits == {16}, "inverted gray (WhiteIsZero) with 16 bits"),
        # It would read the gray part of a colour, or YCbCr as RGB. JPEG converts the colours.
        (
            photometric == _TIFF_YCBCR
            and (image.info.get("compression") != "jpeg" or tags.get(tag.SamplesPerPixel) != 3),
            "YCbCr colours",
        ),
        # It would lose what is special about the bits in some combinations.
        (tags.get(tag.FillOrder, 1) != 1, "bits in reverse order (FillOrder)"),
        (
            tags.get(tag.PlanarConfiguration, 1) != 1
            and not (eight_bits and photometric in (1, _TIFF_RGB)),
            "separate planes (PlanarConfiguration)",
        ),
        # It would guess, or divide colours by transparency and clip them.
        (
            not extra <= {_UNSPECIFIED_SAMPLE, _TRANSPARENCY_SAMPLE},
            "premultiplied or unknown transparency (ExtraSamples)",
        ),
        (
            photometric == _TIFF_RGB and not extra and tags.get(tag.SamplesPerPixel, 3) > 3,
            "a fourth value per pixel of unknown meaning (ExtraSamples)",
        ),
        # It would show the preview of a raw photograph.
        (
            bool(tags.get(tag.NewSubfileType, 0) & 1) or _DNG_VERSION in tags,
            "a raw photograph or a preview",
        ),
    )
    for applies, what in findings:
        if applies:
            raise ImageError(
                f"the TIFF file has {what}; expected plain gray, RGB or a palette. {SAVE_AGAIN}"
            )


def _refuse_missing_strips(image: Image.Image) -> None:
    """Refuses a file that lacks pixels: Pillow would leave them black."""
    tiles = image.tile  # type: ignore[attr-defined]
    tags = image.tag_v2  # type: ignore[attr-defined]
    # libtiff, which reads compressed files, checks its part itself.
    is_compressed = bool(tiles) and tiles[0].codec_name == "libtiff"
    is_planar = tags.get(ExifTags.Base.PlanarConfiguration, 1) != 1
    planes = len(image.getbands()) if is_planar and not is_compressed else 1
    boxes = [tile.extents for tile in tiles]
    covered = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    if covered != image.width * image.height * planes:
        raise ImageError(
            "the TIFF file lacks a part of its pixels; expected a complete file. Copy or save it "
            "again."
        )


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Returns the operation that makes the image upright. Pillow has already done it for TIFF."""
    if image.format == "TIFF":
        return None
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


def _png_transparent(content: bytes) -> tuple[int, ...] | None:
    """Returns the gray value or colour, in 8 bits, that a PNG file declares transparent.

    Pillow does not scale the value as it scales the pixels. The checks are those of libpng, which
    ignores a chunk that breaks the rules, while Pillow follows it.
    """
    chunks = list(_png_chunks(content))
    kinds = [kind for kind, _ in chunks]
    if kinds[:1] != [b"IHDR"] or len(chunks[0][1]) != 13:
        raise _damaged_png("its header is not its first part")
    depth, colour_type = chunks[0][1][8:10]
    if colour_type == _PNG_PALETTE and b"PLTE" not in kinds:
        raise _damaged_png("its palette is missing")
    if b"tRNS" not in kinds:
        return None
    key = chunks[kinds.index(b"tRNS")][1]
    before = kinds[: kinds.index(b"tRNS")]
    if kinds.count(b"tRNS") > 1 or b"IDAT" in before:
        raise _damaged_png("its transparency (tRNS) is at the wrong place")
    if colour_type not in (_PNG_GRAY, _PNG_RGB, _PNG_PALETTE):
        return None
    if depth == 16:
        raise ImageError(
            "the PNG file has 16 bits and a transparent colour (tRNS); expected 8 bits, or 16 bits "
            f"without it. {SAVE_AGAIN}"
        )
    if colour_type == _PNG_PALETTE:
        colours = len(chunks[kinds.index(b"PLTE")][1]) // 3 if b"PLTE" in before else 0
        if not 1 <= len(key) <= colours:
            raise _damaged_png("its transparency (tRNS) does not fit its palette")
        return None
    if len(key) != _KEY_LENGTHS[colour_type]:
        raise _damaged_png("its transparency (tRNS) has the wrong length")
    most = 2**depth - 1
    return tuple((value & most) * 255 // most for value in struct.unpack(f">{len(key) // 2}H", key))


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields kind and data of each chunk up to the last."""
    position, kind = len(_PNG_SIGNATURE), b""
    while kind != b"IEND":
        if position + 12 > len(content):
            raise _damaged_png("its end is missing")
        length = int.from_bytes(content[position : position + 4])
        kind = content[position + 4 : position + 8]
        # The pixels themselves may be large, and nobody needs them here.
        yield kind, b"" if kind == b"IDAT" else content[position + 8 : position + 8 + length]
        position += length + 12
    if position > len(content):
        raise _damaged_png("its end is missing")


def _damaged_png(what: str) -> ImageError:
    return ImageError(
        f"the PNG file is damaged ({what}); expected a complete file. Copy or save it again."
    )


def _gif_transparent(image: Image.Image) -> tuple[int, ...] | None:
    """Returns the transparent gray value of a GIF file whose palette is a gray ramp."""
    key = image.info.get("transparency")
    return (key,) if image.mode == "L" and isinstance(key, int) else None


def _opaque(
    image: Image.Image, transparent: tuple[int, ...] | None, background: int
) -> Image.Image:
    """Returns the image with 8 bits, without palette and transparency, as mode L or RGB."""
    if image.mode == "P":
        table = _palette(image)
        colours = _composited(table[:, :3], table[:, 3:], background)
        return Image.fromarray(colours[np.asarray(image)])
    if image.mode == "PA":
        pixels = np.asarray(image)
        colours = _palette(image)[pixels[..., 0], :3]
        return Image.fromarray(_composited(colours, pixels[..., 1:], background))
    if image.mode in ("LA", "RGBA"):
        pixels = np.asarray(image)
        colours = _composited(pixels[..., :-1], pixels[..., -1:], background)
        return Image.fromarray(colours[..., 0] if image.mode == "LA" else colours)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode not in ("1", "L", "RGB"):
        raise ImageError(
            f"the image has the unknown form {image.mode}; expected gray, RGB or a palette. "
            f"{SAVE_AGAIN}"
        )
    plain = image.convert("L") if image.mode == "1" else image
    if transparent is None:
        return plain
    pixels = np.array(plain)
    keyed = pixels.reshape(*pixels.shape[:2], -1)
    keyed[np.all(keyed == np.array(transparent, np.uint8), axis=-1)] = background
    return Image.fromarray(pixels)


def _palette(image: Image.Image) -> np.ndarray:
    """Returns the colours and opacities of a palette, uint8 [256, 4].

    An index beyond the palette is black, as in libpng; Pillow would take it for a gray value.
    """
    colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    table = np.zeros((256, 4), np.uint8)
    table[:, 3] = 255
    table[: len(colours), :3] = colours
    transparency = image.info.get("transparency")
    if isinstance(transparency, int):
        table[transparency, 3] = 0
    elif isinstance(transparency, bytes):
        table[: len(transparency), 3] = np.frombuffer(transparency, np.uint8)
    return table


def _composited(colours: np.ndarray, opacity: np.ndarray, background: int) -> np.ndarray:
    """Puts colours onto the background: (colour x opacity + background x (255 - opacity)) / 255.

    The sum is rounded to the nearest number, with integers alone: the export does the same.

    Args:
      colours: uint8 [rows, ..., channels].
      opacity: uint8 [rows, ..., 1].
      background: 0 to 255.

    Returns:
      uint8, in the shape of `colours`.
    """
    result = np.empty(colours.shape, np.uint8)
    rows = max(1, _BAND // max(1, colours[0].size))
    for start in range(0, len(colours), rows):
        band = slice(start, start + rows)
        # The largest sum is 255 * 255 + 127, which 16 bits hold.
        share = opacity[band].astype(np.uint16)
        total = colours[band] * share + (255 - share) * np.uint16(background) + np.uint16(127)
        result[band] = total // 255
    return result


def _luma(pixels: np.ndarray) -> np.ndarray:
    """Brightness of uint8 [..., channels], as Pillow converts RGB to L."""
    if pixels.shape[-1] == 1:
        return pixels[..., 0]
    red, green, blue = np.moveaxis(pixels.astype(np.uint32), -1, 0)
    return (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16


def _refuse_narrow(image: Image.Image, preparation: Preparation) -> None:
    """Refuses an image of which less than half a row would remain, with its proportions kept."""
    height, width = preparation.height, preparation.width
    scale = min(width * image.height, height * image.width)
    if 2 * min(image.size) * scale <= image.width * image.height:
        raise ImageError(
            f"the image is {image.width}x{image.height}; expected one that keeps a row of pixels "
            f"when it is scaled to {width}x{height}. Crop it closer to square."
        )


def _padded(image: Image.Image, preparation: Preparation) -> Image.Image:
    # With integers: the limiting side gets its full size, the other follows.
    height = min(preparation.height, image.height * preparation.width // image.width)
    width = min(preparation.width, image.width * preparation.height // image.height)
    resized = _resized(image, max(width, 1), max(height, 1))
    background = (preparation.background,) * len(image.getbands())
    canvas = Image.new(image.mode, (preparation.width, preparation.height), background)
    left = (preparation.width - resized.width) // 2
    canvas.paste(resized, (left, (preparation.height - resized.height) // 2))
    return canvas


def _cropped(image: Image.Image, preparation: Preparation) -> Image.Image:
    """Cuts out the largest part in the middle with the expected proportions."""
    height = max(1, min(image.height, image.width * preparation.height // preparation.width))
    width = max(1, min(image.width, image.height * preparation.width // preparation.height))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _resized(image: Image.Image, width: int, height: int) -> Image.Image:
    """Resizes an image; Pillow averages over all pixels that become one."""
    return image.resize((width, height), Image.Resampling.BILINEAR)
