"""Draws the synthetic sample: ten kinds of clothing, in the four IDX files of Fashion-MNIST.

The sample stands in where the real images cannot be had, so that a first run needs no network.
It is drawn and not stored: equal arguments give equal bytes. Garments are moved, turned, scaled,
lit and patterned at random, which leaves a model that weighs single pixels well behind one that
sees a collar, a lace or a handle wherever it lies.

Garments are described in a frame of their own: x to the right, y down, both from -1 to 1.
"""

from __future__ import annotations

import errno
import gzip
import io
import pathlib
import struct
import tempfile
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

IMAGE_SIZE = 28
# Edges are drawn on a finer grid and averaged down, which gives them the grey rims of a photograph.
OVERSAMPLING = 4
FILE_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

Point = tuple[float, float]
Outline = Sequence[Point]


def write_sample(
    directory: pathlib.Path,
    *,
    train_per_class: int = 600,
    test_per_class: int = 100,
    seed: int = 20170825,
) -> None:
    """Writes the sample as four gzipped IDX files; leaves a directory alone that has them already.

    Args:
      directory: where the files go. It must be absent or empty, or hold all four of them.
      train_per_class: training images of each of the ten classes, at least 1.
      test_per_class: test images of each of the ten classes, at least 1.
      seed: equal seeds give equal bytes.

    Raises:
      ValueError: a class would have no image.
      FileExistsError: the directory holds files, but not the whole data set.
    """
    if train_per_class < 1 or test_per_class < 1:
        raise ValueError(
            "Every class needs at least one training and one test image. Received: "
            f"train_per_class={train_per_class}, test_per_class={test_per_class}"
        )
    if _is_complete(directory):
        return
    _require_free(directory)
    files = _encode_splits(draw_sample(train_per_class, test_per_class, seed))
    _write_at_once(directory, files)


