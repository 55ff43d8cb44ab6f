"""Image files become the right pixels, or are refused with a reason; nothing else."""

import contextlib
import dataclasses
import io
import itertools
import struct
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from components import images
from components.images import Fit, ImageError, Preparation
from tests import image_files
from tests.image_files import (
    COLOURS,
    HEIGHT,
    OPACITY,
    PICTURE,
    TRANSPARENT,
    WIDTH,
    chunk,
    palette,
    png,
    png_values,
    saved,
    turned,
)

BACKGROUND = 77
COLOUR = Preparation(HEIGHT, WIDTH, 3, Fit.PAD, BACKGROUND)
GRAY = Preparation(HEIGHT, WIDTH, 1, Fit.PAD, BACKGROUND)
# Turns an upright picture into one that each orientation makes upright again.
TURNED_AWAY = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}


def luma(colours):
    """Pillow's formula for the brightness of a colour."""
    weighted = colours.astype(np.int64) @ np.array([19595, 38470, 7471])
    return ((weighted + 32768) >> 16).astype(np.uint8)


def on_background(colours, opacity):
    """Colours on the background, rounded to the nearest number."""
    share = opacity[..., None].astype(np.int64)
    return ((colours * share + BACKGROUND * (255 - share) + 127) // 255).astype(np.uint8)


def assert_pixels(content, colours):
    """Checks the pixels in colour and in gray."""
    np.testing.assert_array_equal(images.prepare(content, COLOUR).pixels, colours)
    np.testing.assert_array_equal(images.prepare(content, GRAY).pixels[..., 0], luma(colours))


def reason(content):
    with pytest.raises(ImageError) as caught:
        images.prepare(content, COLOUR)
    message = str(caught.value)
    assert "; expected " in message and message.endswith(".")
    assert message.isprintable()
    return message


def in_mode(mode):
    """The picture in a mode of Pillow, and its colours; None if it cannot be used."""
    gray = luma(COLOURS)
    as_colours = np.repeat(gray[..., None], 3, axis=2)
    if mode == "1":
        image = PICTURE.convert("1")
        return image, np.repeat(np.asarray(image.convert("L"))[..., None], 3, axis=2)
    if mode in ("L", "LA"):
        image = Image.fromarray(gray if mode == "L" else np.dstack([gray, OPACITY]))
        return image, as_colours if mode == "L" else on_background(as_colours, OPACITY)
    if mode in ("P", "PA"):
        image = PICTURE.quantize(7)
        colours = np.asarray(image.convert("RGB"))
        if mode == "P":
            return image, colours
        image = image.convert("PA")
        image.putalpha(Image.fromarray(OPACITY))
        return image, on_background(colours, OPACITY)
    if mode == "RGBA":
        return TRANSPARENT, on_background(COLOURS, OPACITY)
    if mode == "RGB":
        return PICTURE, COLOURS
    if mode == "RGBX":
        return Image.frombytes("RGBX", (WIDTH, HEIGHT), TRANSPARENT.tobytes()), COLOURS
    if mode in ("I;16", "I;16B"):
        kind = "<u2" if mode == "I;16" else ">u2"
        return Image.fromarray((gray.astype(np.uint16) * 256 + 200).astype(kind)), as_colours
    if mode in ("I", "F"):
        return Image.fromarray(gray.astype(np.int32 if mode == "I" else np.float32)), None
    if mode == "LAB":
        return Image.frombytes("LAB", (WIDTH, HEIGHT), COLOURS.tobytes()), None
    return PICTURE.convert(mode), None


MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "I;16", "I;16B")
# The modes that Pillow writes in each format without a change.
LOSSLESS = {
    "PNG": {"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"},
    "BMP": {"1", "L", "P", "RGB"},
    "GIF": {"1", "L", "P"},
    "WEBP": {"1", "L", "P", "RGB"},
    "TIFF": set(MODES),
}
COMPRESSIONS = (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")


@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, mode) for kind, modes in LOSSLESS.items() for mode in sorted(modes)]
)
def test_every_mode_of_every_format_keeps_its_pixels(kind, mode):
    image, colours = in_mode(mode)
    variants = [{}]
    if kind == "TIFF":
        variants = [{"compression": each} for each in COMPRESSIONS]
    if kind == "WEBP":
        variants = [{"lossless": True}]
    for options in variants:
        assert_pixels(saved(image, kind, **options), colours)


