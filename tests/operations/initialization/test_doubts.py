"""What `init` warns of: data that can be read, but hardly as its owner means it."""

import numpy as np
import pytest
from PIL import Image

from operations.initialization.command import initialize


@pytest.fixture
def warnings(tmp_path):
    """The warnings of `init` about data, in one text."""

    def of(data):
        suggestion = initialize(str(tmp_path / "made"), str(data), None, None, (), str).suggestion
        return " ".join(suggestion.warnings)

    return of


def noise(*shape, most=255):
    return np.random.default_rng(1).integers(0, most + 1, shape)


def write_arrays(folder, pixels):
    labels = np.arange(len(pixels)) % 2
    np.savez(folder / "all.npz", images=pixels.astype(np.uint8), labels=labels)
    return folder / "all.npz"


def write_files(folder, pixels):
    """PNG files in two class folders."""
    for number, image in enumerate(pixels):
        place = folder / "photos" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
    return folder / "photos"


class TestPixelsOfASmallPartOf0To255:
    @pytest.mark.parametrize("most", [1, 16, 63])
    def test_of_arrays(self, tmp_path, warnings, most):
        told = warnings(write_arrays(tmp_path, noise(40, 8, 8, most=most)))
        assert f"In 40 of 40 images that were looked at, no pixel is above {most}; expected" in told
        assert "16 bits" not in told

    @pytest.mark.parametrize(("bits", "most"), [(8, 0), (12, 15), (14, 63)])
    def test_of_files_of_16_bits(self, tmp_path, warnings, bits, most):
        pixels = noise(40, 20, 20, most=2**bits - 1).astype(np.uint16)
        told = warnings(write_files(tmp_path, pixels))
        assert f"no pixel is above {most}; expected" in told
        assert "Of 16 bits, only the upper 8 count: scale such files to 0 to 65,535." in told

    def test_not_of_files_that_use_all_16(self, tmp_path, warnings):
        pixels = noise(40, 20, 20, most=65_535).astype(np.uint16)
        assert "no pixel is above" not in warnings(write_files(tmp_path, pixels))

    def test_not_of_dark_images_with_some_light(self, tmp_path, warnings):
        pixels = noise(40, 20, 20, most=20)
        pixels[:36, 10, 10] = 200
        assert "no pixel is above" not in warnings(write_arrays(tmp_path, pixels))

    def test_not_of_black_shapes_before_nothing(self, tmp_path, warnings):
        pixels = np.zeros((40, 20, 20, 4), np.uint8)
        pixels[:, 5:15, 5:15, 3] = 255
        assert "no pixel is above" not in warnings(write_files(tmp_path, pixels))


def coloured(count=40, side=16):
    """Smooth images with colours, uint8 [count, side, side, 3]."""
    return np.stack(
        [
            Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC)
            for each in noise(count, 4, 4, 3).astype(np.uint8)
        ]
    )


def write_table(folder, pixels):
    """A pixel table of images in the order in which they are in memory."""
    flat = pixels.reshape(len(pixels), -1)
    rows = [",".join(["label", *(f"pixel{number}" for number in range(flat.shape[1]))])]
    rows += [",".join(map(str, [number % 2, *row])) for number, row in enumerate(flat.tolist())]
    (folder / "table.csv").write_text("\n".join(rows))
    return folder / "table.csv"


class TestPlanes:
    def test_of_a_pixel_table_are_told(self, tmp_path, warnings):
        told = warnings(write_table(tmp_path, coloured().transpose(0, 3, 1, 2)))
        assert "The images look scrambled" in told
        assert "x.reshape(-1, 3, 16, 16).transpose(0, 2, 3, 1)." in told

    def test_of_arrays_that_were_reshaped_are_told(self, tmp_path, warnings):
        planes = coloured().transpose(0, 3, 1, 2).reshape(-1, 16, 16, 3)
        assert "scrambled" in warnings(write_arrays(tmp_path, planes))

    def test_are_not_seen_where_there_are_none(self, tmp_path, warnings):
        assert "scrambled" not in warnings(write_table(tmp_path, coloured()))

    @pytest.mark.parametrize("case", ["noise", "stripes", "gray", "even", "tiny", "sky"])
    def test_are_not_seen_in_images_that_say_little(self, tmp_path, warnings, case):
        rows = np.repeat(noise(40, 16, 1, 1), 16, axis=2)
        pixels = {
            "noise": noise(40, 16, 16, 3),
            "stripes": np.repeat(noise(40, 16, 1, 3), 16, axis=2),
            "gray": np.repeat(coloured()[..., :1], 3, axis=3),
            "even": np.full((40, 16, 16, 3), (10, 200, 90)),
            "tiny": noise(40, 1, 2, 3),
            "sky": np.clip(rows + noise(40, 16, 16, 1, most=20) + [0, 10, 30], 0, 255),
        }
        assert "scrambled" not in warnings(write_arrays(tmp_path, pixels[case]))


@pytest.mark.parametrize(
    ("name", "is_told"), [("emnist-letters-train", True), ("EMNIST", True), ("femnist", False)]
)
def test_tables_of_emnist_are_told_to_hold_images_on_their_side(tmp_path, warnings, name, is_told):
    table = write_table(tmp_path, coloured()[..., 0])
    table.rename(tmp_path / f"{name}.csv")
    told = warnings(tmp_path / f"{name}.csv")
    assert ("with rows and columns exchanged" in told) == is_told


def write_classes(folder, *names):
    """An array of eight images of each class."""
    pixels = noise(8 * len(names), 6, 6).astype(np.uint8)
    np.savez(folder / "named.npz", images=pixels, labels=np.array(names * 8))
    return folder / "named.npz"


class TestNamesOfClasses:
    def test_that_differ_in_case_alone_are_told(self, tmp_path, warnings):
        told = warnings(write_classes(tmp_path, "Cat", "cat", "CAT", "dog", "B", "b"))
        assert "upper and lower case alone: B and b, CAT and Cat and cat. If" in told

    def test_that_are_the_same_number_are_told(self, tmp_path, warnings):
        told = warnings(write_classes(tmp_path, "1", "01", "10", "2.0", "2", "0", "00", "cat"))
        assert "are the same number: 0 and 00, 01 and 1, 2 and 2.0. If" in told

    def test_that_are_different_numbers_are_fine(self, tmp_path, warnings):
        names = ("0", "1", "10", "100", "1.5", "2.10", "2.1")
        assert "same number" not in warnings(write_classes(tmp_path, *names))

    @pytest.mark.parametrize("name", ["nan", "NaN", "None", "null", "N/A", "<NA>"])
    def test_of_missing_labels_are_told(self, tmp_path, warnings, name):
        told = warnings(write_classes(tmp_path, "cat", name))
        assert f"A class is called {name}, as programs write a missing label" in told

    def test_that_only_begin_alike_are_fine(self, tmp_path, warnings):
        told = warnings(write_classes(tmp_path, "nano", "nonesuch", "Cat", "cats"))
        assert "upper and lower" not in told
        assert "missing label" not in told


def test_ordinary_data_has_no_warnings(tmp_path, warnings):
    assert warnings(write_files(tmp_path, noise(60, 20, 20, 3).astype(np.uint8))) == ""