def draw_sample(
    train_per_class: int, test_per_class: int, seed: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Draws both splits; no image occurs twice, neither within a split nor in both.

    Returns:
      `((train_images, train_labels), (test_images, test_labels))`: images are uint8 of shape
      (count, 28, 28), black background 0; labels are uint8 of shape (count,), 0 to 9, shuffled.
    """
    random = np.random.default_rng(seed)
    train_labels = _shuffled_labels(train_per_class, random)
    test_labels = _shuffled_labels(test_per_class, random)
    # One pool for both splits: images that differ within it differ between the splits too.
    images = _draw_distinct(np.concatenate([train_labels, test_labels]), random)
    train_images, test_images = np.split(images, [len(train_labels)])
    return (train_images, train_labels), (test_images, test_labels)


# --- Images -------------------------------------------------------------------------------------


def _shuffled_labels(per_class: int, random: np.random.Generator) -> np.ndarray:
    return random.permutation(np.repeat(np.arange(len(GARMENTS), dtype=np.uint8), per_class))


def _draw_distinct(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    images = _draw_images(labels, random)
    while len(repeated := _repeated(images)):
        images[repeated] = _draw_images(labels[repeated], random)
    return images


def _repeated(images: np.ndarray) -> np.ndarray:
    """Positions of the images that occur earlier already."""
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    return np.setdiff1d(np.arange(len(images)), first)


def _draw_images(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    drawings = np.stack([_draw_garment(label, random) for label in labels])
    cloth = _pattern(len(labels), random) * _light(len(labels), random)
    # Cloth multiplies the drawing, so that the background stays black.
    images: np.ndarray = np.clip(np.rint(_soften(drawings * cloth)), 0, 255).astype(np.uint8)
    return images


def _soften(images: np.ndarray) -> np.ndarray:
    """Blurs (count, 28, 28) by about half a pixel, as a lens does.

    Augmentation resamples the training images, which blurs them. Were the images sharp, a network
    trained on the blurred ones would take the sharp edge of a sleeve for a row of buttons.
    """
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    rows = 0.64 * framed[:, 1:-1] + 0.18 * (framed[:, :-2] + framed[:, 2:])
    soft: np.ndarray = 0.64 * rows[:, :, 1:-1] + 0.18 * (rows[:, :, :-2] + rows[:, :, 2:])
    return soft


def _draw_garment(label: int, random: np.random.Generator) -> np.ndarray:
    canvas = Canvas(random)
    GARMENTS[label](canvas, random)
    return canvas.pixels()


def _pattern(count: int, random: np.random.Generator) -> np.ndarray:
    """Stripes of any direction for about half of the garments; factors of shape (count, 28, 28)."""
    across, down = _pixel_grid()
    column = (count, 1, 1)
    angle = random.uniform(0, np.pi, column)
    period = random.uniform(4.0, 9.0, column)
    depth = random.uniform(0.1, 0.3, column) * (random.random(column) < 0.5)
    position = (across * np.cos(angle) + down * np.sin(angle)) / period
    waves = np.cos(2 * np.pi * (position + random.random(column)))
    stripes: np.ndarray = 1 - depth * (0.5 + 0.5 * waves)
    return stripes


def _light(count: int, random: np.random.Generator) -> np.ndarray:
    """Light that falls off towards a random side; factors of shape (count, 28, 28)."""
    across, down = _pixel_grid()
    slope = random.uniform(-0.012, 0.012, (2, count, 1, 1))
    light: np.ndarray = 1 + across * slope[0] + down * slope[1]
    return light


def _pixel_grid() -> tuple[np.ndarray, np.ndarray]:
    centred = np.arange(IMAGE_SIZE) - (IMAGE_SIZE - 1) / 2
    return centred[np.newaxis, np.newaxis, :], centred[np.newaxis, :, np.newaxis]


# --- Drawing board ------------------------------------------------------------------------------


class Canvas:
    """Takes shapes in the garment's own frame and draws them in a random pose and brightness."""

    def __init__(self, random: np.random.Generator) -> None:
        self._matrix, self._offset = _random_pose(random)
        self._brightness = random.uniform(125, 240)
        self._side = IMAGE_SIZE * OVERSAMPLING
        self._image = Image.new("L", (self._side, self._side))
        self._pen = ImageDraw.Draw(self._image)

    def patch(self, outline: Outline, tone: float = 1.0) -> None:
        """Fills a closed outline; tone 1 is the garment's own brightness, 0 is black."""
        self._pen.polygon(self._place(outline), fill=self._shade(tone))

    def seam(self, points: Outline, tone: float, width: float = 0.07) -> None:
        """Draws a line through the points, as wide as given in the garment's frame."""
        pixels = max(1, round(width * self._side / 2))
        self._pen.line(self._place(points), fill=self._shade(tone), width=pixels, joint="curve")

    def pixels(self) -> np.ndarray:
        """The drawing, averaged down: float64 of shape (28, 28), 0 to 255."""
        small = self._image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
        return np.asarray(small, dtype=np.float64)

    def _place(self, points: Outline) -> list[float]:
        placed = np.asarray(points) @ self._matrix + self._offset
        coordinates: list[float] = ((placed + 1) * (self._side / 2)).ravel().tolist()
        return coordinates

    def _shade(self, tone: float) -> int:
        return min(255, round(self._brightness * tone))


def _random_pose(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scale, mirror, shear and turn as a matrix (2, 2) for points as rows, and an offset (2,)."""
    angle = random.normal(0, np.radians(12))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    shear = np.array([[1.0, 0.0], [random.normal(0, 0.08), 1.0]])
    size = random.uniform(0.68, 0.94)
    scale = size * random.uniform(0.9, 1.06, 2) * [random.choice([-1.0, 1.0]), 1.0]
    # The smaller the garment, the further it may lie from the middle.
    return np.diag(scale) @ shear @ turn, random.uniform(-1, 1, 2) * (1.05 - size)


def _mirrored(right: Outline) -> list[Point]:
    """Completes the right half of an outline, listed from top to bottom, with its left half."""
    return [*right, *((-x, y) for x, y in reversed(right))]


def _rounded(outline: Outline, rounds: int = 2) -> list[Point]:
    """Cuts the corners of a closed outline (Chaikin), so that cloth and leather look soft."""
    points = np.asarray(outline)
    for _ in range(rounds):
        following = np.roll(points, -1, axis=0)
        quarters = (0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following)
        points = np.stack(quarters, axis=1).reshape(-1, 2)
    smooth: list[Point] = points.tolist()
    return smooth


# --- Garments -----------------------------------------------------------------------------------


def _draw_body(canvas: Canvas, shoulder: float, waist: float, hem: float, bottom: float) -> None:
    right = [(0.2, -0.84), (shoulder, -0.7), (shoulder - 0.06, -0.4), (waist, 0.1), (hem, bottom)]
    canvas.patch(_mirrored(right))


def _draw_sleeves(canvas: Canvas, shoulder: float, cuff: Point, width: float) -> None:
    """Two sleeves from the shoulders to the middle of the cuff."""
    across, down = cuff
    for side in (-1, 1):
        outer = (side * (across + width), down - 0.04)
        inner = (side * (across - width), down + 0.04)
        armpit = (side * (shoulder - 0.08), -0.3)
        canvas.patch([(side * 0.3, -0.8), (side * shoulder, -0.72), outer, inner, armpit], 0.95)
        # The shadow under the arm keeps sleeve and body apart.
        canvas.seam([inner, armpit, (side * (shoulder - 0.1), -0.5)], 0.55, 0.05)


def _draw_collar(canvas: Canvas, depth: float) -> None:
    """Two pointed flaps beside an open neck."""
    canvas.patch([(-0.18, -0.9), (0.18, -0.9), (0, depth)], 0.0)
    for side in (-1, 1):
        flap = [(side * 0.14, -0.98), (side * 0.3, -0.84), (side * 0.2, -0.52), (0, depth)]
        canvas.patch(flap, 1.3)
        canvas.seam([flap[1], flap[2], flap[3]], 0.35, 0.05)


def _draw_t_shirt(canvas: Canvas, random: np.random.Generator) -> None:
    shoulder, waist = random.uniform([0.54, 0.42], [0.62, 0.5])
    _draw_body(canvas, shoulder, waist, waist + random.uniform(-0.03, 0.05), 0.82)
    cuff = (random.uniform(0.74, 0.86), random.uniform(-0.3, -0.12))
    _draw_sleeves(canvas, shoulder, cuff, 0.13)
    scoop = random.uniform(-0.66, -0.5)
    canvas.patch(_rounded(_mirrored([(0.24, -0.95), (0.22, scoop - 0.08), (0.1, scoop)])), 0.0)


def _draw_trouser(canvas: Canvas, random: np.random.Generator) -> None:
    waist, knee, ankle = random.uniform([0.3, 0.34, 0.3], [0.38, 0.42, 0.46])
    crotch, gap = random.uniform([-0.4, 0.2], [-0.22, 0.26])
    outside = [(waist, -0.95), (waist + 0.07, crotch), (knee, 0.2), (ankle, 0.95)]
    canvas.patch(_mirrored([*outside, (ankle - gap, 0.95), (0.03, crotch)]))
    canvas.seam([(-waist, -0.87), (waist, -0.87)], 0.55, 0.06)
    canvas.seam([(0, -0.87), (0, crotch)], 0.55, 0.06)


def _draw_pullover(canvas: Canvas, random: np.random.Generator) -> None:
    shoulder, waist, bottom = random.uniform([0.54, 0.44, 0.6], [0.62, 0.52, 0.76])
    _draw_body(canvas, shoulder, waist, waist, bottom)
    cuff = (random.uniform(0.82, 0.96), bottom - random.uniform(0.02, 0.2))
    _draw_sleeves(canvas, shoulder, cuff, 0.13)
    # A rolled neck and ribbed bands; the front is closed, as on no shirt and no coat.
    canvas.patch(_mirrored([(0.2, -1.0), (0.24, -0.76)]), 1.25)
    canvas.seam([(-0.28, -0.76), (0, -0.72), (0.28, -0.76)], 0.4, 0.07)
    canvas.seam([(-waist, bottom - 0.07), (waist, bottom - 0.07)], 0.6, 0.16)
    for side in (-1, 1):
        left, right = side * (cuff[0] - 0.12), side * (cuff[0] + 0.12)
        canvas.seam([(left, cuff[1]), (right, cuff[1] - 0.06)], 0.6, 0.13)


def _draw_dress(canvas: Canvas, random: np.random.Generator) -> None:
    shoulder, waist, hem = random.uniform([0.24, 0.16, 0.34], [0.32, 0.24, 0.58])
    bust = waist + random.uniform(0.04, 0.1)
    neck = random.uniform(-0.72, -0.6)
    right = [(shoulder - 0.1, -0.95), (shoulder, -0.95), (bust, -0.6), (waist, -0.25), (hem, 0.95)]
    canvas.patch(_mirrored([(0.05, neck), *right]))
    canvas.seam([(-waist, -0.25), (waist, -0.25)], 0.55, 0.06)


def _draw_coat(canvas: Canvas, random: np.random.Generator) -> None:
    shoulder, waist, hem = random.uniform([0.46, 0.36, 0.44], [0.54, 0.44, 0.56])
    _draw_body(canvas, shoulder, waist, hem, 0.98)
    cuff = (random.uniform(0.6, 0.74), random.uniform(0.36, 0.52))
    _draw_sleeves(canvas, shoulder, cuff, 0.11)
    lapel = random.uniform(-0.3, -0.1)
    _draw_collar(canvas, lapel)
    # It hangs open below the lapels.
    gap = random.uniform(0.08, 0.14)
    canvas.patch([(0, lapel - 0.1), (0.04, lapel), (gap, 1.0), (-gap, 1.0), (-0.04, lapel)], 0.0)
    for side in (-1, 1):
        canvas.seam([(side * 0.2, 0.42), (side * 0.36, 0.36)], 0.4, 0.07)


def _draw_sandal(canvas: Canvas, random: np.random.Generator) -> None:
    lift, strap, instep = random.uniform([0.05, -0.4, 0.0], [0.4, -0.25, 0.12])
    heel = 0.48 - lift
    ankle = heel + strap
    front, back = [(-0.85, 0.5), (-0.7, 0.24), (0.1, ankle)], [(0.9, ankle - 0.06), (0.94, heel)]
    canvas.patch([*front, *back, (0.3, heel)])
    # Straps are what the openings leave: one between the toes, one on the instep, one at the ankle.
    canvas.patch([(-0.6, 0.5), (-0.5, 0.1), (-0.38, 0.0), (-0.36, 0.5)], 0.0)
    canvas.patch([(-0.16, 0.46), (-0.08, instep), (0.05, instep - 0.1), (0.14, heel)], 0.0)
    canvas.patch([(0.34, heel), (0.36, ankle + 0.16), (0.68, ankle + 0.14), (0.7, heel)], 0.0)
    top = [(-0.98, 0.48), (-0.35, 0.48), (0.3, heel), (0.96, heel - 0.04)]
    under = [(0.92, 0.68), (0.68, 0.68), (0.6, heel + 0.16), (0.28, heel + 0.16), (-0.3, 0.66)]
    canvas.patch([*top, *under, (-0.96, 0.66)], 0.75)


def _draw_shirt(canvas: Canvas, random: np.random.Generator) -> None:
    shoulder, waist = random.uniform([0.54, 0.42], [0.62, 0.5])
    _draw_body(canvas, shoulder, waist, waist + 0.04, 0.84)
    if random.random() < 0.4:
        _draw_sleeves(canvas, shoulder, (random.uniform(0.74, 0.86), -0.15), 0.13)
    else:
        cuff = (random.uniform(0.68, 0.84), random.uniform(0.5, 0.7))
        _draw_sleeves(canvas, shoulder, cuff, 0.11)
    _draw_collar(canvas, random.uniform(-0.6, -0.5))
    canvas.seam([(0, -0.5), (0, 0.84)], 0.25, 0.24)
    for height in np.linspace(-0.28, 0.56, 3):
        canvas.seam([(0, height), (0, height + 0.2)], 1.6, 0.14)


def _draw_sneaker(canvas: Canvas, random: np.random.Generator) -> None:
    tongue, heel, toe = random.uniform([-0.42, -0.3, 0.0], [-0.28, -0.15, 0.15])
    upper = [(-0.95, 0.4), (-0.92, toe + 0.05), (-0.5, toe - 0.08), (0.05, tongue)]
    collar = [(0.25, tongue), (0.4, heel + 0.15), (0.85, heel), (0.92, 0.4)]
    canvas.patch(_rounded([*upper, *collar], 1))
    for step in (0.2, 0.55, 0.9):
        across, down = -0.5 + 0.55 * step, toe - 0.08 + (tongue - toe + 0.08) * step
        canvas.seam([(across, down), (across + 0.18, down + 0.24)], 0.05, 0.07)
    canvas.patch([(-0.98, 0.32), (0.95, 0.32), (0.92, 0.52), (-0.92, 0.52)], 1.4)
    canvas.seam([(-0.96, 0.32), (0.94, 0.32)], 0.4, 0.05)


def _draw_bag(canvas: Canvas, random: np.random.Generator) -> None:
    top, half, foot = random.uniform([-0.4, 0.65, 0.6], [0.0, 0.85, 0.95])
    grip, height = random.uniform([0.25, top - 0.55], [0.5, top - 0.35])
    canvas.seam([(-grip, top), (-grip * 0.8, height), (grip * 0.8, height), (grip, top)], 0.9, 0.1)
    canvas.patch(_mirrored([(half - 0.06, top), (half, foot - 0.08), (half - 0.1, foot)]))
    flap = top + random.uniform(0.2, 0.4)
    canvas.seam([(-half + 0.05, flap), (half - 0.05, flap)], 0.3, 0.07)
    canvas.seam([(0, flap - 0.06), (0, flap + 0.1)], 1.4, 0.16)


def _draw_ankle_boot(canvas: Canvas, random: np.random.Generator) -> None:
    shaft, toe, front = random.uniform([-0.95, 0.1, -0.05], [-0.75, 0.3, 0.1])
    foot = [(-0.95, 0.62), (-0.9, toe + 0.1), (-0.6, toe), (front - 0.1, 0.0)]
    canvas.patch(_rounded([*foot, (front, shaft), (0.8, shaft), (0.78, 0.1), (0.85, 0.62)], 1))
    heel = random.uniform(0.8, 0.95)
    canvas.patch([(-0.95, 0.58), (0.85, 0.58), (0.85, 0.7), (-0.9, 0.7)], 0.6)
    canvas.patch([(0.35, 0.7), (0.85, 0.7), (0.83, heel), (0.4, heel)], 0.6)
    canvas.seam([(0.3, shaft + 0.05), (0.3, -0.2), (0.1, 0.1)], 0.5, 0.07)


# In label order; the names that go with the labels stand in the schema.
GARMENTS: tuple[Callable[[Canvas, np.random.Generator], None], ...] = (
    _draw_t_shirt,
    _draw_trouser,
    _draw_pullover,
    _draw_dress,
    _draw_coat,
    _draw_sandal,
    _draw_shirt,
    _draw_sneaker,
    _draw_bag,
    _draw_ankle_boot,
)


# --- Files --------------------------------------------------------------------------------------


def _is_complete(directory: pathlib.Path) -> bool:
    return all((directory / name).is_file() for name in FILE_NAMES)


def _require_free(directory: pathlib.Path) -> None:
    if directory.exists() and any(directory.iterdir()):
        reason = "it holds files, but not all four of the sample; empty it or name another"
        raise FileExistsError(errno.EEXIST, reason, str(directory))


def _encode_splits(splits: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, bytes]:
    arrays = [array for split in splits for array in split]
    return {name: _gzip(_idx(array)) for name, array in zip(FILE_NAMES, arrays, strict=True)}


def _idx(array: np.ndarray) -> bytes:
    # Two zero bytes, 8 for unsigned bytes, the number of dimensions, then each dimension.
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def _gzip(content: bytes) -> bytes:
    buffer = io.BytesIO()
    # Without a name and a time in the header, equal content gives equal bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as stream:
        stream.write(content)
    return buffer.getvalue()


def _write_at_once(directory: pathlib.Path, files: dict[str, bytes]) -> None:
    """Renames a finished folder into place, so that nobody sees half a data set."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as folder:
        finished = pathlib.Path(folder) / directory.name
        finished.mkdir()
        for name, content in files.items():
            (finished / name).write_bytes(content)
        _move(finished, directory)


def _move(finished: pathlib.Path, directory: pathlib.Path) -> None:
    try:
        finished.rename(directory)
    except OSError:
        # Another run may have been quicker; what it wrote serves as well.
        if not _is_complete(directory):
            raise
