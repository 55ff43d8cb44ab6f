"""Makes data sets in each form that labelled images come in, for benchmarks and for trying out.

`photographs` are drawn: one of five shapes, at a random place, size, angle and colour, before a
background of colour and noise. They are 100 to 2,000 pixels a side. Most are JPEG files, some PNG
files, and some JPEG files are stored turned, with an orientation that says so. They lie in a folder
per class.

The other forms hold the images of a folder of IDX files: its training images, then its test images.
Where more are asked for, further ones are made of these as in `benchmarks.scale`.

The same form, count, seed and data make the same content.
"""

from __future__ import annotations

import csv
import dataclasses
import enum
import io
import itertools
import json
import math
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import typer
from PIL import ExifTags, Image, ImageDraw

from benchmarks import command, idx_files, scale, trainings
from cli import command_line
from pipeline.errors import OutputError

# The shapes of photographs, each a class.
SHAPES = ("disc", "ring", "square", "triangle", "cross")
# Folders of classes whose names no folder can have, in the file that gives the names.
CLASSES_FILE = "classes.toml"

# Radius of a shape, as a share of the shorter side.
RADII = (0.12, 0.35)

_SIDES = (100, 2_000)
_LARGEST_ASPECT_RATIO = 2.0
_PNG_SHARE, _TURNED_SHARE = 0.1, 0.1
_JPEG_QUALITY = 90
_NOISE = 8.0
# Least difference of a shape's colour from that of the background in each channel.
_CONTRAST = 50
_DISTRACTORS = 6
_TEST_SHARE = 1 / 7
_BATCH = 10_000
_ROWS_OF_FILE, _ROWS_OF_GROUP = 35_000, 1_000

# Images, uint8 [N, height, width] or [N, height, width, channels], and labels, uint8 [N].
Batch = tuple[np.ndarray, np.ndarray]

app = command.application()


class Form(enum.StrEnum):
    """What is made."""

    PHOTOGRAPHS = "photographs"
    CLASS_FOLDERS = "class-folders"
    MANIFEST = "manifest"
    PIXEL_TABLE = "pixel-table"
    PARQUET = "parquet"
    ARRAYS = "arrays"


@dataclasses.dataclass(frozen=True)
class Half:
    """The training images or the test images.

    Attributes:
      split: `train` or `test`.
      name: name of the IDX files, with which ids begin.
      class_names: names of the classes, in label order.
      count: number of images.
      batches: reads them from the start, in batches.
    """

    split: str
    name: str
    class_names: tuple[str, ...]
    count: int
    batches: Callable[[], Iterator[Batch]]


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`.venv/bin/python -m benchmarks.made_images photographs /tmp/shapes --count 300`

`.venv/bin/python -m benchmarks.made_images class-folders /tmp/folders --data ~/fashion-mnist`

