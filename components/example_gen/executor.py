"""Turns labelled images of any form into TensorFlow examples, shard by shard, in Beam."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components import examples, features, images, own_code, reading_report, shards
from components.example_gen import collection, request, shard_report
from components.example_gen.collection import Work
from components.example_gen.decoding import Decoded, Decoder, File
from components.example_gen.readers.base import Bad, Item, Reader, ReadingError
from components.example_gen.request import Request
from components.example_gen.shard_report import ShardReport
from components.example_gen.split import NOT_TAKEN

logger = logging.getLogger(__name__)

_BATCH_SIZE = 1024
_BATCH_BYTES = 16 * 2**20
# Folders of what each shard is, of its files that are not complete, and of what became of it, until
# all are done. A worker that is killed leaves files there.
_PLANS = "shard-plans"
_UNFINISHED = "shard-files"
_REPORTS = "shard-reports"
_FOLDERS = (_PLANS, _UNFINISHED, _REPORTS)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes the splits `train`, `val` and `test`.

    TFX's own executor shuffles the serialized images, which Beam's local runner holds in memory,
    and handles each image by itself. Here the order of examples has no meaning: Beam distributes
    shards, and each worker writes the examples of its shard.
    """

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes TFRecord files below the examples artifact, some for each shard and split.

        Raises:
          ReadingError: The data cannot be used.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        location = exec_properties["location"]
        asked = request.from_json(exec_properties["request"])
        readers = collection.open_parts(location, asked)
        contents = asked.contents or collection.hashed(readers, location)
        digest = collection.digest(asked.parts, readers, contents)
        collection.check_digest(digest, exec_properties["data_digest"], location)
        listing = collection.listing(asked, readers, contents, exec_properties["seed"])
        output = artifact_utils.get_single_instance(output_dict["examples"])
        output.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
        for name in features.SPLITS:
            fileio.makedirs(artifact_utils.get_split_uri([output], name))
        names = _write_plans(output.uri, collection.work_of(listing, asked, readers, contents))
        write = _WriteShard(location, asked, output.uri, len(listing.ids))
        _write_columns(listing, output.uri)
        # The plans have what was listed, hundreds of bytes an image, and a worker in this process
        # needs memory for its plan.
        del listing
        with self._make_beam_pipeline() as pipeline:
            _ = pipeline | "Shards" >> beam.Create(names) | "Write" >> beam.ParDo(write)
        reports = _shard_reports(output.uri, names)
        report = shard_report.joined(reports, readers, asked)
        for file in report.skipped:
            logger.warning("Cannot use %s: %s", file.name, file.reason)
        shard_report.check(reports, asked)
        reading_report.write(report, output.uri)
        examples.write_listing(output.uri, features.SPLITS)


def _write_plans(examples_uri: str, work: Iterable[Work]) -> list[str]:
    """Writes what each shard is to a file: Beam copies and compresses its elements many times.

    Returns:
      The names of the shards.
    """
    names = []
    for folder in _FOLDERS:
        fileio.makedirs(os.path.join(examples_uri, folder))
    for each in work:
        with fileio.open(os.path.join(examples_uri, _PLANS, each.name), "w") as file:
            file.write(collection.work_to_json(each))
        names.append(each.name)
    return names


def _shard_reports(examples_uri: str, names: Sequence[str]) -> list[ShardReport]:
    """Reads the reports of all shards, and removes what was only needed on the way."""
    reports = []
    for name in names:
        with fileio.open(os.path.join(examples_uri, _REPORTS, name), "r") as file:
            reports.append(shard_report.parse(file.read()))
    for folder in _FOLDERS:
        fileio.rmtree(os.path.join(examples_uri, folder))
    return reports


def _write_columns(listing: collection.Listing, examples_uri: str) -> None:
    """Writes the further columns of the data, also of images that were left out, with ids."""
    if listing.columns is None:
        return
    table = listing.columns.append_column(features.EXAMPLE_ID, [list(listing.ids)])
    table = table.filter(pa.array(listing.splits != NOT_TAKEN))
    content = io.BytesIO()
    pq.write_table(table, content)
    with fileio.open(os.path.join(examples_uri, features.COLUMNS_FILE), "wb") as file:
        file.write(content.getvalue())


class _WriteShard(beam.DoFn):
    """Writes the examples of a shard: files in each split that has some of them."""

    def __init__(self, location: str, asked: Request, examples_uri: str, count: int):
        self._count = count
        self._location = location
        self._asked = asked
        self._examples_uri = examples_uri
        self._preparation = asked.preparation
        self._code = own_code.digest()
        # Of the part that was opened last.
        self._reader: tuple[int, Reader] | None = None
        self._decoder: Decoder | None = None

    def setup(self) -> None:
        """Checks that a worker has the code of this package."""
        own_code.check(self._code)

    def teardown(self) -> None:
        """Ends the processes of a worker."""
        if self._decoder is not None:
            self._decoder.close()

    def process(self, element: str) -> None:
        """Writes the files of the shard with this name, and its report."""
        with fileio.open(os.path.join(self._examples_uri, _PLANS, element), "r") as file:
            self._write(collection.work_from_json(file.read()))

    def _write(self, element: Work) -> None:
        names = [features.SPLITS[n] for n in np.unique(element.splits) if n != NOT_TAKEN]
        report = shard_report.Counter()
        file_name = f"{examples.FILE_PREFIX}-{element.name}"
        with _writers(self._examples_uri, names, file_name) as writers:
            for batch in _batches(self._decoded(element), element, report):
                for split, record in zip(batch.splits, _encode(batch), strict=True):
                    writers[features.SPLITS[split]].write(record)
        with shards.whole(os.path.join(self._examples_uri, _REPORTS, element.name)) as file:
            file.write(shard_report.to_json(report.report()).encode())

    def _decoded(self, element: Work) -> Iterator[Decoded]:
        """Each image of a shard, in order."""
        if self._decoder is None:
            self._decoder = Decoder(self._preparation, self._count)
        items = self._opened(element.part).read(element.shard, element.contents)
        return self._decoder.decode(_waiting(items), element.shard.count)

    def _opened(self, number: int) -> Reader:
        if self._reader is None or self._reader[0] != number:
            part = self._asked.parts[number]
            reader = collection.open_part(self._location, part, self._asked)
            self._reader = (number, reader)
        return self._reader[1]


