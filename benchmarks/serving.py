"""How fast the exported model answers, against the bare Keras network.

The network of a profile is exported untrained: its weights do not change its speed. In one process,
these take turns, round by round and batch by batch, on the same images of the test split:

- `network`: the Keras model on images that are prepared already, float32, in a graph.
- `serving_default`: serialized `tf.train.Example`s.
- `predict_pixels`: uint8 pixels.
- `predict_image_bytes`: PNG files; `predict_image_bytes_jpeg`: JPEG files. All of the model's size.

A request is a tensor that is there before its time is taken. The first answers to a batch of some
size, in which TensorFlow plans its work, are left out.

- `ratio_to_network`: median seconds of an endpoint by those of the network; 1 is as fast.
"""

from __future__ import annotations

import functools
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from PIL import Image

from benchmarks import command, processes, trainings
from benchmarks.session import Session
from benchmarks.spread import grouped
from benchmarks.tables import Table
from cli import command_line
from components import features
from pipeline.config import Config

if TYPE_CHECKING:
    import keras

    # Asks about the first images, by their number.
    Ask = Callable[[int], np.ndarray]

NAME = "serving"
NETWORK, JPEG = "network", "predict_image_bytes_jpeg"
ENDPOINTS = (
    features.SERVING_DEFAULT,
    features.PREDICT_PIXELS,
    features.PREDICT_IMAGE_BYTES,
    JPEG,
)
# Requests of a measurement, by the number of images in each.
REQUESTS = {1: 50, 32: 10, 1000: 1}
SHORT_REQUESTS = {1: 5, 32: 1, 1000: 1}

_WARM_UP = 2

