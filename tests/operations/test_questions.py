"""How files become what the model takes: same size, like the training images, and with notes."""

import gzip
import os
import random

import numpy as np
import pytest
from PIL import Image

from components.images import Fit, Preparation
from operations.questions import Form, Ignored, Invert, Question, Refused, read_all

GRAY, COLOUR = (28, 28, 1), (32, 32, 3)


def form(shape=GRAY, border="dark", invert=Invert.AUTO, fit=Fit.PAD, background=0):
    return Form(Preparation(*shape, fit, background), border, invert)


@pytest.fixture
def question(tmp_path):
    """Saves an image and returns the question that it becomes."""

    def asked(image, shape=GRAY, name="photo.png", border="dark", invert=Invert.AUTO, **options):
        path = tmp_path / name
        image.save(path, **options)
        (found,) = read_all([path], form(shape, border, invert))
        assert isinstance(found, Question), found
        assert found.name == str(path)
        assert found.pixels.shape == shape
        assert found.pixels.dtype == np.uint8
        return found

    return asked


@pytest.fixture
def reason(tmp_path):
    """Returns why a path is refused."""

    def refused(path):
        (found,) = read_all([path], form())
        assert isinstance(found, Refused), found
        assert found.file == str(path)
        assert "; expected" in found.reason or ", expected" in found.reason
        return found.reason

    return refused


