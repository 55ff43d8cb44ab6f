"""What counts as new data: looks at folders to which files are added, and from which some go."""

import shutil

import numpy as np
import pytest
from PIL import Image

from operations.scheduling.look import look
from operations.scheduling.plan import Target

PER_CLASS = 30
CLASSES = 10


@pytest.fixture
def looks(tmp_path, monkeypatch):
    """Looks at a folder, and returns whether it saw new data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen = [0]

    def saw_new(folder, *settings):
        settings = ("split.validation=0.2", *settings)
        target = Target(
            None, "smoke", str(folder), "local", settings, None, tmp_path / "outputs", None
        )
        seen.append(look(target, target.settings().pipeline_name()).arrivals)
        return seen[-1] > seen[-2]

    return saw_new


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8)


@pytest.fixture
def photos(tmp_path):
    """Class folders with an image file for each image."""
    folder = tmp_path / "photos"
    for number, image in enumerate(images(CLASSES * PER_CLASS)):
        add(folder / str(number % CLASSES) / f"{number}.png", image)
    return folder


def add(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def table(tmp_path):
    """Writes arrays of so many images, and returns the file."""
    path = tmp_path / "images.npz"

    def write(count, seed=0):
        labels = np.arange(count) % CLASSES
        np.savez(path, x_train=images(count, seed), y_train=labels)
        return path

    return write


@pytest.fixture
def spans(tmp_path, as_idx):
    """A folder of spans, and what writes one of them with other images than all others."""
    folder = tmp_path / "spans"

    def write(number, seed=None):
        span = folder / f"span-{number}"
        span.mkdir(parents=True, exist_ok=True)
        for half, add_seed in (("train", 0), ("t10k", 1000)):
            pixels = images(CLASSES * PER_CLASS, (seed or number) + add_seed)
            (span / f"{half}-images-idx3-ubyte").write_bytes(as_idx(pixels))
            labels = np.arange(len(pixels)) % CLASSES
            (span / f"{half}-labels-idx1-ubyte").write_bytes(as_idx(labels))

    for number in (1, 2, 3):
        write(number)
    return folder, write


def test_an_image_that_is_added_is_new_and_one_that_is_deleted_is_not(looks, photos):
    assert not looks(photos)
    assert not looks(photos)
    for number in range(3):
        (photos / "0" / f"{number * CLASSES}.png").unlink()
        assert not looks(photos)
    # One came and two were pruned.
    add(photos / "1" / "new.png", images(1, seed=7)[0])
    (photos / "1" / "1.png").unlink()
    (photos / "1" / "11.png").unlink()
    assert looks(photos)
    assert not looks(photos)


def test_an_image_with_other_content_is_new_and_one_with_another_name_is_not(looks, photos):
    looks(photos)
    (photos / "1" / "1.png").rename(photos / "1" / "one.png")
    assert not looks(photos)
    add(photos / "1" / "one.png", images(1, seed=7)[0])
    assert looks(photos)


def test_images_that_come_back_are_not_new(looks, photos, tmp_path):
    """The drive with more than half of them was away for two nights."""
    divided = "split.test_share=0.4"
    looks(photos, divided)
    away = [*photos.glob("*/1[4-9]?.png"), *photos.glob("*/2??.png")]
    assert len(away) > CLASSES * PER_CLASS / 2
    for path in away:
        shutil.move(path, tmp_path / path.name)
    assert not looks(photos, divided)
    assert not looks(photos, divided)
    for path in away:
        shutil.move(tmp_path / path.name, path)
    assert not looks(photos, divided)


def test_what_is_kept_does_not_grow_with_all_that_was_ever_there(looks, photos, tmp_path):
    looks(photos)
    (kept,) = tmp_path.glob("outputs/*/schedule/contents.json")
    size = kept.stat().st_size
    for seed in range(1, 5):
        for number, image in enumerate(images(CLASSES * PER_CLASS, seed)):
            add(photos / str(number % CLASSES) / f"{number}.png", image)
        assert looks(photos)
    assert kept.stat().st_size < 2.2 * size


def test_a_file_of_many_images_is_new_where_it_was_changed_unless_it_lost_some(looks, table):
    looks(table(300))
    assert not looks(table(290))
    assert looks(table(295))
    assert looks(table(295, seed=1))
    assert not looks(table(295, seed=1))


def test_a_span_is_new_where_no_span_had_its_number(looks, spans):
    folder, write = spans
    assert not looks(folder)
    write(4)
    assert looks(folder)
    # The newest goes, and comes back.
    shutil.move(folder / "span-4", folder / ".away")
    assert not looks(folder)
    shutil.move(folder / ".away", folder / "span-4")
    assert not looks(folder)
    write(4, seed=9)
    assert looks(folder)


def test_a_span_to_test_on_has_any_number(looks, spans):
    """It may be kept apart by a high one: those to train on are new all the same."""
    folder, write = spans
    write(100)
    held_out = ("spans.reference=100", "spans.newest=3")
    assert not looks(folder, *held_out)
    write(4)
    assert looks(folder, "spans.reference=100", "spans.newest=4")
    assert not looks(folder, "spans.reference=100", "spans.newest=4")


def test_a_span_with_a_mistyped_number_hides_none(looks, spans):
    folder, write = spans
    looks(folder)
    write(40)
    assert looks(folder)
    (folder / "span-40").rename(folder / "span-4")
    looks(folder)
    write(5)
    assert looks(folder)


def test_older_spans_that_a_setting_takes_in_are_not_new(looks, spans):
    folder, write = spans
    looks(folder)
    assert not looks(folder, "spans.window=3")
    assert not looks(folder, "spans.reference=2")
    assert not looks(folder, "spans.newest=2")
    # One in use that gets other images.
    write(2, seed=9)
    assert looks(folder, "spans.newest=2")


def test_other_spans_in_another_place_are_new(looks, spans, tmp_path):
    folder, _ = spans
    looks(folder)
    shutil.copytree(folder / "span-2", tmp_path / "elsewhere" / "span-1")
    assert looks(tmp_path / "elsewhere")
    shutil.copytree(folder / "span-1", tmp_path / "elsewhere" / "span-2")
    assert looks(tmp_path / "elsewhere")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"parts": {"a": 1}}'])
def test_where_what_was_kept_is_damaged_the_next_look_begins_anew(looks, photos, tmp_path, content):
    looks(photos)
    (kept,) = tmp_path.glob("outputs/*/schedule/contents.json")
    kept.write_text(content)
    assert not looks(photos)
    add(photos / "1" / "new.png", images(1, seed=7)[0])
    assert looks(photos)
