"""The pipeline's own training, without the pipeline around it.

The same data in the same split, the same preparation, settings, network and training as in a run
with the same configuration. TensorFlow and TFX are imported where they are used: the process that
only waits for a measurement needs neither.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import processes
from components import control_groups, features, images
from components.example_gen import collection
from components.example_gen.readers.base import Encoded, Item, Reader, ReadingError
from components.image_schema import ImageSchema
from pipeline import config as configurations
from pipeline import config_file, machine, precision
from pipeline.config import Config
from pipeline.datasets import SAMPLE
from pipeline.datasets.dataset import DataSet, Source
from pipeline.datasets.find import DIRECTORY_VARIABLE, find_source
from pipeline.datasets.reading import read_dataset, split_settings
from pipeline.datasets.schema_file import read_schema
from pipeline.errors import DataError

if TYPE_CHECKING:
    import keras
    import tensorflow_transform as tft

    from components.examples import Split
    from components.trainer.settings import Settings

    # Changes a compiled network before its training.
    Trick = Callable[[keras.Model, Settings, ImageSchema], None]

# The hardest class to tell. Tables show its scores; records have those of all classes.
HARDEST_CLASS = "Shirt"
# The splits that a training needs.
LEARNT_FROM = (features.TRAIN_SPLIT, features.VALIDATION_SPLIT)

ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a measurement begins with, small enough to be handed to another process.

    Attributes:
      data: the checked files.
      schema: what they hold.
      transform_folder: from `write_transform_graph`.
    """

    data: DataSet
    schema: ImageSchema
    transform_folder: str


@dataclasses.dataclass(frozen=True)
class Initialized:
    """What `init` makes of images.

    Attributes:
      inputs: the images and what a training on them begins with.
      config: of `pipeline.toml`.
      estimated_seconds: of the training, as `init` says it.
    """

    inputs: Inputs
    config: Config
    estimated_seconds: float


@dataclasses.dataclass(frozen=True)
class Trained:
    """What came out of a training.

    Attributes:
      classifier: the model as it would be served, before calibration.
      seconds: of the training, with its validation; reading the data is not part of it.
      epochs: what was measured in each, as Trainer's history has it.
      epoch_seconds: of each epoch, with its validation. The first one includes the building of the
        graphs.
    """

    classifier: keras.Model
    seconds: float
    epochs: list[dict[str, float]]
    epoch_seconds: list[float]


@contextlib.contextmanager
def prepared(data_argument: str, sample_serves: bool = False) -> Iterator[Inputs]:
    """Checks the images and makes Transform's graph, which is gone when the block ends.

    Args:
      data_argument: as for `pipeline.datasets.find.find_source`.
      sample_serves: whether `auto` may take the synthetic sample where no real images can be had.

    Raises:
      UsageError: where the images cannot be had or read.
    """
    data, schema = checked(data_argument, sample_serves)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        processes.in_fresh_process(write_transform_graph, schema, folder)
        yield Inputs(data, schema, folder)


def checked(data_argument: str, sample_serves: bool = False) -> tuple[DataSet, ImageSchema]:
    """Checks the images; arguments and errors are those of `prepared`."""
    source = find_source(data_argument, processes.notify)
    if source.sample and data_argument != SAMPLE and not sample_serves:
        raise DataError(
            "Fashion-MNIST cannot be had; expected it in the folder that "
            f"{DIRECTORY_VARIABLE} names, in the user's cache, or on the network. Name "
            "its folder with --data, or try everything out with --data sample."
        )
    schema_file = ROOT / configurations.load_config("default").schema_file
    schema, schema_sha256 = read_schema(str(schema_file))
    # A benchmark divides the images itself. Here few of them will do.
    config = configurations.load_config("default", ["split.validation=1"], sample=source.sample)
    data = read_dataset(source, schema, schema_sha256, config)
    processes.notify(f"Images: {data.name}")
    return data, schema


