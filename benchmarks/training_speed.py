"""Images per second of training: ours, stock Keras, PyTorch, and the convolutions alone.

- `ours`: the network of the profile as the pipeline trains it: the real input with Transform's
  graph, augmentation, Muon, determinism, batches in halves, in the precision that this machine has.
- `stock`: the same convolutions and residual additions as a notebook writes them, none of them
  frozen (`stock_network.py`): convolution, `keras.layers.BatchNormalization`, ReLU, pooling;
  float32, Adam, `fit` on arrays in memory. No augmentation and no input to prepare, which favours
  it. With the batch size of the profile, and beside it with 64.
- `pytorch`: the same network in PyTorch (`pytorch_peer.py`): same layers, sizes, whitening
  convolution, precision, cores and batch size; channels-last, fused AdamW, whole batches. No
  augmentation, no input to prepare and no Muon, which favours it. In our order, convolution,
  pooling, normalisation, ReLU, and beside it in the usual one; each eager and by `torch.compile`.
  It is left out, in words, where its environment or a C++ compiler is missing.
- `ours_plain`: ours with as little around it as `pytorch`, for a like comparison: without
  augmentation, with AdamW. The input still comes through Transform's graph.
- `convolutions`: the convolutions of `ours` alone, forward and backward, in its precision, by
  oneDNN's own operations, on whole batches, each operation divided among all cores. `ours` may pass
  it: it computes the kernel gradients of small maps in another way, and both halves of a batch side
  by side. Where the first convolution is frozen, its gradient and that of the second one's input
  are left out, as in `ours`; `stock` computes both.

Each measurement has a process of its own and leaves out the first step. All are taken in turn,
round by round, so that what else the machine does falls on all of them; the ratios are those of the
medians. Of PyTorch's, the fastest counts. On a busy machine the ratio to PyTorch flatters us:
OpenMP's threads wait for each other at each operation, and so for what else runs.
"""

from __future__ import annotations

import statistics
from typing import Annotated, Any

import typer

from benchmarks import command, processes, pytorch_environment, pytorch_process, trainings
from benchmarks.pace import Pace
from benchmarks.pytorch_task import Order
from benchmarks.session import Session
from benchmarks.spread import grouped, spread
from benchmarks.tables import Table
from cli import command_line

NAME = "training_speed"
OURS, OURS_FLOAT32, OURS_PLAIN = "ours", "ours_float32", "ours_plain"
STOCK, STOCK_SMALL_BATCH = "stock", "stock_batch_64"
CONVOLUTIONS = "convolutions"
# Those without which there is no ratio.
ESSENTIAL = (OURS, STOCK, CONVOLUTIONS)
MEASUREMENTS = (*ESSENTIAL, STOCK_SMALL_BATCH, OURS_FLOAT32, OURS_PLAIN)
# PyTorch's, by the order of their layers and whether they are compiled.
PYTORCH = "pytorch"
PYTORCH_VARIANTS: dict[str, tuple[Order, bool]] = {
    PYTORCH: ("pool_first", False),
    "pytorch_usual_order": ("usual", False),
    "pytorch_compiled": ("pool_first", True),
    "pytorch_usual_order_compiled": ("usual", True),
}

_PLAIN = (
    "training.optimizer=adam",
    "training.augmentation.flip=false",
    "training.augmentation.shift=0.0",
    "training.augmentation.erasing=0.0",
)
_SMALL_BATCH = 64
_SHORT_IMAGES = 5_000

