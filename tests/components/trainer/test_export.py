"""The export's endpoints: they answer alike, and refuse what they would get wrong."""

import functools
import itertools
import json
import pathlib
import re
import shutil
import struct

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from PIL import ExifTags, Image, ImageOps

from components import features, images, transform
from components.images import Fit, Preparation
from components.trainer import decoding, export, training
from components.trainer.model import WHITENING
from operations import predict
from operations.questions import Invert
from tests import image_files
from tests.image_files import COLOURS, HEIGHT, PICTURE, WIDTH, chunk, saved, turned

BACKGROUND = 77
# Largest difference from Pillow where an image is resized, as docs/images.md states it.
BOUND = 2


@pytest.fixture(scope="module")
def preparation(schema):
    return Preparation(*schema.shape, Fit.PAD, BACKGROUND)


@pytest.fixture(scope="module")
def folder(settings, schema, transform_output, preparation, tmp_path_factory):
    network = training.compiled_network(settings, schema, 8, steps_at_once=2)
    # An untrained network finds all classes alike, whatever it sees.
    random = np.random.default_rng(1)
    for variable in (*network.trainable_variables, network.get_layer(WHITENING).kernel):
        variable.assign(random.normal(0, 0.5, variable.shape))
    classifier = training.build_classifier(network, settings, schema)
    path = tmp_path_factory.mktemp("export")
    export.export_model(classifier, transform_output, schema, preparation, "dark", str(path))
    return path


@pytest.fixture(scope="module")
def ask(folder):
    """Asks an endpoint, and returns its answer as arrays."""
    loaded = tf.saved_model.load(str(folder))

    def answer(endpoint, question):
        signature = loaded.signatures[endpoint]
        ((name, spec),) = signature.structured_input_signature[1].items()
        found = signature(**{name: tf.constant(question, spec.dtype)})
        return {key: value.numpy() for key, value in found.items()}

    return answer


@pytest.fixture(scope="module")
def pictures(schema):
    return np.random.default_rng(3).integers(0, 256, (4, *schema.shape), np.uint8)


def example(content):
    raw = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    message = tf.train.Example(features=tf.train.Features(feature={"image": raw}))
    return message.SerializeToString()


def test_all_endpoints_answer_alike(ask, pictures):
    expected = ask(features.PREDICT_PIXELS, pictures)
    examples = [example(each.tobytes()) for each in pictures]
    files = [saved(Image.fromarray(each[..., 0]), "PNG") for each in pictures]
    for endpoint, question in (
        (features.SERVING_DEFAULT, examples),
        (features.PREDICT_IMAGE_BYTES, files),
        (features.PREDICT_PIXELS, pictures[..., 0]),
    ):
        answer = ask(endpoint, question)
        np.testing.assert_allclose(answer["probabilities"], expected["probabilities"], atol=1e-6)
        assert answer["class_name"].tolist() == expected["class_name"].tolist()


def test_every_endpoint_gives_the_network_the_same_bits(ask, pictures):
    examples = [example(each.tobytes()) for each in pictures]
    files = [saved(Image.fromarray(each[..., 0]), "PNG") for each in pictures]
    expected = ask(features.PREDICT_PIXELS, pictures)["probabilities"]
    for endpoint, question in (
        (features.SERVING_DEFAULT, examples),
        (features.PREDICT_IMAGE_BYTES, files),
    ):
        np.testing.assert_array_equal(ask(endpoint, question)["probabilities"], expected)


def test_a_transform_graph_that_prepares_pixels_differently_is_refused(
    schema, write_transform, transform_folder, tmp_path
):
    """By one bit: it divides where `scaled` multiplies."""

    def divide(inputs):
        (prepared,) = transform.preprocessing_fn(inputs, schema.shape).values()
        return {features.IMAGE: tf.round(prepared * 255) / tf.math.maximum(prepared * 0, 255)}

    output = tft.TFTransformOutput(write_transform(divide, tmp_path / "transform"))
    with pytest.raises(export.PreprocessingError, match="expected the same bits"):
        export.check_preprocessing(output, schema)
    export.check_preprocessing(tft.TFTransformOutput(transform_folder), schema)