def initialized(
    data: pathlib.Path, folder: pathlib.Path, size: str | None, channels: int | None
) -> Initialized:
    """Does what `init` does, and what a run does before its training, in this process.

    Args:
      data: folder of the images.
      folder: a new folder for all that is written.
      size: height and width as HxW; None takes what `init` suggests.
      channels: 1 or 3; None takes what `init` suggests.

    Raises:
      UsageError: where the images cannot be used.
    """
    from operations.initialization import command, texts

    # Digests are kept there, and none of these files will be read again.
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    made = command.initialize(
        str(folder / "pipeline"), str(data), size, channels, (), processes.notify
    )
    config = config_file.combine(made.folder / texts.CONFIGURATION).config()
    schema, digest = read_schema(config.schema_file)
    found = read_dataset(Source(data, sample=False), schema, digest, config)
    transform_folder = str(folder / "transform")
    write_transform_graph(schema, transform_folder)
    inputs = Inputs(found, schema, transform_folder)
    return Initialized(inputs, config, made.suggestion.training_seconds)


def write_transform_graph(schema: ImageSchema, folder: str) -> None:
    """Writes Transform's graph to a folder, as the pipeline's Transform does."""
    import functools

    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata.dataset_metadata import DatasetMetadata

    from components.transform import preprocessing_fn
    from pipeline.runners import engine

    prepare = functools.partial(preprocessing_fn, image_shape=schema.shape)
    form = DatasetMetadata.from_feature_spec(
        {features.IMAGE: tf.io.FixedLenFeature([1], tf.string)}
    )
    options = beam.options.pipeline_options.PipelineOptions(list(engine.NODE_ARGUMENTS))
    with (
        tempfile.TemporaryDirectory() as scratch,
        tft_beam.Context(temp_dir=scratch),
        beam.Pipeline(options=options) as pipeline,
    ):
        # Nothing is analysed, so that no image is needed.
        none = pipeline | beam.Create([])
        graph = (none, form) | tft_beam.AnalyzeDataset(prepare)
        _ = graph | tft_beam.WriteTransformFn(folder)


def transform_graph(inputs: Inputs) -> tft.TFTransformOutput:
    """Reads Transform's graph."""
    import tensorflow_transform as tft

    return tft.TFTransformOutput(inputs.transform_folder)


def read_splits(inputs: Inputs, config: Config, names: Collection[str]) -> dict[str, Split]:
    """Reads the splits that the pipeline would make, in the order in which Trainer sees them.

    Args:
      inputs: the files.
      config: its seed and its split decide which images are validated on.
      names: of the splits. Files that hold none of them are not read.
    """
    from components.examples import joined

    readers, all_work = _listed(inputs, config)
    wanted = [features.SPLITS.index(name) for name in names]
    works = [work for work in all_work if np.isin(work.splits, wanted).any()]
    preparation = inputs.data.request.preparation
    whole = joined([_read(readers[work.part], work, preparation) for work in works])
    splits = np.concatenate([work.splits for work in works])
    order = np.argsort(whole.ids, kind="stable")
    return {
        name: whole.at(order[splits[order] == number])
        for name, number in zip(names, wanted, strict=True)
    }


def check_split(inputs: Inputs, config: Config) -> None:
    """Checks that every class has images in each split.

    Raises:
      DataError: where a class has too few.
    """
    try:
        _listed(inputs, config)
    except ReadingError as error:
        raise DataError(str(error)) from error


def _listed(inputs: Inputs, config: Config) -> tuple[list[Reader], list[collection.Work]]:
    request = dataclasses.replace(inputs.data.request, split=split_settings(config))
    readers = collection.open_parts(inputs.data.location, request)
    contents = request.contents or collection.hashed(readers, inputs.data.location)
    listing = collection.listing(request, readers, contents, config.seed)
    return readers, list(collection.work_of(listing, request, readers, contents))


def _read(reader: Reader, work: collection.Work, preparation: images.Preparation) -> Split:
    from components.examples import Split

    items = reader.read(work.shard, work.contents)
    pixels = np.stack([_pixels(item, preparation) for item in items])
    ids = np.array([name.encode() for name in work.ids], dtype=object)
    return Split(pixels.reshape(len(pixels), -1), work.labels.astype(np.int64), ids)


