"""Turns PNG and JPEG files into pixels inside the export, by the rules of docs/images.md.

The graph refuses what it cannot treat as `components.images` does. It reads the structure of each
file first: TensorFlow's own operations ignore the orientation, drop some kinds of transparency, and
decode an image before anybody knows its size.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from components.features import MOST_IMAGE_PIXELS
from components.images import Fit, Preparation

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
# A PNG file starts with its header: 13 bytes with size, bit depth and colour type.
_PNG_HEADER = b"\x00\x00\x00\rIHDR"
_GRAY, _RGB, _PALETTE = 0, 2, 3
# Maximum length of tRNS: a byte for each colour of a palette.
_MOST_KEY = 256
# Maximum number of chunks or segments of a file: one that consists of tiny ones would take minutes.
_MOST_PARTS = 2**12
_APP1, _END, _SCAN = 0xE1, 0xD9, 0xDA
_EXIF, _XMP = b"Exif\x00\x00", b"http://ns.adobe.com/xap/1.0/\x00"
_ORIENTATION, _SHORT = 0x0112, 3
# `\C` is any byte: the rest of the file need not be text.
_XMP_TURNED = r'\C*tiff:Orientation(="|>)[02-9]\C*'
_PNG_XMP = b"XML:com.adobe.xmp\x00"
_PNG_EXIF_TEXT = b"Raw profile type exif\x00"

_SAVE = "Save it with 8 bits per colour, as gray or RGB."
# Why a file is refused; its code is the position. The first means that nothing is wrong.
_REASONS = (
    "",
    "this is neither a PNG nor a JPEG file; expected one of them. Convert the image.",
    "the file is damaged or in parts that are too many; expected a complete file. Save it again.",
    f"the image has more than {MOST_IMAGE_PIXELS} pixels; expected fewer. Make it smaller.",
    "the image is to be turned (orientation other than 1), or nobody can tell; expected an upright "
    "image. Turn its pixels, or remove its metadata.",
    "the image has several frames; expected a single image. Save the one you mean as PNG.",
    f"the image has four colours (CMYK) or more than 8 bits; expected gray or RGB. {_SAVE}",
    f"the PNG file has 16 bits and a transparent colour (tRNS); expected 8 bits. {_SAVE}",
    "the transparency (tRNS) of the PNG file is damaged; expected a complete file. Save it again.",
    "the image is so narrow that less than half a row of pixels would remain; expected a wider "
    "one. Crop it closer to square.",
)
(
    _FINE,
    _NO_IMAGE,
    _DAMAGED,
    _TOO_LARGE,
    _TURNED,
    _ANIMATED,
    _FOUR_COLOURS,
    _DEEP_KEY,
    _BAD_KEY,
    _NARROW,
) = range(len(_REASONS))


def _crc_entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
    return value


# The usual table for CRC-32, as in annex D of the PNG specification.
_CRC_TABLE = [_crc_entry(value) for value in range(256)]


@dataclasses.dataclass(frozen=True)
class _File:
    """An image file, as text and as numbers.

    Attributes:
      content: string [].
      data: uint8 [size + 1], with a zero behind the content: where to read beyond it.
      size: Number of bytes, int64 [].
    """

    content: tf.Tensor
    data: tf.Tensor
    size: tf.Tensor

    def bytes_at(self, positions: tf.Tensor) -> tf.Tensor:
        """Reads bytes, int64 in the shape of the positions; those beyond the end are zero."""
        return tf.cast(tf.gather(self.data, tf.minimum(positions, self.size)), tf.int64)

    def number(self, position: tf.Tensor, length: int, little: tf.Tensor | bool) -> tf.Tensor:
        """Reads integers of some bytes, int64 in the shape of `position`."""
        steps = tf.range(length, dtype=tf.int64)
        weights = tf.where(little, steps, length - 1 - steps) * 8
        values = self.bytes_at(tf.expand_dims(position, -1) + steps)
        return tf.reduce_sum(tf.bitwise.left_shift(values, weights), axis=-1)

    def text(self, position: tf.Tensor, length: tf.Tensor | int) -> tf.Tensor:
        """Reads a text, string []; it ends with the file at the latest."""
        length = tf.minimum(tf.cast(length, tf.int64), self.size - position)
        return tf.strings.substr(self.content, position, tf.maximum(length, 0))

    def has(self, position: tf.Tensor, expected: bytes) -> tf.Tensor:
        """Says whether the file has the bytes at the position."""
        return tf.equal(self.text(position, len(expected)), expected)


def decode(content: tf.Tensor, position: tf.Tensor, preparation: Preparation) -> tf.Tensor:
    """Decodes and fits a PNG or JPEG file.

    Args:
      content: Content of the file, string [].
      position: Number of the file in its request, for the message, int32 [].
      preparation: The expected form.

    Returns:
      uint8 [height, width, channels].

    Raises:
      tf.errors.InvalidArgumentError: If the file cannot be used.
    """
    size = tf.strings.length(content)
    data = tf.pad(tf.io.decode_raw(content, tf.uint8), [[0, 1]])
    file = _File(content, data, tf.cast(size, tf.int64))
    start = tf.constant(0, tf.int64)
    is_png, is_jpeg = file.has(start, _PNG_SIGNATURE), file.has(start, _JPEG_SIGNATURE)
    reason, height, width, has_alpha = tf.cond(
        is_png,
        lambda: _png_facts(file),
        lambda: tf.cond(is_jpeg, lambda: _jpeg_facts(file), _unknown_facts),
    )
    reason = _first(
        (tf.greater(reason, _FINE), reason),
        (tf.greater(height * width, MOST_IMAGE_PIXELS), _TOO_LARGE),
        (_is_narrow(height, width, preparation), _NARROW),
    )
    message = tf.gather(tf.constant(_REASONS), reason)
    fine = tf.debugging.Assert(tf.equal(reason, _FINE), ["image", position, message])
    with tf.control_dependencies([fine]):
        content = tf.identity(content)
    colours = tf.cond(
        is_jpeg,
        lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.cond(
            has_alpha,
            lambda: _composited(tf.io.decode_png(content, channels=4), preparation.background),
            lambda: tf.io.decode_png(content, channels=3),
        ),
    )
    colours.set_shape([None, None, 3])
    plain = _luma(colours) if preparation.channels == 1 else colours
    return tf.ensure_shape(_fitted(plain, preparation), preparation.shape)


def _first(*cases: tuple[tf.Tensor, tf.Tensor | int]) -> tf.Tensor:
    """Returns the code of the first case that applies, int32 []; 0 if none does."""
    code = tf.constant(_FINE)
    for applies, reason in reversed(cases):
        code = tf.where(applies, reason, code)
    return code


def _unknown_facts() -> tuple[tf.Tensor, ...]:
    one = tf.constant(1, tf.int64)
    return tf.constant(_NO_IMAGE), one, one, tf.constant(False)


def _png_facts(file: _File) -> tuple[tf.Tensor, ...]:
    """Reads the chunks of a PNG file.

    Returns:
      Code of the reason to refuse it (int32), height, width (int64), and whether it has
      transparency (bool).
    """

    def read_chunk(position, ended, has_data, colours, key, reason):
        """Reads a chunk: `colours` of the palette so far, `key` the length of tRNS or -1."""
        length = file.number(position, 4, False)
        kind, start = file.text(position + 4, 4), position + 8
        is_key = tf.equal(kind, b"tRNS")
        reason = _first(
            (tf.greater(reason, _FINE), reason),
            (tf.equal(kind, b"acTL"), _ANIMATED),
            (
                tf.cond(
                    tf.equal(kind, b"eXIf"),
                    lambda: _is_turned(file, start),
                    lambda: _png_text_is_turned(file, kind, start, length),
                ),
                _TURNED,
            ),
            (is_key & (has_data | (key >= 0)), _BAD_KEY),
            (
                tf.cond(
                    is_key,
                    lambda: _is_corrupt(file, position + 4, length),
                    lambda: tf.constant(False),
                ),
                _BAD_KEY,
            ),
            (
                is_key
                & tf.equal(file.bytes_at(tf.constant(25, tf.int64)), _PALETTE)
                & ((length < 1) | (length > colours)),
                _BAD_KEY,
            ),
        )
        return (
            position + length + 12,
            tf.equal(kind, b"IEND"),
            has_data | tf.equal(kind, b"IDAT"),
            tf.where(tf.equal(kind, b"PLTE"), length // 3, colours),
            tf.where(is_key, length, key),
            reason,
        )

    none = tf.constant(0, tf.int64)
    position, ended, _, _, key, reason = tf.while_loop(
        lambda position, ended, *_: ~ended & (position + 12 <= file.size),
        read_chunk,
        (
            tf.constant(len(_PNG_SIGNATURE), tf.int64),
            tf.constant(False),
            tf.constant(False),
            none,
            none - 1,
            tf.constant(_FINE),
        ),
        maximum_iterations=_MOST_PARTS,
    )
    header = tf.constant(len(_PNG_SIGNATURE), tf.int64)
    is_whole = file.has(header, _PNG_HEADER) & ended & (position <= file.size)
    depth, colour_type = file.bytes_at(header + 16), file.bytes_at(header + 17)
    is_palette = tf.equal(colour_type, _PALETTE)
    has_key = (key >= 0) & (is_palette | tf.equal(colour_type, _GRAY) | tf.equal(colour_type, _RGB))
    expected = tf.where(tf.equal(colour_type, _GRAY), tf.constant(2, tf.int64), 6)
    reason = _first(
        (~is_whole, _DAMAGED),
        (tf.greater(reason, _FINE), reason),
        (has_key & tf.equal(depth, 16), _DEEP_KEY),
        (has_key & ~is_palette & tf.not_equal(key, expected), _BAD_KEY),
    )
    has_alpha = has_key | tf.greater(tf.bitwise.bitwise_and(colour_type, 4), 0)
    return reason, file.number(header + 12, 4, False), file.number(header + 8, 4, False), has_alpha


def _is_corrupt(file: _File, position: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Compares a tRNS chunk with its checksum: libpng would silently drop a corrupt one."""
    content = tf.io.decode_raw(file.text(position, 4 + tf.minimum(length, _MOST_KEY)), tf.uint8)
    table = tf.constant(_CRC_TABLE, tf.int64)

    def add(crc: tf.Tensor, byte: tf.Tensor) -> tf.Tensor:
        entry = tf.bitwise.bitwise_and(tf.bitwise.bitwise_xor(crc, tf.cast(byte, tf.int64)), 0xFF)
        return tf.bitwise.bitwise_xor(tf.gather(table, entry), tf.bitwise.right_shift(crc, 8))

    crc = tf.foldl(add, content, initializer=tf.constant(0xFFFFFFFF, tf.int64))
    return tf.not_equal(
        tf.bitwise.bitwise_xor(crc, 0xFFFFFFFF), file.number(position + 4 + length, 4, False)
    )