def test_webp_keeps_transparency():
    assert_pixels(
        saved(TRANSPARENT, "WEBP", lossless=True, exact=True), on_background(COLOURS, OPACITY)
    )


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_has_the_pixels_that_pillow_decodes(mode):
    content = saved(PICTURE.convert(mode), "JPEG", quality=80)
    with Image.open(io.BytesIO(content)) as opened:
        assert_pixels(content, np.asarray(opened.convert("RGB")))


def test_the_first_image_of_a_phone_photo_counts():
    """Its others are previews."""
    content = saved(PICTURE, "MPO", save_all=True, append_images=[PICTURE.rotate(180)])
    alone = saved(PICTURE, "JPEG")
    np.testing.assert_array_equal(
        images.prepare(content, COLOUR).pixels, images.prepare(alone, COLOUR).pixels
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("depth", "colour_type"), image_files.PNG_KINDS)
def test_every_png_keeps_the_high_bits_of_its_values(depth, colour_type, interlaced):
    values = png_values(depth, colour_type)
    before = (palette(depth),) if colour_type == 3 else ()
    content = png(values, depth, colour_type, before=before, interlaced=interlaced)
    if colour_type == 3:
        table = np.frombuffer(palette(depth)[8:-4], np.uint8).reshape(-1, 3)
        assert_pixels(content, table[values[..., 0]])
        return
    eight = values >> 8 if depth == 16 else values * 255 // (2**depth - 1)
    has_alpha = colour_type in (4, 6)
    colours = eight[..., :-1] if has_alpha else eight
    colours = np.broadcast_to(colours, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    assert_pixels(content, on_background(colours, eight[..., -1]) if has_alpha else colours)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_gray_value_becomes_the_background(depth):
    """Pillow compares the value as it is in the file with pixels that it has scaled."""
    values = png_values(depth, 0)
    key = chunk(b"tRNS", struct.pack(">H", values[0, 0, 0]))
    eight = (values * 255 // (2**depth - 1)).astype(np.uint8)
    expected = np.where(values == values[0, 0], BACKGROUND, eight)
    assert_pixels(png(values, depth, 0, before=(key,)), np.repeat(expected, 3, axis=2))


def test_a_transparent_colour_becomes_the_background():
    key = chunk(b"tRNS", struct.pack(">3H", *map(int, COLOURS[2, 3])))
    expected = COLOURS.copy()
    expected[2, 3] = BACKGROUND
    assert_pixels(png(COLOURS, 8, 2, before=(key,)), expected)


@pytest.mark.parametrize("opacity", [b"\xff\x00", b"\x00", bytes(range(0, 256, 16)), b"\x01\x80"])
def test_colours_of_a_palette_may_be_transparent(opacity):
    values = png_values(4, 3)
    table = np.frombuffer(palette(4)[8:-4], np.uint8).reshape(-1, 3)
    alpha = np.full(16, 255, np.uint8)
    alpha[: len(opacity)] = np.frombuffer(opacity, np.uint8)
    content = png(values, 4, 3, before=(palette(4), chunk(b"tRNS", opacity)))
    indices = values[..., 0]
    assert_pixels(content, on_background(table[indices], alpha[indices]))


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_transparent_gif_is_put_on_the_background(mode):
    image = Image.fromarray(np.array([[0, 1, 2], [1, 2, 0]], np.uint8)).resize((WIDTH, HEIGHT), 0)
    image.putpalette([9, 8, 7, 30, 30, 30, 200, 100, 50] if mode == "P" else [0] * 3 + [1] * 3)
    content = saved(image, "GIF", transparency=1)
    indices = np.asarray(image)
    pixels = images.prepare(content, COLOUR).pixels
    assert (pixels[indices == 1] == BACKGROUND).all()
    assert (pixels[indices == 0] == ((9, 8, 7) if mode == "P" else (0, 0, 0))).all()


def test_an_index_beyond_the_palette_is_black():
    """As libpng shows it; Pillow would show a gray value."""
    content = png(np.full((HEIGHT, WIDTH, 1), 9), 8, 3, before=(palette(8, 4),))
    assert_pixels(content, np.zeros_like(COLOURS))


@pytest.mark.parametrize("orientation", TURNED_AWAY)
@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *itertools.product(["PNG", "TIFF"], ["1", "L", "P", "RGB", "RGBA", "I;16"]),
        *itertools.product(["WEBP"], ["L", "RGB", "RGBA"]),
    ],
)
def test_every_orientation_is_made_upright(kind, mode, orientation, endian):
    image, _ = in_mode(mode)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    upright = images.prepare(saved(image, kind, **options), COLOUR).pixels
    exif = turned(orientation, endian)
    content = saved(TURNED_AWAY[orientation](image), kind, exif=exif, **options)
    prepared = images.prepare(content, COLOUR)
    assert prepared.size == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(prepared.pixels, upright)