@pytest.mark.parametrize(
    ("endpoint", "empty"),
    [
        (features.SERVING_DEFAULT, []),
        (features.PREDICT_IMAGE_BYTES, []),
        (features.PREDICT_PIXELS, np.zeros((0, 8, 8))),
        (features.PREDICT_PIXELS, np.zeros((0, 8, 8, 1))),
    ],
)
def test_an_empty_batch_has_an_empty_answer(ask, endpoint, empty):
    answer = ask(endpoint, empty)
    assert answer["probabilities"].shape == (0, 3)
    assert answer["class_id"].shape == answer["class_name"].shape == (0,)


@pytest.mark.parametrize("size", [0, 63, 65, 128])
def test_an_example_of_another_size_is_refused(ask, size):
    """Twice the bytes once became two answers."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected 64 bytes"):
        ask(features.SERVING_DEFAULT, [example(bytes(64)), example(bytes(size))])


def test_the_description_says_how_images_are_prepared(folder, schema):
    described = json.loads((folder / features.EXPORT_DESCRIPTION_FILE).read_text())
    assert described == {
        "image_shape": list(schema.shape),
        "class_names": list(schema.class_names),
        "fit": "pad",
        "background": BACKGROUND,
        "border": "dark",
    }


def test_one_bad_file_refuses_its_request_and_is_named(ask, pictures):
    files = [saved(Image.fromarray(pictures[0, ..., 0]), "PNG"), b"text"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[image\] \[1\].*neither a PNG"):
        ask(features.PREDICT_IMAGE_BYTES, files)


MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "I", "I;16", "F", "CMYK", "YCbCr", "HSV")
KINDS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "MPO", "PPM", "EPS", "TGA", "ICO", "PDF")


def every_kind_of_file(side):
    """All that Pillow writes: format, mode, orientation; with a name for each."""
    colours = np.random.default_rng(5).integers(0, 256, (side, side, 4), np.uint8)
    picture = Image.fromarray(colours)
    for kind, mode in itertools.product(KINDS, MODES):
        image = picture.convert("RGB").convert(mode) if mode != "RGBA" else picture
        if mode in ("LA", "PA"):
            image.putalpha(Image.fromarray(colours[..., 3]))
        for orientation in range(1, 9) if kind in ("PNG", "JPEG", "WEBP", "TIFF") else (1,):
            options = {"exif": turned(orientation)} if orientation > 1 else {}
            try:
                content = saved(image, kind, **options)
            except (OSError, KeyError, ValueError):
                continue
            yield f"{kind}-{mode.replace(';', '')}-{orientation}", content


@pytest.mark.filterwarnings("ignore:Saving I mode")
def test_every_door_gives_one_answer_for_a_file_or_a_reason(
    ask, folder, preparation, schema, tmp_path
):
    """From the pixels of `components.images`, whose right ones its own tests know."""
    serving = tmp_path / "outputs" / "clothes" / "serving" / "1"
    shutil.copytree(folder, serving)
    files = dict(every_kind_of_file(schema.height))
    for name, content in files.items():
        (tmp_path / f"{name}.png").write_bytes(content)
    answer = predict.predict(
        sorted(tmp_path.glob("*.png")), None, tmp_path / "outputs", Invert.AUTO, lambda count: None
    )
    predicted = {pathlib.Path(each.file).stem: each.choices for each in answer.answers}
    refused = {pathlib.Path(each.file).stem for each in answer.refused}
    kinds = {name.partition("-")[0] for name in predicted}
    assert kinds == {"PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "MPO"}
    taken = set()
    for name, content in files.items():
        pixels = pillow(content, preparation)
        assert (pixels is None) == (name in refused) == (name not in predicted), name
        if pixels is None:
            continue
        (expected,) = ask(features.PREDICT_PIXELS, pixels[None])["probabilities"]
        by_class = dict(zip(schema.class_names, expected, strict=True))
        for choice in predicted[name]:
            assert choice.probability == pytest.approx(by_class[choice.class_name], abs=1e-5), name
        try:
            answer = ask(features.PREDICT_IMAGE_BYTES, [content])
        except tf.errors.InvalidArgumentError:
            continue
        taken.add(name)
        np.testing.assert_allclose(answer["probabilities"][0], expected, atol=1e-6, err_msg=name)
    # The graph takes all upright PNG and JPEG files, and no others.
    upright = {name for name in predicted if name.endswith("-1")}
    assert taken == {name for name in upright if name.startswith(("PNG", "JPEG", "MPO"))}


def test_a_client_that_inverts_gets_the_answers_of_predict(ask, folder, schema, tmp_path):
    """As docs/images.md shows it; the exported model itself never inverts."""
    shutil.copytree(folder, tmp_path / "outputs" / "clothes" / "serving" / "1")
    paper = Image.new("L", (40, 30), 250)
    paper.paste(30, (8, 6, 30, 18))
    dark = ImageOps.invert(paper)
    # The camera was held on its side.
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    paper.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "paper.jpg", quality=95, exif=exif)
    dark.save(tmp_path / "dark.png")
    answer = predict.predict(
        [tmp_path / "paper.jpg", tmp_path / "dark.png"],
        None,
        tmp_path / "outputs",
        Invert.AUTO,
        lambda count: None,
    )
    assert answer.answers[0].notes[0].startswith("inverted: ")
    inverted = inverted_by_a_client(tmp_path / "paper.jpg")
    sent = [saved(each, "PNG") for each in (inverted, dark, paper)]
    inverted, as_it_is, without = ask(features.PREDICT_IMAGE_BYTES, sent)["probabilities"]
    for found, expected in zip(answer.answers, (inverted, as_it_is), strict=True):
        by_class = dict(zip(schema.class_names, expected, strict=True))
        for choice in found.choices:
            assert choice.probability == pytest.approx(by_class[choice.class_name], abs=2e-3)
    # How far apart they are depends on the small network of these tests.
    assert np.abs(without - inverted).max() > 4e-3


def inverted_by_a_client(photo):
    """The lines of docs/images.md."""
    gray = ImageOps.exif_transpose(Image.open(photo)).convert("L")
    pixels = np.asarray(gray)
    inner = pixels[1:-1, 1:-1]
    border = (pixels.sum() - inner.sum()) / (pixels.size - inner.size)
    return ImageOps.invert(gray) if border > 127 else gray


def test_the_model_of_these_tests_tells_images_apart(ask, pictures):
    probabilities = ask(features.PREDICT_PIXELS, pictures)["probabilities"]
    assert len(np.unique(probabilities.round(4), axis=0)) == len(pictures)


@pytest.fixture(scope="module", params=[1, 3], ids=["gray", "colour"])
def exact(request):
    return Preparation(HEIGHT, WIDTH, request.param, Fit.PAD, BACKGROUND)


@pytest.fixture(scope="module")
def decode(exact):
    """The graph of the export, without a model: it returns the pixels, or None if it refuses."""
    return graph_of(exact)


def graph_of(preparation):
    decode_all = batch_graph_of(preparation)

    def ask(content):
        try:
            (pixels,) = decode_all([content]).numpy()
        except tf.errors.InvalidArgumentError:
            return None
        return pixels

    return ask


# Tracing and optimizing a graph takes two seconds.
@functools.cache
def batch_graph_of(preparation):
    return tf.function(
        lambda contents: decoding.decode(contents, preparation),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )


def pillow(content, preparation):
    try:
        return images.prepare(content, preparation).pixels
    except images.ImageError:
        return None


def png_files():
    """PNG files of every kind: plain, interlaced, with transparency, with odd palettes."""
    for depth, colour_type in image_files.PNG_KINDS:
        values = image_files.png_values(depth, colour_type)
        palette = (image_files.palette(depth),) if colour_type == 3 else ()
        keys = {
            0: [values[0, 0].astype(">u2").tobytes(), b"\xff\xff", b"\0"],
            2: [values[0, 0].astype(">u2").tobytes(), b"\0"],
            3: [b"\x80", b"\xff\x00", bytes(range(2**depth % 257)), bytes(2**depth + 1)],
            4: [b"\0\0"],
            6: [b"\0\0"],
        }[colour_type]
        before = [palette, *((*palette, chunk(b"tRNS", key)) for key in keys)]
        before.append((chunk(b"tRNS", keys[0]), *palette))
        before.append((*palette, chunk(b"tRNS", keys[0])[:-1] + b"?"))
        before.append((*palette, *[chunk(b"tRNS", keys[0])] * 2))
        if colour_type == 3:
            before += [(), (image_files.palette(depth, 2**depth // 2 + 1),)]
        for position, (chunks, interlaced) in enumerate(itertools.product(before, (False, True))):
            name = f"png {depth} bits type {colour_type} {position}"
            yield (
                name,
                image_files.png(values, depth, colour_type, before=chunks, interlaced=interlaced),
            )


def jpeg_files():
    for mode, quality, subsampling, progressive in itertools.product(
        ("L", "RGB"), (10, 75, 100), (0, 1, 2), (False, True)
    ):
        options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
        yield (
            f"jpeg {mode} {quality} {subsampling} {progressive}",
            saved(PICTURE.convert(mode), "JPEG", **options),
        )
    yield "jpeg of RGB", saved(PICTURE, "JPEG", keep_rgb=True)
    yield "mpo", saved(PICTURE, "MPO", save_all=True, append_images=[PICTURE])


FILES = dict([*png_files(), *jpeg_files()])


def test_files_of_the_exact_size_have_the_pixels_of_pillow(decode, exact):
    """Every bit depth, colour type and transparency; or both refuse the file."""
    different, refused = [], 0
    for name, content in FILES.items():
        answer, expected = decode(content), pillow(content, exact)
        refused += expected is None
        if not np.array_equal(answer, expected):
            different.append(name)
    assert different == []
    assert 0 < refused < len(FILES) / 2


def test_a_request_of_many_kinds_of_files_has_the_pixels_of_each(exact):
    """More of each than are decoded at once, in a mixed order, with files of other sizes."""
    other = [saved(PICTURE.resize((WIDTH * 2, HEIGHT * 3)), kind) for kind in ("PNG", "JPEG")]
    files = [content for content in FILES.values() if pillow(content, exact) is not None] + other
    order = np.random.default_rng(7).permutation(len(files))
    decode_all = batch_graph_of(exact)
    answer = decode_all([files[number] for number in order]).numpy()
    for number, pixels in zip(order, answer, strict=True):
        if files[number] in other:
            (expected,) = decode_all([files[number]]).numpy()
        else:
            expected = pillow(files[number], exact)
        np.testing.assert_array_equal(pixels, expected)


def test_of_several_bad_files_the_first_is_named(exact):
    good, cut = saved(PICTURE, "PNG"), saved(PICTURE, "PNG")[:-1]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[image\] \[2\].*damaged"):
        batch_graph_of(exact)([good, good, cut, b"text", good])


@pytest.mark.parametrize(
    ("kind", "words"), [("PNG", "Invalid PNG data"), ("JPEG", "jpeg::Uncompress failed")]
)
def test_damage_within_the_pixels_refuses_a_request_and_is_found_one_by_one(exact, kind, words):
    """The words are those of docs/images.md."""
    good = saved(PICTURE, kind)
    place = good.index(b"IDAT") + 20 if kind == "PNG" else len(good) - 20
    changed = bytes([good[place] ^ 0x55]) + good[place + 1 :] if kind == "PNG" else b""
    damaged = good[:place] + changed
    decode_all, files = batch_graph_of(exact), [good, damaged, good]
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        decode_all(files)
    found = [graph_of(exact)(content) is None for content in files]
    assert found == [False, True, False]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_that_ends_anywhere_is_refused(decode, exact, kind):
    content = saved(PICTURE, kind)
    for length in range(0, len(content), 3):
        assert decode(content[:length]) is None, length
        assert pillow(content[:length], exact) is None, length


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_that_is_to_be_turned_is_refused(decode, exact, kind, endian):
    upright = saved(PICTURE, kind, exif=turned(1, endian))
    np.testing.assert_array_equal(decode(upright), pillow(upright, exact))
    for orientation in (0, *range(2, 10)):
        assert decode(saved(PICTURE, kind, exif=turned(orientation, endian))) is None


def turned_elsewhere():
    """Files whose orientation is not in their EXIF data, with whether the graph takes them."""
    xmp = image_files.xmp
    profile = "\nexif\n  26\n" + "49492a00080000000100120103000100000006000000"
    yield saved(PICTURE, "JPEG", xmp=xmp(1).encode()), True
    yield saved(PICTURE, "JPEG", xmp=xmp(6).encode()), False
    for zipped, international in itertools.product((False, True), (False, True)):
        options = {"zipped": zipped, "international": international}
        key = "XML:com.adobe.xmp"
        # What is compressed cannot be read by a graph.
        yield saved(PICTURE, "PNG", **image_files.text(key, xmp(1), **options)), not zipped
        yield saved(PICTURE, "PNG", **image_files.text(key, xmp(6), **options)), False
        key = "Raw profile type exif"
        yield saved(PICTURE, "PNG", **image_files.text(key, profile, **options)), False
        yield saved(PICTURE, "PNG", **image_files.text("Title", xmp(6), **options)), True
    late = (chunk(b"eXIf", turned(6).tobytes().removeprefix(b"Exif\0\0")),)
    yield image_files.png(COLOURS, 8, 2, after=late), False


def test_an_orientation_is_found_wherever_pillow_looks_for_it(decode, exact):
    for content, taken in turned_elsewhere():
        answer = decode(content)
        assert (answer is not None) == taken
        if taken:
            np.testing.assert_array_equal(answer, pillow(content, exact))


def behind_another_header(marker, hidden):
    """A JPEG file whose parts begin within what looks like a segment; behind that is a header.

    libjpeg and Pillow read on inside of what they do not take for a segment.

    Args:
      marker: Second byte of the marker in front of all.
      hidden: The file.
    """
    start = hidden.index(b"\xff\xc0")
    header = hidden[start : start + 2 + int.from_bytes(hidden[start + 2 : start + 4])]
    parts = hidden[2 : start + len(header)]
    shown = header[:5] + struct.pack(">HH", HEIGHT, WIDTH) + header[9:]
    inside = parts + b"\xff\xe5" + struct.pack(">H", 2 + len(shown))
    front = bytes([0xFF, 0xD8, 0xFF, marker]) + struct.pack(">H", 2 + len(inside))
    return front + inside + shown + hidden[2 + len(parts) :]


NARROW = saved(PICTURE.resize((400, 2)), "JPEG")
HIDDEN = {"turned": saved(PICTURE, "JPEG", exif=turned(6)), "narrow": NARROW}


@pytest.mark.parametrize("hidden", HIDDEN.values(), ids=HIDDEN)
def test_no_marker_hides_the_header_of_a_jpeg_file(hidden):
    """By marker 0, a huge image once passed for a small one, and a turned one for an upright one.

    The graph answers as `components.images` does, or refuses.
    """
    preparation = Preparation(HEIGHT + 1, WIDTH + 1, 1, Fit.STRETCH, BACKGROUND)
    decode = graph_of(preparation)
    assert decode(hidden) is None
    for marker in range(256):
        content = behind_another_header(marker, hidden)
        answer, expected = decode(content), pillow(content, preparation)
        if answer is not None:
            assert expected is not None, marker
            assert np.abs(np.subtract(answer, expected, dtype=np.int16)).max() <= BOUND, marker


@pytest.mark.parametrize("marker", [0x00, 0x01, 0x02, 0xC8, 0xD8, 0xD9, 0xDE, 0xF0])
def test_a_jpeg_file_with_a_marker_that_is_no_segment_is_refused_by_its_number(exact, marker):
    good = saved(PICTURE, "JPEG")
    # Its header claims 400,000,000 pixels.
    huge = NARROW.replace(struct.pack(">HH", 2, 400), struct.pack(">HH", 20_000, 20_000))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[image\] \[1\].*damaged"):
        batch_graph_of(exact)([good, behind_another_header(marker, huge)])


@pytest.mark.parametrize("marker", [*range(0xD0, 0xD8), 0xE7, 0xFE])
def test_restarts_and_further_segments_of_a_jpeg_file_are_passed_over(decode, exact, marker):
    good = saved(PICTURE, "JPEG")
    more = b"" if 0xD0 <= marker < 0xD8 else b"\0\4ab"
    content = good[:2] + bytes([0xFF, 0xFF, 0xFF, marker]) + more + good[2:]
    np.testing.assert_array_equal(decode(content), pillow(content, exact))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a",
        b"<svg/>",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        saved(PICTURE, "GIF"),
        saved(PICTURE, "BMP"),
        saved(PICTURE, "WEBP"),
        saved(PICTURE, "TIFF"),
        saved(PICTURE.convert("CMYK"), "JPEG"),
        saved(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(180)]),
        # Parts of an animation whose beginning is missing.
        image_files.png(COLOURS, 8, 2, after=(chunk(b"fdAT", b"abc"),)),
        image_files.png(COLOURS, 8, 2, before=(chunk(b"fcTL", bytes(26)),)),
        saved(PICTURE.resize((400, 2)), "PNG"),
        # A few bytes that claim to be a huge image; then an image of very many parts.
        image_files.png(np.zeros((1, 1, 1), int), 8, 0).replace(
            b"\0\0\0\1\0\0\0\1", b"\0\0\x40\0\0\0\x40\0"
        ),
        image_files.png(COLOURS, 8, 2, before=(chunk(b"tEXt", b"a\0b"),) * 2**16),
        b"\xff\xd8" + b"\xff" * 2**20,
    ],
    ids=lambda content: f"{content[:8]!r} {len(content)}",
)
def test_what_the_graph_cannot_read_is_refused(decode, content):
    assert decode(content) is None


@pytest.mark.slow
@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("channels", [1, 3])
def test_files_of_other_sizes_have_nearly_the_pixels_of_pillow(fit, channels):
    preparation = Preparation(28, 20, channels, fit, BACKGROUND)
    decode, random = graph_of(preparation), np.random.default_rng(channels)
    sizes = [(40, 56), (20, 29), (21, 28), (600, 400), (5, 9), (300, 40), (40, 300), (1, 1)]
    different = []
    for width, height in sizes:
        noise = random.integers(0, 256, (height, width, 3), np.uint8)
        smooth = np.asarray(Image.fromarray(noise[:5, :5]).resize((width, height)))
        for values in (noise, smooth, (noise > 127) * np.uint8(255)):
            content = saved(Image.fromarray(values), "PNG")
            answer, expected = decode(content), pillow(content, preparation)
            assert (answer is None) == (expected is None), (width, height)
            if expected is not None:
                different.append(np.abs(np.subtract(answer, expected, dtype=np.int16)))
    assert max(each.max() for each in different) <= BOUND
    assert np.mean([np.mean(each > 0) for each in different]) < 0.02


@pytest.mark.slow
def test_large_images_with_transparency_have_nearly_the_pixels_of_pillow():
    """They are decoded one by one, and composited and made narrower in bands."""
    preparation = Preparation(28, 20, 1, Fit.PAD, BACKGROUND)
    small = np.random.default_rng(11).integers(0, 256, (41, 42, 4), np.uint8)
    content = saved(Image.fromarray(small).resize((2100, 2050)), "PNG", compress_level=1)
    answer, expected = graph_of(preparation)(content), pillow(content, preparation)
    assert np.abs(np.subtract(answer, expected, dtype=np.int16)).max() <= BOUND


def test_small_files_of_large_images_take_little_memory():
    """Two of 67 MB each once took a gigabyte."""
    decode_all = batch_graph_of(Preparation(28, 20, 1, Fit.PAD, BACKGROUND))
    content = saved(Image.new("RGBA", (4096, 4096), (9, 99, 199, 100)), "PNG", compress_level=1)
    decode_all([saved(PICTURE, "PNG")])
    # Peak resident memory starts again from here (proc(5)).
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    decode_all([content, content])
    assert resident("VmHWM") - before < 300_000_000


def resident(field):
    status = pathlib.Path("/proc/self/status").read_text()
    (kilobytes,) = re.findall(rf"^{field}:\s+([0-9]+) kB$", status, re.MULTILINE)
    return 1024 * int(kilobytes)