def _png_text_is_turned(
    file: _File, kind: tf.Tensor, start: tf.Tensor, length: tf.Tensor
) -> tf.Tensor:
    """Says whether a text chunk gives an orientation other than 1, or may do so compressed."""
    is_text = tf.reduce_any(tf.equal(kind, [b"tEXt", b"zTXt", b"iTXt"]))
    is_xmp = is_text & file.has(start, _PNG_XMP)
    # In iTXt, a flag behind the keyword says whether the text is compressed.
    flag = file.bytes_at(start + len(_PNG_XMP))
    is_hidden = tf.equal(kind, b"zTXt") | (tf.equal(kind, b"iTXt") & tf.not_equal(flag, 0))
    return (is_text & file.has(start, _PNG_EXIF_TEXT)) | (
        is_xmp & (is_hidden | _xmp_is_turned(file, is_xmp, start, length))
    )


def _xmp_is_turned(
    file: _File, is_xmp: tf.Tensor, start: tf.Tensor, length: tf.Tensor
) -> tf.Tensor:
    text = file.text(start, tf.where(is_xmp, length, 0))
    return tf.strings.regex_full_match(text, _XMP_TURNED)


def _jpeg_facts(file: _File) -> tuple[tf.Tensor, ...]:
    """Reads the segments of a JPEG file up to its first scan; returns the same as `_png_facts`."""

    def read_segment(position, ended, height, width, has_exif, reason):
        marker = file.bytes_at(position + 1)
        length, start = file.number(position + 2, 2, False), position + 4
        is_app1 = tf.equal(marker, _APP1)
        is_exif = is_app1 & (length >= 2 + len(_EXIF)) & file.has(start, _EXIF)
        is_xmp = is_app1 & file.has(start, _XMP)
        # All markers from 0xC0 to 0xCF but those of tables, extensions and arithmetic coding.
        is_frame = (marker >= 0xC0) & (marker <= 0xCF)
        is_frame &= ~tf.reduce_any(tf.equal(marker, tf.constant([0xC4, 0xC8, 0xCC], tf.int64)))
        depth, components = file.bytes_at(start), file.bytes_at(start + 5)
        is_plain = tf.equal(depth, 8) & (tf.equal(components, 1) | tf.equal(components, 3))
        is_turned = tf.cond(
            is_exif,
            lambda: has_exif | _is_turned(file, start + len(_EXIF)),
            lambda: is_xmp & _xmp_is_turned(file, is_xmp, start, length - 2),
        )
        reason = _first(
            (tf.greater(reason, _FINE), reason),
            (tf.not_equal(file.bytes_at(position), 0xFF), _DAMAGED),
            (is_turned, _TURNED),
            (is_frame & ~is_plain, _FOUR_COLOURS),
            (is_frame & (height > 0), _DAMAGED),
        )
        # Markers may have fill bytes before them; some stand alone, without a length.
        is_fill = tf.equal(marker, 0xFF)
        is_alone = tf.equal(marker, 0x01) | ((marker >= 0xD0) & (marker <= 0xD8))
        step = tf.where(is_fill, tf.constant(1, tf.int64), tf.where(is_alone, none + 2, length + 2))
        return (
            position + step,
            tf.equal(marker, _SCAN) | tf.equal(marker, _END) | tf.greater(reason, _FINE),
            tf.where(is_frame, file.number(start + 1, 2, False), height),
            tf.where(is_frame, file.number(start + 3, 2, False), width),
            has_exif | is_exif,
            reason,
        )

    none = tf.constant(0, tf.int64)
    _, ended, height, width, _, reason = tf.while_loop(
        lambda position, ended, *_: ~ended & (position + 4 <= file.size),
        read_segment,
        (none + 2, tf.constant(False), none, none, tf.constant(False), tf.constant(_FINE)),
        maximum_iterations=_MOST_PARTS,
    )
    reason = _first(
        (tf.greater(reason, _FINE), reason), (~ended | tf.equal(height * width, 0), _DAMAGED)
    )
    return reason, height, width, tf.constant(False)