@pytest.mark.parametrize("orientation", TURNED_AWAY)
def test_a_photograph_is_made_upright_by_exif_or_xmp(orientation):
    image = TURNED_AWAY[orientation](PICTURE)
    for options in (
        {"exif": turned(orientation)},
        {"xmp": image_files.xmp(orientation).encode()},
    ):
        content = saved(image, "JPEG", quality=100, subsampling=0, keep_rgb=True, **options)
        pixels = images.prepare(content, COLOUR).pixels.astype(int)
        assert np.abs(pixels - COLOURS).max() < 8


def tiff(values, kind="<", **tags):
    """An uncompressed TIFF file whose tags say what they like."""
    height, width = values.shape[:2]
    content = values.astype(values.dtype.newbyteorder(kind)).tobytes()
    samples = values.shape[2] if values.ndim == 3 else 1
    named = {
        "ImageWidth": width,
        "ImageLength": height,
        "BitsPerSample": (values.dtype.itemsize * 8,) * samples,
        "Compression": 1,
        "PhotometricInterpretation": 2 if samples > 2 else 1,
        "SamplesPerPixel": samples,
        "RowsPerStrip": height,
        "StripByteCounts": len(content),
        # Pillow adds the size of all that comes before.
        "StripOffsets": 0,
        **tags,
    }
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II" if kind == "<" else b"MM")
    for name, value in named.items():
        if value is not None:
            directory[Image.ExifTags.Base[name].value if isinstance(name, str) else name] = value
    buffer = io.BytesIO()
    buffer.write((b"II*\0" if kind == "<" else b"MM\0*") + struct.pack(f"{kind}L", 8))
    directory.save(buffer)
    return buffer.getvalue() + content


@pytest.mark.parametrize("kind", "<>")
def test_a_tiff_with_sixteen_bits_keeps_the_high_bits(kind):
    deep = COLOURS.astype(np.uint16) * 256 + 130
    assert_pixels(tiff(deep, kind), COLOURS)
    gray = np.repeat(COLOURS[..., :1], 3, axis=2)
    assert_pixels(tiff(deep[..., 0], kind), gray)
    assert_pixels(
        tiff(np.dstack([deep, OPACITY.astype(np.uint16) << 8]), kind, ExtraSamples=2),
        on_background(COLOURS, OPACITY),
    )