def _pixels(item: Item, preparation: images.Preparation) -> np.ndarray:
    if isinstance(item, np.ndarray):
        return item
    if isinstance(item, Encoded):
        content = item.content or pathlib.Path(item.path).read_bytes()
        return images.prepare(content, preparation).pixels
    raise DataError(f"{item.name}: {item.reason}")


def configuration(
    inputs: Inputs, profile: str, *assignments: str, seed: int | None = None
) -> Config:
    """The configuration of a run on these images; see `pipeline.config.load_config`."""
    return configurations.load_config(profile, assignments, sample=inputs.data.sample, seed=seed)


def settings_of(config: Config) -> Settings:
    """What the pipeline would tell Trainer, on this machine."""
    from components.trainer.settings import Settings

    values = config.training.model_dump()
    chosen = precision.resolve(config.training.precision, machine.cpu_features())
    # The identity names the snapshots of a broken training; here none outlives its process.
    return Settings.from_dict(
        {
            **values,
            "precision": chosen,
            "seed": config.seed,
            "identity": "benchmark",
            "background": config.images.background,
        }
    )


def use_cores(config: Config) -> None:
    """Shares the cores as a run does, before TensorFlow computes anything in this process."""
    from components.trainer import threads

    threads.share(control_groups.cores(), config.training.batch_size)


def train(
    inputs: Inputs, config: Config, splits: dict[str, Split], trick: Trick | None = None
) -> Trained:
    """Trains as the pipeline does; shows each epoch on the terminal.

    Args:
      inputs: Transform's graph and the schema.
      config: the configuration of the run that this is the training of.
      splits: `train` and `val`.
      trick: a change that the pipeline does not make.
    """
    from components.trainer import training

    use_cores(config)
    settings = settings_of(config)
    with tempfile.TemporaryDirectory() as folder, _showing_epochs() as shown:
        started = time.perf_counter()
        graph = transform_graph(inputs)
        network, data = training.prepare(settings, inputs.schema, splits[features.TRAIN_SPLIT])
        if trick:
            trick(network, settings, inputs.schema)
        schema = inputs.schema
        training.train_network(network, data, settings, schema, graph, splits, folder, None)
        seconds = time.perf_counter() - started
        (history,) = pathlib.Path(folder).rglob(features.HISTORY_FILE)
        epochs = json.loads(history.read_text(encoding="utf-8"))
    classifier = training.build_classifier(network, settings, inputs.schema)
    return Trained(classifier, seconds, epochs, shown.seconds)


class _EpochsOnTerminal(logging.Handler):
    """Shows what Trainer logs of each epoch, and keeps its seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        processes.notify(f"           {record.getMessage()}")
        if progress := getattr(record, "progress", None):
            self.seconds.append(progress["seconds"])


@contextlib.contextmanager
def _showing_epochs() -> Iterator[_EpochsOnTerminal]:
    logger, handler = logging.getLogger("components.trainer"), _EpochsOnTerminal()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def scores(
    probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
    """Accuracy, cross-entropy, and the scores of each class.

    Args:
      probabilities: float [N, classes].
      labels: int [N].
      class_names: in label order.

    Returns:
      `accuracy`, `cross_entropy` in nats, and `per_class`: by class name the `precision`, `recall`,
      `f1` and `support` that the Evaluator would find.
    """
    from components import evaluation_metrics

    choices = probabilities.argmax(axis=1)
    pairs, counts = np.unique(np.stack([labels, choices]), axis=1, return_counts=True)
    matrix = {
        (int(true), int(choice)): float(count)
        for (true, choice), count in zip(pairs.T, counts, strict=True)
    }
    found = evaluation_metrics.scores(matrix)
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return {
        "accuracy": float((choices == labels).mean()),
        "cross_entropy": float(-np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean()),
        "per_class": {
            name: found[number] for number, name in enumerate(class_names) if number in found
        },
    }