def garment(size=(28, 28), mode="L"):
    """A bright rectangle on black."""
    image = Image.new("L", size, 0)
    width, height = size
    image.paste(200, (width // 4, height // 4, 3 * width // 4, 3 * height // 4))
    return image.convert(mode, dither=Image.Dither.NONE)


def test_an_image_like_those_of_the_training_is_taken_as_it_is(question):
    found = question(garment())
    np.testing.assert_array_equal(found.pixels[..., 0], np.asarray(garment()))
    assert found.notes == ()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("shape", [GRAY, COLOUR])
def test_every_kind_of_image_is_taken(question, mode, shape):
    if mode == "I;16":
        image = Image.fromarray(np.asarray(garment()).astype(np.uint16) * 257)
    else:
        image = garment(mode=mode)
    found = question(image, shape)
    assert found.pixels[14, 14].min() > 150
    assert found.pixels[0, 0].max() == 0
    assert found.notes == ()


def test_sixteen_bits_keep_their_shades(question):
    shades = np.tile(np.arange(28, dtype=np.uint16) * 100, (28, 1))
    found = question(Image.fromarray(shades))
    np.testing.assert_array_equal(found.pixels[..., 0], shades >> 8)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.bmp", "photo.gif", "photo.webp", "photo"])
def test_the_format_is_told_by_the_content(question, name):
    kind = {} if "." in name else {"format": "PNG"}
    found = question(garment(), name=name, **kind)
    assert found.pixels[14, 14, 0] > 150


def test_a_large_image_is_scaled_down(question):
    image = garment((280, 280))
    found = question(image)
    expected = image.resize((28, 28), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found.pixels[..., 0], np.asarray(expected))
    assert found.notes == ()


def test_a_small_image_is_scaled_up(question):
    assert question(garment((7, 7))).pixels[14, 14, 0] == 200


@pytest.mark.parametrize(
    ("size", "black"),
    [((56, 28), np.s_[:7, :]), ((28, 56), np.s_[:, :7]), ((100, 50), np.s_[21:, :])],
)
def test_an_image_that_is_not_square_is_padded_with_black(question, size, black):
    image = Image.new("L", size, 100)
    found = question(image)
    assert found.notes == (f"padded from {size[0]}x{size[1]}",)
    assert found.pixels[black].max() == 0
    assert found.pixels[14, 14, 0] == 100


@pytest.mark.parametrize("size", [(3000, 20), (20, 3000), (57, 1)])
def test_an_image_of_which_nothing_would_be_left_is_refused(reason, tmp_path, size):
    Image.new("L", size).save(tmp_path / "photo.png")
    found = reason(tmp_path / "photo.png")
    assert f"is {size[0]}x{size[1]}; expected" in found
    assert "Crop it" in found


DARK = "inverted: its border is bright, those of the training images are dark"
BRIGHT = "inverted: its border is dark, those of the training images are bright"


def inverse(image):
    return Image.eval(image, lambda value: 255 - value)


@pytest.mark.parametrize(
    ("border", "image", "shape", "notes"),
    [
        ("dark", inverse(garment((56, 56))), GRAY, (DARK,)),
        ("dark", garment((56, 56)), GRAY, ()),
        ("bright", garment((56, 56)), GRAY, (BRIGHT,)),
        ("bright", inverse(garment((56, 56))), GRAY, ()),
        ("mixed", inverse(garment((56, 56))), GRAY, ()),
        ("mixed", garment((56, 56)), GRAY, ()),
        # Of the exact size: like the training images.
        ("dark", inverse(garment((28, 28))), GRAY, ()),
        ("bright", garment((28, 28)), GRAY, ()),
        # In colour there is no telling.
        ("dark", inverse(garment((56, 56))), COLOUR, ()),
        ("bright", garment((56, 56)), COLOUR, ()),
    ],
)
def test_a_border_unlike_those_of_the_training_images_inverts(
    question, border, image, shape, notes
):
    found = question(image, shape, border=border)
    assert found.notes == notes
    middle = np.asarray(image)[28 * image.height // 56, 28 * image.width // 56]
    assert found.pixels[14, 14, 0] == (255 - middle if notes else middle)


@pytest.mark.parametrize("size", [(28, 28), (56, 56)])
@pytest.mark.parametrize("shape", [GRAY, COLOUR])
def test_inverting_can_be_asked_for_and_forbidden(question, size, shape):
    image = inverse(garment(size))
    assert question(image, shape, invert=Invert.NEVER).notes == ()
    found = question(image, shape, invert=Invert.ALWAYS)
    assert found.notes == ("inverted: --invert always",)
    assert found.pixels[14, 14, 0] == 200


def test_a_photograph_on_white_is_inverted_before_it_is_padded(question):
    """Its padding would otherwise be white."""
    found = question(inverse(garment((56, 28))))
    assert found.notes == (DARK, "padded from 56x28")
    assert found.pixels[:7].max() == 0
    assert found.pixels[8, 0, 0] == 0
    assert found.pixels[14, 14, 0] == 200


@pytest.mark.parametrize(
    ("fit", "note"), [(Fit.CROP, "cropped from 56x28"), (Fit.STRETCH, "stretched from 56x28")]
)
def test_an_image_is_fitted_as_the_training_images_were(tmp_path, fit, note):
    garment((56, 28)).save(tmp_path / "photo.png")
    (found,) = read_all([tmp_path / "photo.png"], form(fit=fit))
    assert found.notes == (note,)


def test_what_is_transparent_becomes_black(question):
    image = garment(mode="RGBA")
    pixels = np.array(image)
    pixels[..., 3] = np.where(pixels[..., 0] > 0, 255, 0)
    pixels[pixels[..., 3] == 0, :3] = 255
    found = question(Image.fromarray(pixels))
    assert found.notes == ()
    np.testing.assert_array_equal(found.pixels[..., 0], np.asarray(garment()))


def test_a_transparent_colour_of_a_palette_becomes_black(question):
    image = Image.new("P", (28, 28), 0)
    image.putpalette([255, 255, 255, 200, 200, 200])
    image.paste(1, (7, 7, 21, 21))
    found = question(image, transparency=0)
    assert found.pixels[0, 0, 0] == 0
    assert found.pixels[14, 14, 0] == 200


def test_a_photograph_is_turned_as_the_camera_says(question):
    image = Image.new("L", (28, 28), 0)
    image.paste(200, (0, 0, 14, 28))
    turned = Image.Exif()
    turned[0x0112] = 3
    found = question(image, name="photo.jpg", exif=turned, quality=95)
    assert found.pixels[14, 24, 0] > 150
    assert found.pixels[14, 3, 0] < 50


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\x00\x00\x08\x03",
        b"\x1f\x8b",
    ],
)
def test_what_is_no_image_is_refused(tmp_path, reason, content):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    assert reason(path)


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_a_truncated_image_is_refused(tmp_path, reason, name):
    path = tmp_path / name
    noise = np.random.default_rng(1).integers(0, 256, (60, 60), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "damaged" in reason(path)


def test_what_is_no_regular_file_is_refused(tmp_path, reason):
    """Reading a pipe or a device might never end."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    assert "pipe or a device" in reason(tmp_path / "pipe.png")
    assert "pipe or a device" in reason(tmp_path / "zero.png")
    assert "no such file" in reason(tmp_path / "absent.png")


@pytest.mark.parametrize(
    "name", ["photo.png", "photo.jpg", "photo.gif", "photo.webp", "photo.tiff"]
)
def test_a_damaged_image_is_taken_or_refused_in_words_alone(tmp_path, capfd, name):
    """libtiff would print to stderr, which is not Python's."""
    path, numbers = tmp_path / name, random.Random(1)
    garment((40, 30), "RGB").save(path, **({"compression": "tiff_lzw"} if "tiff" in name else {}))
    sound = path.read_bytes()
    refused = 0
    for _ in range(150):
        content = bytearray(sound)
        for _ in range(numbers.randint(1, 4)):
            content[numbers.randrange(len(content))] = numbers.randrange(256)
        path.write_bytes(content)
        (found,) = read_all([path], form())
        if isinstance(found, Refused):
            refused += 1
            assert "expected" in found.reason
        else:
            assert found.pixels.shape == GRAY
    assert refused
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name", ["t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz", "mine.idx"]
)
def test_every_image_of_an_idx_file_is_a_question(tmp_path, as_idx, name):
    values = np.arange(3 * 784, dtype=np.int64).astype(np.uint8).reshape(3, 28, 28)
    path, content = tmp_path / name, as_idx(values)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found = list(read_all([path], form()))
    assert [each.name for each in found] == [f"{path}[{position}]" for position in range(3)]
    np.testing.assert_array_equal(np.stack([each.pixels[..., 0] for each in found]), values)
    assert found[0].notes == ()


def test_an_idx_file_that_is_damaged_is_refused(tmp_path, reason, as_idx):
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(as_idx(np.zeros((3, 28, 28)))[:-1])
    assert "truncated" in reason(path)


HEIC = b"\x00\x00\x00\x18ftypheic" + bytes(40)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("IMG_1.HEIC", HEIC, "HEIC or AVIF image, or a video; expected a PNG"),
        ("IMG_1.jpg", HEIC, "HEIC or AVIF image, or a video; expected a PNG"),
        ("icon.ico", b"\x00\x00\x01\x00\x01\x00" + bytes(40), "no image of a known format"),
        ("shoe.jpg", b"\x1f\x8b" + bytes(40), "no image of a known format"),
        ("shoe.jpg", b"\x00\x00", "no image of a known format"),
        ("mine.idx", HEIC, "magic number 0x00000018"),
        ("mine", b"\x00\x00\x0d\x03" + bytes(12), "32-bit floating-point numbers"),
    ],
)
def test_a_file_that_is_no_idx_file_is_refused_as_an_image(tmp_path, reason, name, content, told):
    (tmp_path / name).write_bytes(content)
    assert told in reason(tmp_path / name)