def test_inverted_gray_is_inverted_back():
    gray = np.repeat(COLOURS[..., :1], 3, axis=2)
    assert_pixels(tiff(255 - COLOURS[..., 0], PhotometricInterpretation=0), gray)


FOUR = np.dstack([COLOURS, OPACITY])
UNUSABLE_TIFFS = {
    "inverted, 16 bits": tiff(COLOURS[..., 0].astype(np.uint16), PhotometricInterpretation=0),
    "no colours": tiff(COLOURS[..., 0], PhotometricInterpretation=None),
    "signed": tiff(COLOURS[..., 0], SampleFormat=2),
    "signed, 16 bits": tiff(COLOURS[..., 0].astype(np.uint16), SampleFormat=2),
    "float": tiff(COLOURS[..., 0].astype(np.float32), SampleFormat=3),
    "32 bits": tiff(COLOURS[..., 0].astype(np.uint32)),
    "12 bits": tiff(COLOURS[..., 0], BitsPerSample=12),
    "YCbCr": tiff(COLOURS, PhotometricInterpretation=6),
    "a part of YCbCr": tiff(COLOURS[..., 0], PhotometricInterpretation=6),
    "Lab": tiff(COLOURS, PhotometricInterpretation=8),
    "CMYK": tiff(FOUR, PhotometricInterpretation=5),
    "premultiplied": tiff(FOUR, ExtraSamples=1),
    "unknown fourth": tiff(FOUR),
    "Corel": tiff(FOUR, ExtraSamples=999),
    "reverse bits": tiff(COLOURS[..., 0], FillOrder=2),
    "planes, 16 bits": tiff(COLOURS.astype(np.uint16), PlanarConfiguration=2),
    "inverted planes": tiff(COLOURS[..., 0], PhotometricInterpretation=0, PlanarConfiguration=2),
    "preview": tiff(COLOURS, NewSubfileType=1),
    "one plane of three": tiff(COLOURS, PlanarConfiguration=2),
    "one strip of three": tiff(COLOURS, RowsPerStrip=2, StripByteCounts=WIDTH * 2 * 3),
    "pages": saved(PICTURE, "TIFF", save_all=True, append_images=[PICTURE]),
}


@pytest.mark.parametrize("name", UNUSABLE_TIFFS)
def test_a_tiff_that_pillow_would_misread_is_refused(name):
    assert "damaged" not in reason(UNUSABLE_TIFFS[name])


def test_planes_in_eight_bits_are_read():
    size = HEIGHT * WIDTH
    planes = np.moveaxis(COLOURS, -1, 0).reshape(COLOURS.shape)
    strips = {"StripByteCounts": (size,) * 3, "StripOffsets": (0, size, 2 * size)}
    assert_pixels(tiff(planes, PlanarConfiguration=2, **strips), COLOURS)


