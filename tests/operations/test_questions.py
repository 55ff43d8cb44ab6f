"""How files become what the model takes: same size, dark ground, and notes on what was done."""

import gzip
import random

import numpy as np
import pytest
from PIL import Image

from operations.questions import read_questions
from pipeline.errors import DataError

GRAY, COLOUR = (28, 28, 1), (32, 32, 3)


@pytest.fixture
def question(tmp_path):
    """Saves an image and returns the question that it becomes."""

    def asked(image, shape=GRAY, name="photo.png", **options):
        path = tmp_path / name
        image.save(path, **options)
        (found,) = read_questions(path, shape)
        assert found.name == str(path)
        assert found.pixels.shape == shape
        assert found.pixels.dtype == np.uint8
        return found

    return asked


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
    found = question(garment((280, 280)))
    np.testing.assert_array_equal(found.pixels[..., 0], np.asarray(garment()))
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
def test_an_image_of_which_nothing_would_be_left_is_refused(question, size):
    with pytest.raises(DataError) as caught:
        question(Image.new("L", size))
    assert f"is {size[0]}x{size[1]}; expected" in str(caught.value)
    assert "Crop the image" in str(caught.value)


def test_a_garment_on_white_is_inverted_with_a_note(question):
    image = Image.eval(garment(), lambda value: 255 - value)
    found = question(image)
    assert found.notes == ("inverted, as its border is bright",)
    np.testing.assert_array_equal(found.pixels[..., 0], np.asarray(garment()))


def test_a_photograph_on_white_is_inverted_before_it_is_padded(question):
    """Its padding would otherwise be white."""
    image = Image.eval(garment((56, 28)), lambda value: 255 - value)
    found = question(image)
    assert found.notes == ("inverted, as its border is bright", "padded from 56x28")
    assert found.pixels[:7].max() == 0
    assert found.pixels[0, 0, 0] == 0
    assert found.pixels[14, 14, 0] == 200


def test_a_bright_garment_on_black_is_not_inverted(question):
    image = Image.new("L", (28, 28), 255)
    image.paste(0, (0, 0, 28, 1))
    image.paste(0, (0, 0, 1, 28))
    image.paste(0, (27, 0, 28, 28))
    assert question(image).notes == ()


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


def damaged(path):
    with pytest.raises(DataError, match=f"{path}.*expected a PNG, JPEG or IDX file"):
        list(read_questions(path, GRAY))


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_image_is_refused(tmp_path, content):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    damaged(path)


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_a_truncated_image_is_refused(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(1).integers(0, 256, (60, 60), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    damaged(path)


def test_an_image_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "photo.png"
    garment((200, 200)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    damaged(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["photo.png", "photo.jpg", "photo.gif", "photo.tiff"])
def test_a_damaged_image_is_taken_or_refused_in_words(tmp_path, name):
    path, numbers = tmp_path / name, random.Random(1)
    garment((40, 30), "RGB").save(path)
    sound = path.read_bytes()
    refused = 0
    for _ in range(150):
        content = bytearray(sound)
        for _ in range(numbers.randint(1, 4)):
            content[numbers.randrange(len(content))] = numbers.randrange(256)
        path.write_bytes(content)
        try:
            (found,) = read_questions(path, GRAY)
        except DataError as error:
            refused += 1
            assert str(path) in str(error)
        else:
            assert found.pixels.shape == GRAY
    assert refused


@pytest.mark.parametrize(
    "name", ["t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz", "mine.idx"]
)
def test_every_image_of_an_idx_file_is_a_question(tmp_path, as_idx, name):
    values = np.arange(3 * 784, dtype=np.int64).astype(np.uint8).reshape(3, 28, 28)
    path, content = tmp_path / name, as_idx(values)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found = list(read_questions(path, GRAY))
    assert [each.name for each in found] == [f"{path}[{position}]" for position in range(3)]
    np.testing.assert_array_equal(np.stack([each.pixels[..., 0] for each in found]), values)
    assert found[0].notes == ()


def test_an_idx_file_that_is_damaged_is_refused(tmp_path, as_idx):
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(as_idx(np.zeros((3, 28, 28)))[:-1])
    with pytest.raises(DataError, match="truncated"):
        list(read_questions(path, GRAY))