@dataclasses.dataclass
class _Batch:
    """Images that can be used, with what is known of each."""

    pixels: list[bytes] = dataclasses.field(default_factory=list)
    labels: list[int] = dataclasses.field(default_factory=list)
    ids: list[str] = dataclasses.field(default_factory=list)
    splits: list[int] = dataclasses.field(default_factory=list)


def _waiting(items: Iterable[Item]) -> Iterator[File | Decoded]:
    """What the decoder takes: files as they are, and pixels as if they had been decoded."""
    pixels: list[np.ndarray] = []
    for item in items:
        if isinstance(item, np.ndarray) and len(pixels) < _BATCH_SIZE:
            pixels.append(item)
            if len(pixels) * item.nbytes > _BATCH_BYTES:
                yield from _as_decoded(pixels)
                pixels = []
            continue
        yield from _as_decoded(pixels)
        pixels = []
        if isinstance(item, np.ndarray):
            pixels = [item]
        elif isinstance(item, Bad):
            yield Decoded(b"", 0.0, item.name, item.reason, changed=False)
        else:
            yield File(item.name, item.path, item.content, item.sha256)
    yield from _as_decoded(pixels)


def _as_decoded(pixels: list[np.ndarray]) -> Iterator[Decoded]:
    if pixels:
        for image, border in zip(pixels, images.borders(np.stack(pixels)), strict=True):
            yield Decoded(image.tobytes(), float(border), "", "", changed=False)


def _batches(
    decoded: Iterable[Decoded], element: Work, report: shard_report.Counter
) -> Iterator[_Batch]:
    """The images of a shard that can be used; the report counts them, and names the others."""
    batch = _Batch()
    known = zip(element.ids, element.labels.tolist(), element.splits.tolist(), strict=True)
    for image, (name, label, split) in zip(decoded, known, strict=True):
        if image.changed:
            raise ReadingError(
                f"{image.name} changed while the run was reading it ({image.reason}); expected the "
                "content that was checked when the run began. Run again when the files are at rest."
            )
        if split == NOT_TAKEN:
            continue
        if image.reason:
            report.skip(features.SPLITS[split], image.name, image.reason)
            continue
        report.count(features.SPLITS[split], label, image.border)
        batch.pixels.append(image.pixels)
        batch.labels.append(label)
        batch.ids.append(name)
        batch.splits.append(split)
        if len(batch.ids) == _BATCH_SIZE or len(batch.ids) * len(image.pixels) > _BATCH_BYTES:
            yield batch
            batch = _Batch()
    if batch.ids:
        yield batch


class _Writer:
    """Writes the examples of a shard in a split to files of a limited size."""

    def __init__(self, folder: str):
        self._folder = folder
        self._count = self._bytes = 0
        self._writer: tf.io.TFRecordWriter | None = None
        # Names of the files.
        self.names: list[str] = []

    def write(self, record: bytes) -> None:
        is_full = self._count == shards.EXAMPLES or self._bytes >= shards.BYTES
        if self._writer is None or is_full:
            self.close()
            self.names.append(f"{len(self.names):05d}")
            self._writer = tf.io.TFRecordWriter(os.path.join(self._folder, self.names[-1]))
            self._count = self._bytes = 0
        self._writer.write(record)
        self._count += 1
        self._bytes += len(record)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@contextlib.contextmanager
def _writers(examples_uri: str, names: list[str], file_name: str) -> Iterator[dict[str, _Writer]]:
    """Opens a writer for each split, and renames all files into place when they are complete.

    Beam may process a shard again; the second time replaces the files with equal ones.
    """
    unfinished = os.path.join(examples_uri, _UNFINISHED, f"unfinished-{uuid.uuid4().hex}")
    folders = {name: os.path.join(unfinished, name) for name in names}
    for folder in folders.values():
        fileio.makedirs(folder)
    try:
        with contextlib.ExitStack() as opened:
            writers = {
                name: opened.enter_context(contextlib.closing(_Writer(folder)))
                for name, folder in folders.items()
            }
            yield writers
        for name, writer in writers.items():
            for number in writer.names:
                place = os.path.join(
                    examples_uri, features.split_folder(name), f"{file_name}-{number}"
                )
                fileio.rename(os.path.join(folders[name], number), place, overwrite=True)
    finally:
        fileio.rmtree(unfinished)


def _encode(batch: _Batch) -> list[bytes]:
    """Serializes a batch of examples."""
    return examples.serialize(
        {
            features.IMAGE: batch.pixels,
            features.LABEL: batch.labels,
            features.EXAMPLE_ID: [name.encode(errors="surrogateescape") for name in batch.ids],
        }
    )