UNUSABLE = {
    "empty": (b"", "is empty"),
    "text": (b"text", "no image"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image"),
    "EPS": (saved(PICTURE, "EPS"), "no image"),
    "PostScript": (b"%!PS-Adobe-3.0\n/x { showpage } def\n", "no image"),
    "PPM": (saved(PICTURE, "PPM"), "no image"),
    "ICO": (saved(PICTURE, "ICO"), "no image"),
    "PDF": (saved(PICTURE, "PDF"), "no image"),
    "CMYK": (saved(PICTURE.convert("CMYK"), "JPEG"), "CMYK"),
    "32-bit integers": (saved(in_mode("I")[0], "TIFF"), "signed or floating"),
    "floats": (saved(in_mode("F")[0], "TIFF"), "signed or floating"),
    "CMYK TIFF": (saved(PICTURE.convert("CMYK"), "TIFF"), "CMYK"),
    "Lab TIFF": (saved(in_mode("LAB")[0], "TIFF"), "Lab"),
    "BMP with a fourth value": (saved(TRANSPARENT, "BMP"), "fourth value"),
    "animated GIF": (
        saved(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(180)]),
        "frames",
    ),
    "animated WebP": (
        saved(PICTURE, "WEBP", save_all=True, append_images=[PICTURE.rotate(180)]),
        "frames",
    ),
    "animated PNG": (
        saved(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(180)]),
        "frames",
    ),
    "16 bits and a transparent colour": (
        png(png_values(16, 2), 16, 2, before=(chunk(b"tRNS", bytes(6)),)),
        "16 bits",
    ),
    "palette is missing": (png(png_values(8, 3), 8, 3), "palette is missing"),
    "a huge size": (
        png(np.zeros((1, 1, 1), int), 8, 0).replace(
            b"\0\0\0\1\0\0\0\1", b"\0\0\x7f\xff\0\0\x7f\xff"
        ),
        "",
    ),
    "narrow": (saved(PICTURE.resize((400, 2)), "PNG"), "400x2"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_is_refused_with_a_reason(name):
    content, what = UNUSABLE[name]
    assert what in reason(content)


@pytest.mark.parametrize("side", [8193, 11_000, 16_000])
def test_a_bomb_is_refused_before_it_is_decoded(side):
    """A few bytes that become many: 8193 pixels a side are more than the limit."""
    width = struct.pack(">I", side)
    header = chunk(b"IHDR", width * 2 + b"\x08\0\0\0\0")
    content = png(np.zeros((1, 1, 1), int), 8, 0)
    bomb = content[:8] + header + content[33:]
    assert "pixels; expected at most 67,108,864" in reason(bomb)


@pytest.mark.parametrize("kind", images.FORMATS)
def test_a_file_that_ends_anywhere_is_refused(kind):
    content = saved(PICTURE.resize((40, 40)), kind)
    for length in range(0, len(content) - 1, max(1, len(content) // 60)):
        if kind == "BMP" and length > len(content) - 4:
            continue
        reason(content[:length])


def test_nothing_is_printed_about_a_hostile_file(capfd):
    """Pillow warns of large images, damaged metadata and odd files."""
    many_samples = tiff(COLOURS[..., 0], SamplesPerPixel=1000)
    large = png(np.zeros((1, 1, 1), int), 8, 0)
    large = large[:8] + chunk(b"IHDR", struct.pack(">II", 10_000, 10_000) + b"\x08\0\0\0\0")
    exif = saved(PICTURE, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\xff\x01\x12\0\x03\0\0\0\x09")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for content in (many_samples, large, exif, b"text"):
            with contextlib.suppress(ImageError):
                images.prepare(content, COLOUR)
    assert capfd.readouterr() == ("", "")


def test_it_imports_neither_tensorflow_nor_tfx():
    code = "import sys, components.images; print({'tensorflow', 'tfx'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "set()\n", ended.stderr


# Fitting


@pytest.mark.parametrize("fit", Fit)
def test_an_image_of_the_exact_size_is_never_touched(fit):
    preparation = Preparation(HEIGHT, WIDTH, 3, fit, BACKGROUND)
    np.testing.assert_array_equal(images.fitted(PICTURE, preparation), COLOURS)


@pytest.mark.parametrize(
    ("size", "inner"),
    [
        ((84, 84), (28, 28)),
        ((56, 28), (28, 14)),
        ((28, 56), (14, 28)),
        ((100, 99), (28, 27)),
        ((7, 14), (14, 28)),
        ((55, 1), None),
        ((56, 1), None),
        ((1, 1), (28, 28)),
    ],
)
def test_padding_keeps_the_proportions(size, inner):
    preparation = Preparation(28, 28, 1, Fit.PAD, BACKGROUND)
    image = Image.new("L", size, 200)
    if inner is None and max(size) >= 2 * 28:
        with pytest.raises(ImageError):
            images.fitted(image, preparation)
        return
    width, height = inner or (28, 1)
    left, top = (28 - width) // 2, (28 - height) // 2
    expected = np.full((28, 28), BACKGROUND)
    expected[top : top + height, left : left + width] = 200
    np.testing.assert_array_equal(images.fitted(image, preparation)[..., 0], expected)


def test_cropping_takes_the_middle():
    image = Image.new("L", (60, 20), 0)
    image.paste(200, (20, 0, 40, 20))
    found = images.fitted(image, Preparation(10, 10, 1, Fit.CROP, BACKGROUND))
    assert (found == 200).all()


def test_stretching_takes_everything():
    image = Image.new("L", (60, 20), 0)
    image.paste(200, (30, 0, 60, 20))
    found = images.fitted(image, Preparation(10, 10, 1, Fit.STRETCH, BACKGROUND))[..., 0]
    assert (found[:, :4] == 0).all() and (found[:, 6:] == 200).all()


# Borders


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 2), (3, 1), (3, 3), (6, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_border_is_measured_alike_in_one_image_and_in_many(size, channels):
    random = np.random.default_rng(1)
    many = random.integers(0, 256, (5, *size, channels), np.uint8)
    preparation = Preparation(*size, channels, Fit.PAD, 0)
    for pixels, border in zip(many, images.borders(many), strict=True):
        image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        prepared = images.prepare(saved(image, "PNG"), preparation)
        assert prepared.border == pytest.approx(border, abs=1e-9)
        brightness = luma(pixels) if channels == 3 else pixels[..., 0]
        inner = np.zeros(size, bool)
        inner[1:-1, 1:-1] = True
        assert border == pytest.approx(brightness[~inner].mean())


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0] * 9 + [255], "dark"),
        ([64] * 10, "dark"),
        ([65] * 10, "mixed"),
        ([190] * 10, "mixed"),
        ([191] * 9 + [0], "bright"),
        ([0] * 8 + [255] * 2, "mixed"),
        ([], "mixed"),
    ],
)
def test_borders_are_dark_or_bright_if_nearly_all_are(values, kind):
    assert images.border_kind(np.array(values, np.float64)) == kind