`.venv/bin/python -m benchmarks.made_images pixel-table /tmp/table --count 5000 --data sample`""",
)
def main(
    form: Annotated[Form, typer.Argument(help="Form of the data.")],
    folder: Annotated[pathlib.Path, typer.Argument(help="Output folder, new or empty.")],
    count: Annotated[
        int | None,
        typer.Option(
            min=10,
            help="Number of images; by default 300 photographs, or all images of --data. A seventh "
            "of the images of --data are test images.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 1,
    data: command.DataFrom = None,
) -> None:
    """Make a data set of labelled images."""
    _check_empty(folder)
    if form == Form.PHOTOGRAPHS:
        write_photographs(folder, count or 300, seed)
        return
    source, schema = trainings.checked(command.data_argument(data, short=False))
    for half in halves(pathlib.Path(source.location), schema.class_names, count, seed):
        _WRITERS[form](folder, half)


def _check_empty(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be used ({error.strerror}); expected a folder that can be written "
            "to. Name another one."
        ) from error
    if not is_empty:
        raise OutputError(
            f"{folder} is not empty; expected a new or an empty folder. Name another one."
        )


def write_photographs(folder: pathlib.Path, count: int, seed: int) -> None:
    """Writes photographs of all classes in turn, in a folder per class.

    Args:
      folder: where the folders of the classes go.
      count: number of images; the first images of a larger set are those of a smaller one.
      seed: random seed.
    """
    for name in SHAPES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for position in range(count):
        random = np.random.default_rng([seed, position])
        shape = SHAPES[position % len(SHAPES)]
        suffix, content = encoded(photograph(shape, random), random)
        (folder / shape / f"{position:06d}{suffix}").write_bytes(content)


def write_split_photographs(
    folder: pathlib.Path, counts: Mapping[str, int], seed: int
) -> pathlib.Path:
    """Writes photographs to `SPLIT/CLASS`, all of them different ones.

    Args:
      folder: where the folders of the splits go.
      counts: number of images by split.
      seed: random seed.

    Returns:
      The folder.
    """
    for number, (split, count) in enumerate(counts.items()):
        write_photographs(folder / split, count, seed * len(counts) + number)
    return folder


def photograph(
    shape: str, random: np.random.Generator, radii: tuple[float, float] = RADII
) -> Image.Image:
    """Draws a photograph in colour.

    Args:
      shape: one of `SHAPES`.
      random: what everything is drawn from.
      radii: least and most radius of the shape, as a share of the shorter side.
    """
    width, height = _size(random)
    colours = random.integers(30, 226, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    _draw_distractors(draw, random, width, height)
    radius = random.uniform(*radii) * min(width, height)
    centre = random.uniform(radius, width - radius), random.uniform(radius, height - radius)
    behind = image.getpixel((int(centre[0]), int(centre[1])))
    _draw_shape(draw, shape, centre, radius, random.uniform(0, 360), _apart(behind, random))
    noise = _NOISE * random.standard_normal((height, width, 1), np.float32)
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def _size(random: np.random.Generator) -> tuple[int, int]:
    """Width and height; as many images between 100 and 200 pixels as between 1,000 and 2,000."""
    least, most = _SIDES
    longer = math.exp(random.uniform(math.log(least), math.log(most)))
    shorter = max(longer / random.uniform(1, _LARGEST_ASPECT_RATIO), least)
    sides = round(max(longer, shorter)), round(shorter)
    return sides if random.random() < 0.6 else (sides[1], sides[0])


def _draw_distractors(
    draw: ImageDraw.ImageDraw, random: np.random.Generator, width: int, height: int
) -> None:
    """Lines, as all classes have them."""
    for _ in range(random.integers(0, _DISTRACTORS + 1)):
        ends = random.uniform(0, 1, 4) * [width, height, width, height]
        colour = tuple(random.integers(0, 256, 3).tolist())
        draw.line(ends.tolist(), colour, max(min(width, height) // 60, 1))


def _apart(behind: Any, random: np.random.Generator) -> tuple[int, ...]:
    """A colour that stands out."""
    low, high = _CONTRAST, 256 - _CONTRAST
    return tuple((value + int(random.integers(low, high))) % 256 for value in behind)


def _draw_shape(
    draw: ImageDraw.ImageDraw,
    shape: str,
    centre: tuple[float, float],
    radius: float,
    angle: float,
    colour: tuple[int, ...],
) -> None:
    circle = (*centre, radius)
    match shape:
        case "disc":
            draw.circle(centre, radius, colour)
        case "ring":
            draw.circle(centre, radius, outline=colour, width=max(round(radius / 3), 1))
        case "square":
            draw.regular_polygon(circle, 4, angle, colour)
        case "triangle":
            draw.regular_polygon(circle, 3, angle, colour)
        case "cross":
            for turned in (angle, angle + 90):
                step = radius * np.array(
                    [math.cos(math.radians(turned)), math.sin(math.radians(turned))]
                )
                ends = np.concatenate([centre - step, centre + step]).tolist()
                draw.line(ends, colour, max(round(radius / 2), 1))


def encoded(image: Image.Image, random: np.random.Generator) -> tuple[str, bytes]:
    """Encodes a photograph; returns the suffix of its file and the content."""
    file, kind = io.BytesIO(), random.random()
    if kind < _PNG_SHARE:
        image.save(file, "PNG", compress_level=1)
        return ".png", file.getvalue()
    exif = Image.Exif()
    if kind < _PNG_SHARE + _TURNED_SHARE:
        # As a camera stores a picture that was taken upright: a viewer turns it to the right.
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[ExifTags.Base.Orientation] = 6
    image.save(file, "JPEG", quality=_JPEG_QUALITY, exif=exif)
    return ".jpg", file.getvalue()


def halves(
    originals: pathlib.Path, class_names: tuple[str, ...], count: int | None, seed: int
) -> tuple[Half, Half]:
    """The training images and the test images of a data set of some size.

    Args:
      originals: folder of the IDX files, whose images are taken as long as there are enough.
      class_names: names of the classes, in label order.
      count: number of images, of which a seventh are test images; None takes the originals.
      seed: random seed of what becomes of the others.
    """
    tested = idx_files.count(originals, idx_files.TEST)
    trained = idx_files.count(originals, idx_files.TRAIN)
    if count is not None:
        tested = round(count * _TEST_SHARE)
        trained = count - tested

    def half(split: str, name: str, count: int) -> Half:
        return Half(split, name, class_names, count, lambda: _read(originals, name, count, seed))

    return half("train", idx_files.TRAIN, trained), half("test", idx_files.TEST, tested)


def _read(originals: pathlib.Path, half: str, count: int, seed: int) -> Iterator[Batch]:
    images, labels = idx_files.read_pair(originals, half)
    rows = scale.taken(count, len(images))
    for start in range(0, count, _BATCH):
        chosen = rows[start : start + _BATCH]
        part, is_copy = images[chosen], np.arange(start, start + len(chosen)) >= len(images)
        part[is_copy] = scale.perturbed(part[is_copy], np.random.default_rng([seed, start]))
        yield part, labels[chosen]


def _rows(half: Half) -> Iterator[tuple[int, np.ndarray, int]]:
    """Position, image and label of each."""
    position = 0
    for images, labels in half.batches():
        for image, label in zip(images, labels.tolist(), strict=True):
            yield position, image, label
            position += 1


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


def write_class_folders(folder: pathlib.Path, half: Half) -> None:
    """Writes PNG files to `train/CLASS` or `test/CLASS`."""
    names = [name.replace("/", "-") for name in half.class_names]
    renamed = [pair for pair in zip(names, half.class_names, strict=True) if pair[0] != pair[1]]
    if renamed:
        # A string of JSON is one of TOML.
        lines = [f"{json.dumps(name)} = {json.dumps(meant)}\n" for name, meant in renamed]
        (folder / CLASSES_FILE).write_text("".join(lines), encoding="utf-8")
    for name in names:
        (folder / half.split / name).mkdir(parents=True)
    for position, image, label in _rows(half):
        path = folder / half.split / names[label] / f"{position:08d}.png"
        path.write_bytes(_png(image))


def write_manifest(folder: pathlib.Path, half: Half) -> None:
    """Writes PNG files and adds them to `manifest.csv`, with the ids that IDX files give."""
    (folder / "images").mkdir(exist_ok=True)
    with (folder / "manifest.csv").open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if not file.tell():
            writer.writerow(["path", "label", "id", "split"])
        for position, image, label in _rows(half):
            name = f"{half.name}-{position:08d}"
            path = f"images/{name}.png"
            (folder / path).write_bytes(_png(image))
            writer.writerow([path, half.class_names[label], name, half.split])


def write_pixel_table(folder: pathlib.Path, half: Half) -> None:
    """Writes `fashion-mnist_train.csv` or `fashion-mnist_test.csv`, as on Kaggle."""
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    with (folder / f"fashion-mnist_{half.split}.csv").open("wb") as file:
        for images, labels in half.batches():
            columns = [labels, *images.reshape(len(images), -1).T]
            names = ["label", *(f"pixel{number}" for number in range(1, len(columns)))]
            if not file.tell():
                # Arrow would put the names in quotation marks.
                file.write(f"{','.join(names)}\n".encode())
            table = pa.table([np.ascontiguousarray(column) for column in columns], names)
            pyarrow.csv.write_csv(table, file, options)


def write_parquet(folder: pathlib.Path, half: Half) -> None:
    """Writes Parquet files of PNG images, as the datasets library of Hugging Face does."""
    (folder / "data").mkdir(exist_ok=True)
    described = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": list(half.class_names)},
    }
    schema = pa.schema(
        {
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "label": pa.int64(),
        },
        {"huggingface": json.dumps({"info": {"features": described}})},
    )
    rows, files = _rows(half), math.ceil(half.count / _ROWS_OF_FILE)
    for number in range(files):
        path = folder / "data" / f"{half.split}-{number:05d}-of-{files:05d}.parquet"
        with pyarrow.parquet.ParquetWriter(path, schema) as writer:
            for _ in range(_ROWS_OF_FILE // _ROWS_OF_GROUP):
                group = [
                    {"image": {"bytes": _png(image), "path": f"{position:08d}.png"}, "label": label}
                    for position, image, label in itertools.islice(rows, _ROWS_OF_GROUP)
                ]
                if group:
                    writer.write_table(pa.Table.from_pylist(group, schema))


def write_arrays(folder: pathlib.Path, half: Half) -> None:
    """Adds `x_train` and `y_train`, or `x_test` and `y_test`, to `images.npz`."""
    images, labels = zip(*half.batches(), strict=True)
    with zipfile.ZipFile(folder / "images.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        for name, parts in (("x", images), ("y", labels)):
            with archive.open(f"{name}_{half.split}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.concatenate(parts))


_WRITERS = {
    Form.CLASS_FOLDERS: write_class_folders,
    Form.MANIFEST: write_manifest,
    Form.PIXEL_TABLE: write_pixel_table,
    Form.PARQUET: write_parquet,
    Form.ARRAYS: write_arrays,
}

if __name__ == "__main__":
    command_line.start(app)
