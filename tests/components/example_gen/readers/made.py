"""Makes data sets of each form, and reads them through the one door."""

import csv
import dataclasses
import gzip
import io
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from components.example_gen.readers import base, opening

SPLITS = {"train": 0, "val": 1, "test": 2, "data": base.UNDECIDED}
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# The readers do not decode: any bytes are an image to them.
PNG = b"\x89PNG and so on"


@dataclasses.dataclass(frozen=True)
class Read:
    """What came out of a data set."""

    reader: base.Reader
    contents: dict
    index: base.Index
    shards: list
    items: list

    @property
    def labels(self):
        """The label of each example as the data writes it."""
        return [self.index.values[number] for number in self.index.labels]

    @property
    def bad(self):
        """The reason of each bad item, by its name."""
        return {item.name: item.reason for item in self.items if isinstance(item, base.Bad)}

    @property
    def bytes(self):
        """The content of each image file, or the pixels of each array."""
        return [content_of(item) for item in self.items]


def content_of(item):
    if isinstance(item, np.ndarray):
        return item.tobytes()
    return item.content or Path(item.path).read_bytes()


def opened(path, remote=False, shape=None, is_span=False, **options):
    """Opens a data set; the shape is that of a schema."""
    return opening.open_data(str(path), base.Options(**options), remote, shape, is_span)


def hashed(reader):
    """The digest of each source."""
    return {path: reader.hash_source(path) for path in reader.sources()}


def read(path, **arguments):
    """Reads a whole data set, as the pipeline does: shards are read by a reader opened anew."""
    reader = opened(path, **arguments)
    contents = hashed(reader)
    index = reader.index(contents)
    shards = list(reader.shards(index))
    worker = opened(path, **arguments)
    items = [item for shard in shards for item in worker.read(shard, contents)]
    return Read(reader, contents, index, shards, items)


def write(folder, *paths, content=PNG):
    """Writes files of one content."""
    for path in paths:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder


def text(folder, name, *lines):
    """Writes a file of text."""
    content = "".join(f"{line}\n" for line in lines)
    return write(folder, name, content=content.encode())


def png(pixels):
    """The bytes of a PNG file of these pixels, [height, width, channels]."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "png")
    return buffer.getvalue()


def idx_file(array, code=8, order=">"):
    """The content of an IDX file."""
    header = struct.pack(f"{order}BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.tobytes()


# --- Writers of a whole data set: a list of parts, each a split with images and labels. ----------


@dataclasses.dataclass(frozen=True)
class Part:
    """Images of a split, uint8 [count, height, width, channels], with their labels as text."""

    split: str
    images: np.ndarray
    labels: list

    @property
    def ids(self):
        return [f"{self.split}-{row:08d}" for row in range(len(self.labels))]


def write_idx(folder, parts, zipped=False):
    for part in parts:
        half = {"train": "train", "test": "t10k"}[part.split]
        images = part.images[..., 0] if part.images.shape[-1] == 1 else part.images
        labels = np.array(part.labels, np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx_file(array)
            name = f"{half}-{kind}-ubyte{'.gz' if zipped else ''}"
            write(folder, name, content=gzip.compress(content) if zipped else content)


def write_arrays(folder, parts):
    arrays = {}
    for part in parts:
        ending = "" if part.split == "data" else f"_{part.split}"
        arrays[f"x{ending}"] = part.images
        arrays[f"y{ending}"] = np.array(part.labels)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "arrays.npz", **arrays)


def write_pixel_table(folder, parts):
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        pixels = part.images.reshape(len(part.images), -1)
        with (folder / f"made_{part.split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["label", *(f"pixel{number}" for number in range(pixels.shape[1]))])
            writer.writerows(
                [label, *row] for label, row in zip(part.labels, pixels.tolist(), strict=True)
            )


def image_table(contents, labels, names=None):
    """A table as Hugging Face's library writes it."""
    images = pa.array([{"bytes": content, "path": None} for content in contents], STRUCT)
    table = pa.table({"image": images, "label": labels})
    if names is None:
        return table
    features = {"label": {"names": list(names), "_type": "ClassLabel"}}
    return table.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )


def write_parquet(folder, parts, files=1, row_group_size=3):
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for part in parts:
        table = image_table([png(image) for image in part.images], part.labels)
        bounds = np.linspace(0, len(part.labels), files + 1).astype(int)
        for number in range(files):
            piece = table[bounds[number] : bounds[number + 1]]
            path = folder / "data" / f"{part.split}-{number:05d}-of-{files:05d}.parquet"
            pq.write_table(piece, path, row_group_size=row_group_size)


def write_repeated(path, columns, rows):
    """Writes a small Parquet file with one and the same value in all rows of each column."""
    places = pa.array(np.zeros(rows, np.int32))
    table = pa.table(
        {
            name: pa.DictionaryArray.from_arrays(places, pa.array([value]))
            for name, value in columns.items()
        }
    )
    # Without its schema, the columns are read as plain bytes and text.
    pq.write_table(table, path, store_schema=False)
    assert path.stat().st_size < 10**6


def write_class_folders(folder, parts):
    for part in parts:
        root = folder if part.split == "data" else folder / part.split
        for name, image, label in zip(part.ids, part.images, part.labels, strict=True):
            write(root, f"{label}/{name}.png", content=png(image))


def write_manifest(folder, parts):
    rows = [["file", "Label", "image_id", "split"]]
    for part in parts:
        for name, image, label in zip(part.ids, part.images, part.labels, strict=True):
            write(folder, f"images/{name}.png", content=png(image))
            split = "" if part.split == "data" else part.split
            rows.append([f"images/{name}.png", label, name, split])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