app = command.application()


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.training_speed --data ~/fashion-mnist`

`python -m benchmarks.training_speed --repeats 9 --record speed.json --json`

`python -m benchmarks.training_speed --short` sees that it works.""",
)
def main(
    profile: Annotated[
        str, typer.Option(help="Profile with the network and batch size.")
    ] = "default",
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; --short takes one.")] = 5,
    images: Annotated[
        int, typer.Option(min=1000, help="About how many in each measurement.")
    ] = 25_000,
    data: command.DataFrom = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Compare our training speed with stock Keras, PyTorch, and the convolutions alone."""
    if short:
        repeats, images = 1, min(images, _SHORT_IMAGES)
    where = command.data_argument(data, short)
    with trainings.prepared(where, sample_serves=True) as inputs:
        configuration = {
            "short": short,
            "repeats": repeats,
            "images": images,
            "trained": trainings.configuration(inputs, profile).model_dump(mode="json"),
        }
        session = Session(NAME, configuration, inputs.data, record)
        peers = pytorch_variants(short)
        # Images a second count only at equal sizes.
        parameters = processes.in_fresh_process(count_parameters, inputs, profile) if peers else 0
        for number in range(1, repeats + 1):
            for name in ESSENTIAL if short else MEASUREMENTS:
                pace = processes.in_fresh_process(measure, name, inputs, profile, images)
                session.add(_repeat(number, name, pace), _line(number, repeats, name, pace))
            for name in peers:
                pace = measure_pytorch(name, inputs, profile, images, parameters)
                session.add(_repeat(number, name, pace), _line(number, repeats, name, pace))
    session.end(figures(session.repeats), [table(session.repeats)], as_json)


def pytorch_variants(short: bool) -> list[str]:
    """The names of the PyTorch measurements that this machine can take; tells of all others."""
    if pytorch_environment.python() is None:
        processes.notify(pytorch_environment.LEFT_OUT)
        return []
    if short:
        return [PYTORCH]
    if pytorch_process.compiler():
        return list(PYTORCH_VARIANTS)
    processes.notify(
        "THE COMPILED PYTORCH PEER IS LEFT OUT: torch.compile found no C++ compiler. Debian and "
        "Ubuntu: sudo apt install g++"
    )
    return [name for name, (_, compiled) in PYTORCH_VARIANTS.items() if not compiled]


def measure_pytorch(
    name: str, inputs: trainings.Inputs, profile: str, images: int, parameters: int
) -> Pace:
    """Takes one measurement of PyTorch, in its own process.

    Args:
      name: of `PYTORCH_VARIANTS`.
      inputs: images.
      profile: whose network.
      images: about how many to take.
      parameters: how many weights our network learns.

    Raises:
      MeasurementError: If the peer's network learns another number of weights.
    """
    config = trainings.configuration(inputs, profile)
    speed = pytorch_process.measure_speed(inputs, config, *PYTORCH_VARIANTS[name], images)
    if speed.parameters != parameters:
        raise processes.MeasurementError(
            f"the network in PyTorch learns {speed.parameters:,} weights, ours {parameters:,}; "
            "expected equal sizes. Change benchmarks/pytorch_peer.py as "
            "components/trainer/model.py was changed."
        )
    return Pace(speed.images, speed.seconds)


def count_parameters(inputs: trainings.Inputs, profile: str) -> int:
    """The number of weights that our network learns."""
    from components.trainer import model

    settings = trainings.settings_of(trainings.configuration(inputs, profile))
    network = model.build_network(inputs.schema.shape, len(inputs.schema.class_names), settings)
    return sum(int(weight.shape.num_elements()) for weight in network.trainable_weights)


def measure(name: str, inputs: trainings.Inputs, profile: str, images: int) -> Pace:
    """Takes one measurement, in this process.

    Args:
      name: of `MEASUREMENTS`.
      inputs: images and Transform's graph.
      profile: whose network.
      images: about how many to take.
    """
    from benchmarks import speed

    config = trainings.configuration(inputs, profile)
    if name == CONVOLUTIONS:
        return speed.measure_convolutions(inputs, config, images)
    if name == STOCK:
        return speed.measure_stock(inputs, config, images, config.training.batch_size)
    if name == STOCK_SMALL_BATCH:
        return speed.measure_stock(inputs, config, images, _SMALL_BATCH)
    if name == OURS_FLOAT32:
        config = trainings.configuration(inputs, profile, "training.precision=float32")
    if name == OURS_PLAIN:
        config = trainings.configuration(inputs, profile, *_PLAIN)
    return speed.measure_ours(inputs, config, images)


def figures(repeats: list[dict[str, Any]]) -> dict[str, Any]:
    """What the measurements say together; speeds are medians, in images per second.

    Without PyTorch there is no ratio to it: None. `plain_ratio_to_pytorch` is that of `ours_plain`.
    """
    speeds = {
        name: statistics.median(values) for name, values in images_per_second(repeats).items()
    }
    peers = [speed for name, speed in speeds.items() if name in PYTORCH_VARIANTS]
    return {
        "ratio_to_stock": speeds[OURS] / speeds[STOCK],
        "ratio_to_pytorch": speeds[OURS] / max(peers) if peers else None,
        "plain_ratio_to_pytorch": (
            speeds[OURS_PLAIN] / max(peers) if peers and OURS_PLAIN in speeds else None
        ),
        "fraction_of_convolution_limit": speeds[OURS] / speeds[CONVOLUTIONS],
        "images_per_second": speeds,
    }


def table(repeats: list[dict[str, Any]]) -> Table:
    """Images per second of each measurement, and how far its repeats lie apart."""
    headings = ["images/s", "median", "mean", "deviation", "least", "most", "times ours"]
    measured = images_per_second(repeats)
    ours = statistics.median(measured[OURS])
    rows = []
    for name, values in measured.items():
        found = spread(values)
        keys = ("median", "mean", "standard_deviation", "min", "max")
        cells = [f"{found[key]:,.0f}" for key in keys]
        rows.append([name, *cells, f"{found['median'] / ours:.2f}"])
    return Table(headings, rows)


def images_per_second(repeats: list[dict[str, Any]]) -> dict[str, list[float]]:
    """The speeds of each measurement, round by round."""
    return {
        name: [repeat["images_per_second"] for repeat in rounds]
        for name, rounds in grouped(repeats, "measurement").items()
    }


def _repeat(number: int, name: str, pace: Pace) -> dict[str, Any]:
    return {
        "round": number,
        "measurement": name,
        "images": pace.images,
        "seconds": pace.seconds,
        "images_per_second": pace.images_per_second,
    }


def _line(number: int, repeats: int, name: str, pace: Pace) -> str:
    return f"round {number} of {repeats}: {name:<28} {pace.images_per_second:8,.0f} images/s"


if __name__ == "__main__":
    command_line.start(app)
