"""Turns PNG and JPEG files into pixels inside the export, by the rules of docs/images.md.

The graph refuses what it cannot treat as `components.images` does. It reads the structure of each
file first: TensorFlow's own operations ignore the orientation, drop some kinds of transparency, and
decode an image before anybody knows its size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from components.features import MOST_IMAGE_PIXELS
from components.images import SAVE_AGAIN, Fit, Preparation

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
# A PNG file starts with its header: 13 bytes with size, bit depth and colour type.
_PNG_HEADER = b"\x00\x00\x00\rIHDR"
_GRAY, _RGB, _PALETTE = 0, 2, 3
# Maximum length of tRNS: a byte for each colour of a palette.
_MOST_KEY = 256
# Maximum number of chunks or segments of a file: one that consists of tiny ones would take minutes.
_MOST_PARTS = 2**12
_APP1, _SCAN, _FILL = 0xE1, 0xDA, 0xFF
# What may stand before the first scan of a JPEG file, by its marker: restarts without a length, and
# segments with one. libjpeg and Pillow read on inside of what they do not know, and would find
# other headers there than the graph.
_RESTARTS = range(0xD0, 0xD8)
_SEGMENTS = (
    *range(0xC0, 0xC8),
    *range(0xC9, 0xD0),
    *range(0xDA, 0xDE),
    *range(0xE0, 0xF0),
    0xFE,
)
_EXIF, _XMP = b"Exif\x00\x00", b"http://ns.adobe.com/xap/1.0/\x00"
_ORIENTATION, _SHORT = 0x0112, 3
# `\C` is any byte: the rest of the file need not be text.
_XMP_TURNED = r'\C*tiff:Orientation(="|>)[02-9]\C*'
# Chunks of an animated PNG file. Pillow refuses those of a frame also where the first is missing.
_FRAMES = (b"acTL", b"fcTL", b"fdAT")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PNG_XMP = b"XML:com.adobe.xmp\x00"
_PNG_EXIF_TEXT = b"Raw profile type exif\x00"

# How files are decoded: opaque ones of the expected size by their format, and all others.
_EXACT_PNG, _EXACT_JPEG, _OTHER, _LARGE = range(4)
# Larger images are decoded one at a time: a file of some kilobytes may hold 268 MB of pixels. Of
# others, a machine with as many cores decodes ten.
_LARGE_PIXELS = 2**22
_AT_ONCE, _LARGE_AT_ONCE = 10, 1
# A step of a loop costs as much as decoding a small image, so it decodes several.
_FILES_AT_ONCE = 8
# Pixels that are composited and made narrower at a time, so that large images need little memory.
_BAND = 2**20

# Why a file is refused; its code is the position. The first means that nothing is wrong.
_REASONS = (
    "",
    "this is neither a PNG nor a JPEG file; expected one of them. Convert the image.",
    "the file is damaged or in parts that are too many; expected a complete file. Save it again.",
    f"the image has more than {MOST_IMAGE_PIXELS} pixels; expected fewer. Make it smaller.",
    "the image is to be turned (orientation other than 1), or nobody can tell; expected an upright "
    "image. Turn its pixels, or remove its metadata.",
    "the image has several frames; expected a single image. Save the one you mean as PNG.",
    f"the image has four colours (CMYK) or more than 8 bits; expected gray or RGB. {SAVE_AGAIN}",
    f"the PNG file has 16 bits and a transparent colour (tRNS); expected 8 bits. {SAVE_AGAIN}",
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


# Makes opaque pixels with the expected channels from uint8 [rows, columns, 3 or 4].
_Plain = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class _Files:
    """A batch of image files.

    Attributes:
      contents: string [N].
      sizes: Number of bytes of each, int64 [N].
    """

    contents: tf.Tensor
    sizes: tf.Tensor

    def texts(self, positions: tf.Tensor, lengths: tf.Tensor | int) -> tf.Tensor:
        """Reads a text of each file, string [N]; it ends with the file at the latest."""
        lengths = tf.broadcast_to(tf.cast(lengths, tf.int64), tf.shape(positions))
        return tf.strings.substr(self.contents, tf.minimum(positions, self.sizes), lengths)

    def bytes_at(self, positions: tf.Tensor, count: int) -> tf.Tensor:
        """Reads bytes of each file, int64 [N, count]; those beyond the end are zero."""
        texts = self.texts(positions, count)
        return tf.cast(tf.io.decode_raw(texts, tf.uint8, fixed_length=count), tf.int64)

    def have(self, positions: tf.Tensor, expected: bytes) -> tf.Tensor:
        """Says which files have the bytes at the position, bool [N]."""
        return tf.equal(self.texts(positions, len(expected)), expected)


@dataclasses.dataclass(frozen=True)
class _Part:
    """A chunk or a segment of a file, as text and as numbers.

    Attributes:
      content: string [].
      data: uint8 [size + 1], with a zero behind the content: where to read beyond it.
      size: Number of bytes, int64 [].
    """

    content: tf.Tensor
    data: tf.Tensor
    size: tf.Tensor

    @classmethod
    def of(cls, content: tf.Tensor) -> _Part:
        """Takes the content of a part."""
        data = tf.pad(tf.io.decode_raw(content, tf.uint8), [[0, 1]])
        return cls(content, data, tf.size(data, tf.int64) - 1)

    def bytes_at(self, positions: tf.Tensor) -> tf.Tensor:
        """Reads bytes, int64 in the shape of the positions; those beyond the end are zero."""
        return tf.cast(tf.gather(self.data, tf.minimum(positions, self.size)), tf.int64)

    def number(self, position: tf.Tensor, length: int, little: tf.Tensor | bool) -> tf.Tensor:
        """Reads integers of some bytes, int64 in the shape of `position`."""
        steps = tf.range(length, dtype=tf.int64)
        return _number(self.bytes_at(tf.expand_dims(position, -1) + steps), little)

    def text(self, position: int, length: int) -> tf.Tensor:
        """Reads a text, string []; it ends with the part at the latest."""
        start = tf.minimum(tf.constant(position, tf.int64), self.size)
        return tf.strings.substr(self.content, start, tf.constant(length, tf.int64))

    def has(self, position: int, expected: bytes) -> tf.Tensor:
        """Says whether the part has the bytes at the position."""
        return tf.equal(self.text(position, len(expected)), expected)


@dataclasses.dataclass(frozen=True)
class _Facts:
    """What the structure of each file says.

    Attributes:
      reasons: Code of the reason to refuse it, int32 [N].
      heights: int64 [N].
      widths: int64 [N].
      have_alpha: Whether it has transparency, bool [N].
    """

    reasons: tf.Tensor
    heights: tf.Tensor
    widths: tf.Tensor
    have_alpha: tf.Tensor


def decode(contents: tf.Tensor, preparation: Preparation) -> tf.Tensor:
    """Decodes and fits PNG and JPEG files.

    Args:
      contents: Content of each file, string [N].
      preparation: The expected form.

    Returns:
      uint8 [N, height, width, channels].

    Raises:
      tf.errors.InvalidArgumentError: If a file cannot be used; it names the first one.
    """
    files = _Files(contents, tf.cast(tf.strings.length(contents), tf.int64))
    start = tf.zeros_like(files.sizes)
    is_png, is_jpeg = files.have(start, _PNG_SIGNATURE), files.have(start, _JPEG_SIGNATURE)
    facts = _facts(files, is_png, is_jpeg)
    is_exact = tf.equal(facts.heights, preparation.height)
    is_exact &= tf.equal(facts.widths, preparation.width)
    reasons = _first(
        (tf.greater(facts.reasons, _FINE), facts.reasons),
        (tf.greater(facts.heights * facts.widths, MOST_IMAGE_PIXELS), _TOO_LARGE),
        (_are_narrow(facts.heights, facts.widths, preparation) & ~is_exact, _NARROW),
    )
    with tf.control_dependencies([_all_fine(reasons)]):
        contents = tf.identity(contents)
    exact_kind = tf.where(is_png, _EXACT_PNG, _EXACT_JPEG)
    is_large = tf.greater(facts.heights * facts.widths, _LARGE_PIXELS)
    other_kind = tf.where(is_large, _LARGE, _OTHER)
    kinds = tf.where(is_exact & ~facts.have_alpha, exact_kind, other_kind)
    return _decoded(contents, kinds, is_jpeg, facts.have_alpha, preparation)


def _decoded(
    contents: tf.Tensor,
    kinds: tf.Tensor,
    is_jpeg: tf.Tensor,
    have_alpha: tf.Tensor,
    preparation: Preparation,
) -> tf.Tensor:
    """Decodes and fits files that nothing is wrong with.

    The usual kinds have loops of their own, without branches: TensorFlow also visits the operations
    of a branch that it does not take, which takes longer than to decode a small image.

    Args:
      contents: Content of each file, string [N].
      kinds: `_EXACT_PNG`, `_EXACT_JPEG`, `_OTHER` or `_LARGE`, int32 [N].
      is_jpeg: bool [N].
      have_alpha: Whether a file has transparency, bool [N].
      preparation: The expected form.

    Returns:
      uint8 [N, height, width, channels].
    """
    exact_png, exact_jpeg, other, large = rows = tf.dynamic_partition(
        tf.range(tf.size(kinds)), kinds, 4
    )

    def others(numbers: tf.Tensor, at_once: int) -> tf.Tensor:
        return tf.map_fn(
            lambda file: _any_decoded(file[0], file[1], file[2], preparation),
            [tf.gather(each, numbers) for each in (contents, is_jpeg, have_alpha)],
            fn_output_signature=tf.TensorSpec(preparation.shape, tf.uint8),
            parallel_iterations=at_once,
        )

    pixels = [
        _exact_decoded(_png, tf.gather(contents, exact_png), preparation),
        _exact_decoded(_jpeg, tf.gather(contents, exact_jpeg), preparation),
        others(other, _AT_ONCE),
        others(large, _LARGE_AT_ONCE),
    ]
    return tf.dynamic_stitch(rows, pixels)


def _png(content: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_png(content, channels=3)


def _jpeg(content: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")


def _exact_decoded(
    decode_one: Callable[[tf.Tensor], tf.Tensor], contents: tf.Tensor, preparation: Preparation
) -> tf.Tensor:
    """Decodes opaque files of one format and of the expected size.

    Args:
      decode_one: Decodes a file, string [], to RGB.
      contents: Content of each file, string [N].
      preparation: The expected form.

    Returns:
      uint8 [N, height, width, channels].
    """
    shape = (preparation.height, preparation.width, 3)

    def decode_step(files: tf.Tensor) -> tf.Tensor:
        return tf.stack([tf.ensure_shape(decode_one(file), shape) for file in tf.unstack(files)])

    def decode_in_steps(files: tf.Tensor, at_once: int) -> tf.Tensor:
        steps = tf.map_fn(
            decode_step,
            tf.reshape(files, [-1, at_once]),
            fn_output_signature=tf.TensorSpec((at_once, *shape), tf.uint8),
        )
        return tf.reshape(steps, [-1, *shape])

    whole = tf.size(contents) // _FILES_AT_ONCE * _FILES_AT_ONCE
    parts = ((contents[:whole], _FILES_AT_ONCE), (contents[whole:], 1))
    colours = tf.concat([decode_in_steps(*part) for part in parts], axis=0)
    return _luma(colours) if preparation.channels == 1 else colours


def _all_fine(reasons: tf.Tensor) -> tf.Operation:
    """Fails with the position of the first file that is refused, and the reason."""
    refused = tf.where(tf.greater(reasons, _FINE))[:1, 0]
    messages = tf.gather(tf.constant(_REASONS), tf.gather(reasons, refused))
    return tf.debugging.Assert(tf.equal(tf.size(refused), 0), ["image", refused, messages])


def _any_decoded(
    content: tf.Tensor, is_jpeg: tf.Tensor, has_alpha: tf.Tensor, preparation: Preparation
) -> tf.Tensor:
    """Decodes and fits a file of any kind, string []; uint8 [height, width, channels]."""
    decoded = tf.cond(
        is_jpeg,
        lambda: _jpeg(content),
        lambda: tf.cond(
            has_alpha,
            lambda: tf.io.decode_png(content, channels=4),
            lambda: _png(content),
        ),
    )

    def plain(pixels: tf.Tensor) -> tf.Tensor:
        colours = tf.cond(
            has_alpha, lambda: _composited(pixels, preparation.background), lambda: pixels
        )
        colours.set_shape([None, None, 3])
        return _luma(colours) if preparation.channels == 1 else colours

    return tf.ensure_shape(_fitted(decoded, plain, preparation), preparation.shape)


def _first(*cases: tuple[tf.Tensor, tf.Tensor | int]) -> tf.Tensor:
    """Returns the code of the first case that applies, int32; 0 if none does."""
    code = tf.constant(_FINE)
    for applies, reason in reversed(cases):
        code = tf.where(applies, reason, code)
    return code


def _number(values: tf.Tensor, little: tf.Tensor | bool) -> tf.Tensor:
    """Makes an integer of the bytes in the last axis, int64."""
    steps = tf.range(values.shape[-1], dtype=tf.int64)
    weights = tf.where(little, steps, values.shape[-1] - 1 - steps) * 8
    return tf.reduce_sum(tf.bitwise.left_shift(values, weights), axis=-1)


def _examined(
    files: _Files,
    positions: tf.Tensor,
    lengths: tf.Tensor,
    rare: tf.Tensor,
    examine: Callable[[_Part], tf.Tensor],
) -> tf.Tensor:
    """Examines a part of some files, each by itself.

    Args:
      files: The files.
      positions: Where the part of each file begins, int64 [N].
      lengths: Number of bytes of the part, int64 [N].
      rare: Which files have such a part, bool [N].
      examine: Returns the code of the reason to refuse a part, int32 [].

    Returns:
      The codes, int32 [N]; 0 for the other files.
    """

    def examined() -> tf.Tensor:
        rows = tf.where(rare)
        parts = files.texts(positions, tf.where(rare, lengths, 0))
        reasons = tf.map_fn(
            lambda content: examine(_Part.of(content)),
            tf.gather_nd(parts, rows),
            fn_output_signature=tf.int32,
        )
        return tf.scatter_nd(rows, reasons, tf.shape(rare, tf.int64))

    return tf.cond(tf.reduce_any(rare), examined, lambda: tf.zeros(tf.shape(rare), tf.int32))


def _facts(files: _Files, is_png: tf.Tensor, is_jpeg: tf.Tensor) -> _Facts:
    """Reads the structure of all files at once.

    An operation takes longer to start than it works for a file, and this takes hundreds of them.
    """
    png, jpeg = _png_facts(files, is_png), _jpeg_facts(files, is_jpeg)
    return _Facts(
        tf.where(is_png, png.reasons, tf.where(is_jpeg, jpeg.reasons, _NO_IMAGE)),
        tf.where(is_png, png.heights, jpeg.heights),
        tf.where(is_png, png.widths, jpeg.widths),
        is_png & png.have_alpha,
    )


def _png_facts(files: _Files, is_png: tf.Tensor) -> _Facts:
    """Reads the chunks of those files that are PNG files."""
    none = tf.zeros_like(files.sizes)
    header = files.bytes_at(none + len(_PNG_SIGNATURE) + 8, 10)
    widths, heights = _number(header[:, :4], False), _number(header[:, 4:8], False)
    depth, colour_type = header[:, 8], header[:, 9]
    is_palette = tf.equal(colour_type, _PALETTE)

    def is_left(position, ended):
        return ~ended & (position + 12 <= files.sizes)

    def read_chunk(position, ended, has_data, colours, key, reason):
        """Reads a chunk: `colours` of the palette so far, `key` the length of tRNS or -1."""
        left = is_left(position, ended)
        length = _number(files.bytes_at(position, 4), False)
        kind = tf.where(left, files.texts(position + 4, 4), b"")
        is_key = tf.equal(kind, b"tRNS")
        is_rare = is_key | _is_one_of(kind, b"eXIf", *_TEXTS)
        is_wrong_key = has_data | (key >= 0) | is_palette & ((length < 1) | (length > colours))
        examined = _examined(files, position, length + 12, is_rare, _chunk_reason)
        reason = _first(
            (tf.greater(reason, _FINE), reason),
            (_is_one_of(kind, *_FRAMES), _ANIMATED),
            (is_key & is_wrong_key, _BAD_KEY),
            (is_rare, examined),
        )
        return (
            tf.where(left, position + length + 12, position),
            ended | tf.equal(kind, b"IEND"),
            has_data | tf.equal(kind, b"IDAT"),
            tf.where(tf.equal(kind, b"PLTE"), length // 3, colours),
            tf.where(is_key, length, key),
            reason,
        )

    position, ended, _, _, key, reason = tf.while_loop(
        lambda position, ended, *_: tf.reduce_any(is_left(position, ended)),
        read_chunk,
        (
            none + len(_PNG_SIGNATURE),
            ~is_png,
            tf.zeros_like(is_png),
            none,
            none - 1,
            tf.zeros_like(none, tf.int32),
        ),
        maximum_iterations=_MOST_PARTS,
    )
    is_whole = files.have(none + len(_PNG_SIGNATURE), _PNG_HEADER)
    is_whole &= ended & (position <= files.sizes)
    has_key = (key >= 0) & (is_palette | tf.equal(colour_type, _GRAY) | tf.equal(colour_type, _RGB))
    expected = tf.where(tf.equal(colour_type, _GRAY), tf.constant(2, tf.int64), 6)
    reasons = _first(
        (~is_whole, _DAMAGED),
        (tf.greater(reason, _FINE), reason),
        (has_key & tf.equal(depth, 16), _DEEP_KEY),
        (has_key & ~is_palette & tf.not_equal(key, expected), _BAD_KEY),
    )
    have_alpha = has_key | tf.greater(tf.bitwise.bitwise_and(colour_type, 4), 0)
    return _Facts(reasons, heights, widths, have_alpha)


def _is_one_of(values: tf.Tensor, *choices: bytes | int) -> tf.Tensor:
    """Says which values are one of the choices, bool in the shape of the values."""
    return tf.reduce_any(tf.equal(values[..., tf.newaxis], tf.constant(choices, values.dtype)), -1)


def _chunk_reason(chunk: _Part) -> tf.Tensor:
    """Returns the code of the reason to refuse a chunk eXIf, tRNS or with text, int32 []."""
    start = 8
    return tf.cond(
        chunk.has(4, b"tRNS"),
        lambda: tf.where(_is_corrupt(chunk), _BAD_KEY, _FINE),
        lambda: tf.where(
            tf.cond(
                chunk.has(4, b"eXIf"),
                lambda: _is_turned(chunk, start),
                lambda: _png_text_is_turned(chunk, start),
            ),
            _TURNED,
            _FINE,
        ),
    )


def _is_corrupt(chunk: _Part) -> tf.Tensor:
    """Compares a tRNS chunk with its checksum: libpng would silently drop a corrupt one."""
    # Of a chunk that is cut, the checksum is too.
    end = chunk.size - 4
    content = chunk.data[4 : tf.minimum(end, 8 + _MOST_KEY)]
    table = tf.constant(_CRC_TABLE, tf.int64)

    def add(crc: tf.Tensor, byte: tf.Tensor) -> tf.Tensor:
        entry = tf.bitwise.bitwise_and(tf.bitwise.bitwise_xor(crc, tf.cast(byte, tf.int64)), 0xFF)
        return tf.bitwise.bitwise_xor(tf.gather(table, entry), tf.bitwise.right_shift(crc, 8))

    crc = tf.foldl(add, content, initializer=tf.constant(0xFFFFFFFF, tf.int64))
    return tf.not_equal(tf.bitwise.bitwise_xor(crc, 0xFFFFFFFF), chunk.number(end, 4, False))


def _png_text_is_turned(chunk: _Part, start: int) -> tf.Tensor:
    """Says whether a text chunk gives an orientation other than 1, or may do so compressed."""
    # In iTXt, a flag behind the keyword says whether the text is compressed.
    flag = chunk.bytes_at(tf.constant(start + len(_PNG_XMP), tf.int64))
    is_hidden = chunk.has(4, b"zTXt") | (chunk.has(4, b"iTXt") & tf.not_equal(flag, 0))
    is_xmp = chunk.has(start, _PNG_XMP)
    return chunk.has(start, _PNG_EXIF_TEXT) | (is_xmp & (is_hidden | _xmp_is_turned(chunk, is_xmp)))


def _xmp_is_turned(part: _Part, is_xmp: tf.Tensor) -> tf.Tensor:
    return is_xmp & tf.strings.regex_full_match(tf.where(is_xmp, part.content, b""), _XMP_TURNED)


def _jpeg_facts(files: _Files, is_jpeg: tf.Tensor) -> _Facts:
    """Reads the segments of those files that are JPEG files, up to their first scan."""

    def is_left(position, ended):
        return ~ended & (position + 4 <= files.sizes)

    def read_segment(position, ended, height, width, has_exif, reason):
        left = is_left(position, ended)
        head = files.bytes_at(position, 10)
        marker, length = tf.where(left, head[:, 1], 0), _number(head[:, 2:4], False)
        is_app1 = tf.equal(marker, _APP1)
        is_exif = is_app1 & (length >= 2 + len(_EXIF)) & files.have(position + 4, _EXIF)
        # Markers may have fill bytes before them.
        is_fill, is_restart = tf.equal(marker, _FILL), _is_one_of(marker, *_RESTARTS)
        is_known = is_fill | is_restart | _is_one_of(marker, *_SEGMENTS)
        # All markers from 0xC0 to 0xCF but those of tables, extensions and arithmetic coding.
        is_frame = (marker >= 0xC0) & (marker <= 0xCF) & ~_is_one_of(marker, 0xC4, 0xC8, 0xCC)
        is_plain = tf.equal(head[:, 4], 8) & _is_one_of(head[:, 9], 1, 3)
        examined = _examined(files, position, length + 2, is_app1, _segment_reason)
        reason = _first(
            (tf.greater(reason, _FINE), reason),
            (left & (tf.not_equal(head[:, 0], _FILL) | ~is_known), _DAMAGED),
            (is_exif & has_exif, _TURNED),
            (tf.greater(examined, _FINE), examined),
            (is_frame & ~is_plain, _FOUR_COLOURS),
            (is_frame & (height > 0), _DAMAGED),
        )
        step = tf.where(is_fill, none + 1, tf.where(is_restart, none + 2, length + 2))
        return (
            tf.where(left, position + step, position),
            ended | tf.equal(marker, _SCAN) | tf.greater(reason, _FINE),
            tf.where(is_frame, _number(head[:, 5:7], False), height),
            tf.where(is_frame, _number(head[:, 7:9], False), width),
            has_exif | is_exif,
            reason,
        )

    none, never = tf.zeros_like(files.sizes), tf.zeros_like(is_jpeg)
    _, ended, heights, widths, _, reason = tf.while_loop(
        lambda position, ended, *_: tf.reduce_any(is_left(position, ended)),
        read_segment,
        (none + 2, ~is_jpeg, none, none, never, tf.zeros_like(none, tf.int32)),
        maximum_iterations=_MOST_PARTS,
    )
    reasons = _first(
        (tf.greater(reason, _FINE), reason), (~ended | tf.equal(heights * widths, 0), _DAMAGED)
    )
    return _Facts(reasons, heights, widths, never)


def _segment_reason(segment: _Part) -> tf.Tensor:
    """Returns the code of the reason to refuse a segment APP1, int32 []."""
    start = 4
    is_turned = tf.cond(
        segment.has(start, _EXIF),
        lambda: _is_turned(segment, start + len(_EXIF)),
        lambda: _xmp_is_turned(segment, segment.has(start, _XMP)),
    )
    return tf.where(is_turned, _TURNED, _FINE)


def _is_turned(part: _Part, position: int) -> tf.Tensor:
    """Says whether the first directory of EXIF data has an orientation that is not plainly 1.

    Data that cannot be read as EXIF counts as turned: nobody can tell what it means.
    """
    start = tf.constant(position, tf.int64)
    little = part.has(position, b"II*\x00")
    offset = part.number(start + 4, 4, little)
    count = part.number(start + offset, 2, little)
    entries = start + offset + 2 + 12 * tf.range(count)
    is_orientation = tf.equal(part.number(entries, 2, little), _ORIENTATION)
    is_one = (
        tf.equal(part.number(entries + 2, 2, little), _SHORT)
        & tf.equal(part.number(entries + 4, 4, little), 1)
        & tf.equal(part.number(entries + 8, 2, little), 1)
    )
    is_readable = little | part.has(position, b"MM\x00*")
    return ~is_readable | tf.reduce_any(is_orientation & ~is_one)


def _composited(pixels: tf.Tensor, background: int) -> tf.Tensor:
    """Puts RGBA pixels onto the background; the same formula as in `components.images`."""
    # The largest sum is 255 * 255 + 127, which 16 bits hold.
    values = tf.cast(pixels, tf.uint16)
    colours, opacity = values[..., :3], values[..., 3:]
    return tf.cast((colours * opacity + background * (255 - opacity) + 127) // 255, tf.uint8)


def _luma(colours: tf.Tensor) -> tf.Tensor:
    """Brightness of RGB pixels, uint8 [..., 3], with Pillow's weights and rounding."""
    red, green, blue = (tf.cast(each, tf.int32) for each in tf.split(colours, 3, axis=-1))
    total = red * 19595 + green * 38470 + blue * 7471 + 32768
    return tf.cast(tf.bitwise.right_shift(total, 16), tf.uint8)


