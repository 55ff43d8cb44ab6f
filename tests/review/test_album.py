"""Images on a sheet: each once, where its record is, pixel by pixel."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from review.album import Album, image_sheet
from review.answers import read_predictions


@given(
    count=st.integers(1, 12),
    columns=st.integers(1, 5),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 9),
)
def test_every_image_lies_where_the_sheet_says(pixels, count, columns, channels, seed):
    shape = (count, 4, 3, channels)
    images = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    sheet = image_sheet(images, columns, 10_000)
    assert (sheet.height, sheet.width, sheet.count) == (4, 3, count)
    for position in range(count):
        found = pixels(sheet, position).reshape(4, 3, channels)
        np.testing.assert_array_equal(found, images[position])


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_the_mode_follows_the_channels(channels, mode):
    sheet = image_sheet(np.zeros((2, 4, 4, channels), np.uint8), 2, 10_000)
    assert Image.open(io.BytesIO(base64.b64decode(sheet.content))).mode == mode


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((80, 80), (80, 80)), ((160, 160), (80, 80)), ((40, 160), (20, 80)), ((500, 1), (80, 1))],
)
def test_large_images_are_shown_smaller(shape, shown, pixels):
    images = np.zeros((3, *shape, 3), np.uint8)
    images[1] = (10, 200, 90)
    sheet = image_sheet(images, 2, 100_000)
    assert (sheet.height, sheet.width) == shown
    assert (pixels(sheet, 1) == (10, 200, 90)).all()
    assert not pixels(sheet, 2).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_too_large_for_png_is_a_jpeg_that_fits(channels, pixels):
    noise = np.random.default_rng(1).integers(0, 256, (100, 32, 32, channels), np.uint8)
    sheet = image_sheet(noise, 10, 60_000)
    content = base64.b64decode(sheet.content)
    assert sheet.format == Image.open(io.BytesIO(content)).format.lower() == "jpeg"
    assert len(content) <= 60_000
    # Still the same images.
    shown = pixels(sheet, 57).reshape(32, 32, channels).astype(float)
    assert np.corrcoef(shown.ravel(), noise[57].ravel())[0, 1] > 0.5


@pytest.fixture
def album(made_run):
    return Album(read_predictions(made_run.finished))


def test_an_image_of_two_galleries_is_kept_once(album, made_run, pixels):
    first = album.gallery(np.array([7, 3, 9]), 2)
    second = album.gallery(np.array([3, 11]), 5)
    assert (first.count, first.images) == (3, [0, 1])
    assert (second.count, second.images) == (2, [1, 2])
    assert [record.example_id for record in album.records()] == [
        made_run.ids[place] for place in (7, 3, 11)
    ]
    for position, place in enumerate((7, 3, 11)):
        np.testing.assert_array_equal(
            pixels(album.sheet(), position), made_run.images[place, :, :, 0]
        )


def test_an_album_that_shows_nothing_has_no_sheet(album):
    assert album.sheet() is None
    assert album.records() == []


def test_a_record_says_what_both_models_answer(album, made_run):
    album.gallery(np.array([5]), 1)
    (record,) = album.records()
    assert record.label == made_run.classes[made_run.labels[5]]
    best = np.argsort(made_run.candidate[5])[::-1][:3]
    assert [choice.name for choice in record.choices] == [made_run.classes[n] for n in best]
    assert [choice.probability for choice in record.choices] == pytest.approx(
        made_run.candidate[5][best], abs=1e-6
    )
    assert record.baseline.name == made_run.classes[made_run.baseline[5].argmax()]