def test_a_folder_is_all_its_images_in_order(tmp_path):
    for name in ("b.png", "a/z.JPG", "a/y.webp", "c.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        garment().save(tmp_path / name)
    for junk in (".DS_Store", "._b.png", "Thumbs.db", "notes.txt"):
        (tmp_path / junk).write_bytes(b"junk")
    (tmp_path / "photo").write_bytes(b"without a suffix")
    *found, ignored = read_all([tmp_path], form())
    names = [os.path.relpath(each.name, tmp_path) for each in found]
    assert names == ["b.png", "c.tif", "a/y.webp", "a/z.JPG"]
    kinds = "1 .txt, 3 hidden or temporary, 1 without a suffix"
    assert ignored == Ignored(str(tmp_path), kinds)


def test_links_to_folders_are_followed_inside_the_folder(tmp_path):
    given, outside = tmp_path / "given", tmp_path / "outside"
    for folder in (given / "a", given / "b", outside):
        folder.mkdir(parents=True)
        garment().save(folder / "1.png")
    (given / "a" / "back").symlink_to(given)
    (given / "a" / "self").symlink_to(given / "a")
    (given / "c").symlink_to(given / "b")
    (given / "out").symlink_to(outside)
    refused, *found, ignored = read_all([given], form())
    names = [os.path.relpath(each.name, given) for each in found]
    assert names == ["a/1.png", "b/1.png", "c/1.png"]
    assert refused.file == str(given / "out")
    assert "leads out of the folder; expected" in refused.reason
    assert ignored.kinds == "2 links to folders that lead back or lie below others"


def test_a_link_to_a_file_is_followed_inside_the_folder(tmp_path, as_idx):
    given, outside = tmp_path / "given", tmp_path / "given-not"
    for folder in (given / "a", outside):
        folder.mkdir(parents=True)
        garment().save(folder / "1.png")
    (outside / "mine.idx").write_bytes(as_idx(np.zeros((2, 28, 28))))
    (given / "inside.png").symlink_to("a/1.png")
    (given / "back.png").symlink_to(outside / "back.png")
    (outside / "back.png").symlink_to(given / "a" / "1.png")
    for name in ("1.png", "mine.idx", "gone.png", "notes.txt"):
        (given / "a" / f"out-{name}").symlink_to(outside / name)
    *found, ignored = read_all([given], form())
    taken = [os.path.relpath(each.name, given) for each in found if isinstance(each, Question)]
    assert taken == ["back.png", "inside.png", "a/1.png"]
    refused = [each for each in found if isinstance(each, Refused)]
    names = ["out-1.png", "out-gone.png", "out-mine.idx"]
    assert [each.file for each in refused] == [str(given / "a" / name) for name in names]
    assert all("leads out of the folder; expected" in each.reason for each in refused)
    assert ignored.kinds == "1 .txt"
    # Whoever names a link means what it leads to.
    (alone,) = read_all([given / "a" / "out-1.png"], form())
    assert isinstance(alone, Question)


def test_a_folder_of_idx_files_is_its_images(tmp_path, as_idx):
    content = as_idx(np.zeros((2, 28, 28)))
    (tmp_path / "raw").mkdir()
    for name in ("t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz", "raw/mine.idx"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "emnist-test-images.idx3-ubyte.gz").write_bytes(gzip.compress(content))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(as_idx(np.zeros(2)))
    *found, ignored = read_all([tmp_path], form())
    assert len(found) == 6
    assert ignored.kinds == "1 .gz, 1 without a suffix"


@pytest.mark.parametrize("name", ["\x1b[31m.png", "a\nb.png", os.fsdecode(b"\xff.png")])
def test_a_file_with_any_name_is_answered_alone_and_in_its_folder(tmp_path, name):
    garment().save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / name)
    for given in (tmp_path, tmp_path / name):
        (found,) = read_all([given], form())
        assert isinstance(found, Question)
        assert found.name == str(tmp_path / name)


def test_a_bad_file_does_not_stop_the_others(tmp_path):
    for name in ("a.png", "c.png"):
        garment().save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"text")
    given = [tmp_path / "absent.png", tmp_path, tmp_path / "a.png"]
    found = list(read_all(given, form()))
    assert [isinstance(each, Question) for each in found] == [False, True, False, True, True]


def test_a_folder_without_images_is_refused(tmp_path, reason):
    (tmp_path / "notes.txt").write_text("text")
    assert "has no image files" in reason(tmp_path)