def _is_turned(file: _File, start: tf.Tensor) -> tf.Tensor:
    """Says whether the first directory of EXIF data has an orientation that is not plainly 1.

    Data that cannot be read as EXIF counts as turned: nobody can tell what it means.
    """
    little = file.has(start, b"II*\x00")
    offset = file.number(start + 4, 4, little)
    count = file.number(start + offset, 2, little)
    entries = start + offset + 2 + 12 * tf.range(count)
    is_orientation = tf.equal(file.number(entries, 2, little), _ORIENTATION)
    is_one = (
        tf.equal(file.number(entries + 2, 2, little), _SHORT)
        & tf.equal(file.number(entries + 4, 4, little), 1)
        & tf.equal(file.number(entries + 8, 2, little), 1)
    )
    is_readable = little | file.has(start, b"MM\x00*")
    return ~is_readable | tf.reduce_any(is_orientation & ~is_one)


def _composited(pixels: tf.Tensor, background: int) -> tf.Tensor:
    """Puts RGBA pixels onto the background; the same formula as in `components.images`."""
    values = tf.cast(pixels, tf.int32)
    colours, opacity = values[..., :3], values[..., 3:]
    return tf.cast((colours * opacity + background * (255 - opacity) + 127) // 255, tf.uint8)


def _luma(colours: tf.Tensor) -> tf.Tensor:
    """Brightness of RGB pixels, with Pillow's weights and rounding."""
    weighted = tf.cast(colours, tf.int32) * tf.constant([19595, 38470, 7471])
    total = tf.reduce_sum(weighted, axis=-1, keepdims=True) + 32768
    return tf.cast(tf.bitwise.right_shift(total, 16), tf.uint8)


def _is_narrow(height: tf.Tensor, width: tf.Tensor, preparation: Preparation) -> tf.Tensor:
    """As in `components.images`; an image of the expected size never is."""
    scale = tf.minimum(preparation.width * height, preparation.height * width)
    is_narrow = 2 * tf.minimum(height, width) * scale <= height * width
    is_exact = tf.equal(height, preparation.height) & tf.equal(width, preparation.width)
    return is_narrow & ~is_exact


def _fitted(image: tf.Tensor, preparation: Preparation) -> tf.Tensor:
    """Fits uint8 [height, width, channels]; one of the expected size stays unchanged."""
    given = tf.shape(image)[:2]
    target = tf.constant(preparation.shape[:2])
    fit = {Fit.PAD: _padded, Fit.CROP: _cropped, Fit.STRETCH: _stretched}[preparation.fit]
    return tf.cond(
        tf.reduce_all(tf.equal(given, target)), lambda: image, lambda: fit(image, preparation)
    )


def _padded(image: tf.Tensor, preparation: Preparation) -> tf.Tensor:
    given = tf.cast(tf.shape(image)[:2], tf.int64)
    target = tf.constant(preparation.shape[:2], tf.int64)
    # With integers: the limiting side gets its full size, the other follows.
    size = tf.maximum(tf.minimum(target, given * target[::-1] // given[::-1]), 1)
    before = (target - size) // 2
    margins = tf.stack([before, target - size - before], axis=1)
    return tf.pad(
        _resized(image, size),
        tf.concat([margins, [[0, 0]]], axis=0),
        constant_values=tf.constant(preparation.background, tf.uint8),
    )


def _cropped(image: tf.Tensor, preparation: Preparation) -> tf.Tensor:
    given = tf.cast(tf.shape(image)[:2], tf.int64)
    target = tf.constant(preparation.shape[:2], tf.int64)
    size = tf.maximum(tf.minimum(given, given[::-1] * target // target[::-1]), 1)
    (top, left), (height, width) = tf.unstack((given - size) // 2), tf.unstack(size)
    return _resized(image[top : top + height, left : left + width], target)


def _stretched(image: tf.Tensor, preparation: Preparation) -> tf.Tensor:
    return _resized(image, tf.constant(preparation.shape[:2], tf.int64))


def _resized(image: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Resizes in two steps, and rounds after each to whole numbers, as Pillow does."""
    height, width = tf.unstack(tf.cast(size, tf.int32))
    wide = _rounded(tf.image.resize(image, [tf.shape(image)[0], width], antialias=True))
    return _rounded(tf.image.resize(wide, [height, width], antialias=True))


def _rounded(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.floor(values + 0.5), 0, 255), tf.uint8)