def _are_narrow(heights: tf.Tensor, widths: tf.Tensor, preparation: Preparation) -> tf.Tensor:
    """As in `components.images`, but for those of the expected size, which never are."""
    scale = tf.minimum(preparation.width * heights, preparation.height * widths)
    return 2 * tf.minimum(heights, widths) * scale <= heights * widths


def _fitted(image: tf.Tensor, plain: _Plain, preparation: Preparation) -> tf.Tensor:
    """Fits an image; resizing leaves one of the expected size unchanged.

    Args:
      image: uint8 [given height, given width, 3 or 4].
      plain: Makes opaque pixels with the expected channels from some rows.
      preparation: The expected form.

    Returns:
      uint8 [height, width, channels].
    """
    fit = {Fit.PAD: _padded, Fit.CROP: _cropped, Fit.STRETCH: _stretched}[preparation.fit]
    return fit(image, plain, preparation)


def _padded(image: tf.Tensor, plain: _Plain, preparation: Preparation) -> tf.Tensor:
    given = tf.cast(tf.shape(image)[:2], tf.int64)
    target = tf.constant(preparation.shape[:2], tf.int64)
    # With integers: the limiting side gets its full size, the other follows.
    size = tf.maximum(
        tf.minimum(target, given * tf.reverse(target, [0]) // tf.reverse(given, [0])), 1
    )
    before = (target - size) // 2
    margins = tf.stack([before, target - size - before], axis=1)
    return tf.pad(
        _resized(image, plain, size, preparation.channels),
        tf.concat([margins, [[0, 0]]], axis=0),
        constant_values=tf.constant(preparation.background, tf.uint8),
    )


def _cropped(image: tf.Tensor, plain: _Plain, preparation: Preparation) -> tf.Tensor:
    given = tf.cast(tf.shape(image)[:2], tf.int64)
    target = tf.constant(preparation.shape[:2], tf.int64)
    size = tf.maximum(
        tf.minimum(given, tf.reverse(given, [0]) * target // tf.reverse(target, [0])), 1
    )
    (top, left), (height, width) = tf.unstack((given - size) // 2), tf.unstack(size)
    part = image[top : top + height, left : left + width]
    return _resized(part, plain, target, preparation.channels)


def _stretched(image: tf.Tensor, plain: _Plain, preparation: Preparation) -> tf.Tensor:
    target = tf.constant(preparation.shape[:2], tf.int64)
    return _resized(image, plain, target, preparation.channels)


def _resized(image: tf.Tensor, plain: _Plain, size: tf.Tensor, channels: int) -> tf.Tensor:
    """Resizes in two steps, and rounds after each to whole numbers, as Pillow does.

    The first step treats each row by itself, so it takes a band of rows at a time.

    Args:
      image: uint8 [given height, given width, 3 or 4].
      plain: Makes opaque pixels with the expected channels from some rows.
      size: Height and width, int64 [2].
      channels: The expected channels.

    Returns:
      uint8 [height, width, channels].
    """
    height, width = tf.unstack(tf.cast(size, tf.int32))
    given_height, given_width, _ = tf.unstack(tf.shape(image))
    rows = tf.maximum(1, _BAND // tf.maximum(given_width, width))

    def narrow(start: tf.Tensor, done: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        band = plain(image[start : start + rows])
        wide = tf.image.resize(band, [tf.shape(band)[0], width], antialias=True)
        return start + rows, tf.concat([done, _rounded(wide)], axis=0)

    _, wide = tf.while_loop(
        lambda start, _: start < given_height,
        narrow,
        (tf.constant(0), tf.zeros([0, width, channels], tf.uint8)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None, channels])),
        parallel_iterations=1,
    )
    return _rounded(tf.image.resize(wide, [height, width], antialias=True))


def _rounded(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.floor(values + 0.5), 0, 255), tf.uint8)