BASE = Preparation(28, 28, 1, Fit.PAD, 0)


@pytest.mark.parametrize(
    "change", [{"fit": Fit.CROP}, {"background": 255}, {"channels": 3}, {"height": 32}]
)
def test_a_digest_tells_other_settings_of_the_preparation(change):
    digest = images.preparation_digest(BASE)
    assert images.preparation_digest(dataclasses.replace(BASE, **change)) != digest
    assert images.preparation_digest(dataclasses.replace(BASE)) == digest


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_digest_tells_other_rules_of_the_preparation(kind, monkeypatch):
    """Another version of this project, or of Pillow, may make other pixels of a file."""
    digest, prepare = images.preparation_digest(BASE), images.prepare

    def otherwise(content, preparation):
        made = prepare(content, preparation)
        is_concerned = Image.open(io.BytesIO(content)).format == kind
        return dataclasses.replace(made, pixels=made.pixels ^ 1) if is_concerned else made

    monkeypatch.setattr(images, "prepare", otherwise)
    assert images.preparation_digest(BASE) != digest


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 128, 3), (128, 1, 1), (7, 300, 3), (1024, 1024, 3), (90_000, 3, 1)]
)
def test_every_preparation_has_a_digest(shape, monkeypatch):
    monkeypatch.setattr(images, "MOST_IMAGE_PIXELS", 4 * 2**20)
    for fit in Fit:
        assert len(images.preparation_digest(Preparation(*shape, fit, 9))) == 64


@pytest.mark.parametrize("side", [28, 700])
def test_a_digest_tells_each_fit(side):
    digests = {images.preparation_digest(Preparation(side, side, 1, fit, 9)) for fit in Fit}
    assert len(digests) == len(Fit)


def test_a_digest_of_large_images_takes_little_memory():
    tracemalloc.start()
    images.preparation_digest(Preparation(1024, 1024, 3, Fit.PAD, 9))
    assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    tracemalloc.stop()