app = command.application()


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.serving --data ~/fashion-mnist`

`python -m benchmarks.serving --profile smoke --repeats 31 --json`

`python -m benchmarks.serving --short` sees that it works.""",
)
def main(
    profile: Annotated[str, typer.Option(help="Profile of the network.")] = "default",
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; --short takes one.")] = 15,
    data: command.DataFrom = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Measure how fast the exported model answers, against the bare network."""
    rounds, requests = (1, SHORT_REQUESTS) if short else (repeats, REQUESTS)
    where = command.data_argument(data, short)
    with trainings.prepared(where, sample_serves=True) as inputs:
        config = trainings.configuration(inputs, profile)
        configuration = {
            "short": short,
            "repeats": rounds,
            "requests": {str(batch): count for batch, count in requests.items()},
            "trained": config.model_dump(mode="json"),
        }
        session = Session(NAME, configuration, inputs.data, record)
        measured = processes.in_fresh_process(measure_rounds, inputs, config, rounds, requests)
        for repeat in measured:
            session.add(repeat, _line(repeat))
    answer = figures(session.repeats)
    session.end(answer, [table(answer)], as_json)


def measure_rounds(
    inputs: trainings.Inputs, config: Config, rounds: int, requests: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Takes all measurements, in this process.

    Args:
      inputs: images and Transform's graph.
      config: of the network.
      rounds: number of rounds.
      requests: requests of a measurement, by the number of images in each.

    Returns:
      The repeats of the record; `seconds` are those of one request.
    """
    sides = sides_of(inputs, config, max(requests))
    for batch in requests:
        for ask in sides.values():
            for _ in range(_WARM_UP):
                ask(batch)
    return [
        {
            "round": number,
            "batch": batch,
            "side": side,
            "requests": count,
            "seconds": _seconds(functools.partial(ask, batch), count),
        }
        for number in range(1, rounds + 1)
        for batch, count in requests.items()
        for side, ask in sides.items()
    ]


def _seconds(ask: Callable[[], np.ndarray], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        ask()
    return (time.perf_counter() - began) / count


def sides_of(inputs: trainings.Inputs, config: Config, images: int) -> dict[str, Ask]:
    """Exports a network, and gets requests ready for it.

    Args:
      inputs: images and Transform's graph.
      config: of the network.
      images: number of different images at most.

    Returns:
      By `network` or endpoint, what asks about images and returns their probabilities, float32
      [N, classes].
    """
    import tensorflow as tf

    from components.trainer import batches, export, model, training

    settings, schema = trainings.settings_of(config), inputs.schema
    transform = trainings.transform_graph(inputs)
    untrained = model.build_network(schema.shape, len(schema.class_names), settings)
    classifier = training.build_classifier(untrained, settings, schema)
    with tempfile.TemporaryDirectory() as folder:
        preparation = inputs.data.request.preparation
        export.export_model(classifier, transform, schema, preparation, "mixed", folder)
        loaded = tf.saved_model.load(folder)
    name = features.TEST_SPLIT
    raw = trainings.read_splits(inputs, config, [name])[name].images
    pixels = np.resize(raw, (images, *schema.shape))
    prepared = tf.constant(batches.prepared_images(pixels, transform))
    return {
        NETWORK: _network(classifier, prepared),
        **{
            endpoint: _endpoint(loaded, endpoint, request)
            for endpoint, request in _requests(pixels).items()
        },
    }


def _network(classifier: keras.Model, images: Any) -> Ask:
    import tensorflow as tf

    form = tf.TensorSpec([None, *images.shape[1:]], tf.float32)
    answer = tf.function(
        lambda batch: classifier(batch, training=False), input_signature=[form], autograph=False
    )
    return lambda count: answer(images[:count]).numpy()


def _endpoint(loaded: Any, endpoint: str, request: Any) -> Ask:
    import tensorflow as tf

    # By way of `loaded`: the signature holds the model's variables by weak references.
    name = features.PREDICT_IMAGE_BYTES if endpoint == JPEG else endpoint
    ((argument, _),) = loaded.signatures[name].structured_input_signature[1].items()
    whole = tf.constant(request)

    def ask(count: int) -> np.ndarray:
        answer = loaded.signatures[name](**{argument: whole[:count]})
        probabilities: np.ndarray = answer[features.PROBABILITIES].numpy()
        return probabilities

    return ask


def _requests(pixels: np.ndarray) -> dict[str, Any]:
    return {
        features.SERVING_DEFAULT: [_example(image) for image in pixels],
        features.PREDICT_PIXELS: pixels,
        features.PREDICT_IMAGE_BYTES: [_file(image, "PNG") for image in pixels],
        JPEG: [_file(image, "JPEG") for image in pixels],
    }


def _example(image: np.ndarray) -> bytes:
    import tensorflow as tf

    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()]))
    described = tf.train.Features(feature={features.IMAGE: value})
    serialized: bytes = tf.train.Example(features=described).SerializeToString()
    return serialized


def _file(image: np.ndarray, kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, kind)
    return content.getvalue()


def figures(repeats: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians by side and size of the batch, and the ratios of these."""
    seconds = {
        side: {
            str(batch): statistics.median(run["seconds"] for run in measured)
            for batch, measured in grouped(runs, "batch").items()
        }
        for side, runs in grouped(repeats, "side").items()
    }
    return {
        "ratio_to_network": {
            endpoint: {
                batch: median / seconds[NETWORK][batch]
                for batch, median in seconds[endpoint].items()
            }
            for endpoint in ENDPOINTS
        },
        "seconds_per_request": seconds,
        "images_per_second": {
            side: {batch: int(batch) / median for batch, median in medians.items()}
            for side, medians in seconds.items()
        },
    }


def table(figures: dict[str, Any]) -> Table:
    """A row for each side and size of the batch."""
    headings = ["side", "batch", "ms", "images/s", "times network"]
    rows = [
        [
            side,
            batch,
            f"{1000 * seconds:.1f}",
            f"{figures['images_per_second'][side][batch]:,.0f}",
            f"{seconds / figures['seconds_per_request'][NETWORK][batch]:.2f}",
        ]
        for side, medians in figures["seconds_per_request"].items()
        for batch, seconds in medians.items()
    ]
    return Table(headings, rows)


def _line(repeat: dict[str, Any]) -> str:
    milliseconds = 1000 * repeat["seconds"]
    return (
        f"round {repeat['round']}: {repeat['side']:<24} {repeat['batch']:>5,} images, "
        f"{milliseconds:8.1f} ms"
    )


if __name__ == "__main__":
    command_line.start(app)
