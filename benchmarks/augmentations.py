"""What the augmentation that `init` chooses for photographs does, against that of Fashion-MNIST.

The photographs are made for it. As in `benchmarks.made_images`, each class is a shape before a
background of colour. The training photographs are few, and taken in one light from one distance, as
on one day. The validation photographs are taken from nearer and farther, in more and less light,
and with paler and stronger colours, as they come later.

Every variant is trained with the same seeds, and all else as `init` writes it:

- `init`: its augmentation.
- `fashion_mnist`: that of the profile `default`.
- `black_fill`, `no_crop`, `no_light`: that of `init` with `fill` at `background`, without `crop`,
  and without `brightness`, `contrast` and `colour`.

What counts is the accuracy on the validation photographs; there is nothing else to be asked.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image, ImageEnhance

from benchmarks import command, made_images, processes, trainings
from benchmarks.session import Session
from benchmarks.spread import grouped, spread
from benchmarks.tables import Table
from cli import command_line
from components import features
from pipeline.config import AugmentationConfig, Config

NAME = "augmentations"
INIT, FASHION_MNIST = "init", "fashion_mnist"
# What each variant changes in the augmentation that `init` chose.
CHANGES: dict[str, dict[str, Any]] = {
    INIT: {},
    FASHION_MNIST: AugmentationConfig().model_dump(),
    "black_fill": {"fill": "background"},
    "no_crop": {"crop": 0.0},
    "no_light": {"brightness": 0.0, "contrast": 0.0, "colour": 0.0},
}
COUNTS = {features.TRAIN_SPLIT: 250, features.VALIDATION_SPLIT: 700, features.TEST_SPLIT: 70}
SHORT_COUNTS = {features.TRAIN_SPLIT: 70, features.VALIDATION_SPLIT: 35, features.TEST_SPLIT: 35}
SIDE, SHORT_SIDE = 64, 16

_JPEG_QUALITY = 90

app = command.application()


@dataclasses.dataclass(frozen=True)
class Taking:
    """How photographs are taken; each is a range to draw from.

    Attributes:
      radii: Radius of the shape, as a share of the side.
      light: Factor of the brightness, and of the contrast.
      colour: Factor of the saturation.
    """

    radii: tuple[float, float]
    light: tuple[float, float]
    colour: tuple[float, float]


_ONE_DAY = Taking(radii=(0.2, 0.24), light=(0.97, 1.03), colour=(0.95, 1.05))
_LATER = Taking(radii=(0.16, 0.32), light=(0.75, 1.3), colour=(0.4, 1.5))


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.augmentations --json`

`python -m benchmarks.augmentations --variant init --variant no_crop --seeds 1,2,3,4,5`

`python -m benchmarks.augmentations --short` sees that it works.

Variants: """
    + ", ".join(CHANGES),
)
def main(
    variant: Annotated[
        list[str] | None, typer.Option(help="Variant to train; may be repeated. Default: all.")
    ] = None,
    seeds: command.Seeds = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Measure what the augmentation for photographs does."""
    chosen_seeds = command.seeds(seeds, short)
    variants = tuple(variant or CHANGES)
    command.check_known("--variant", variants, CHANGES, "benchmarks/augmentations.py")
    counts, side = (SHORT_COUNTS, SHORT_SIDE) if short else (COUNTS, SIDE)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = pathlib.Path(name)
        write_photographs(folder / "photographs", counts)
        made = processes.in_fresh_process(
            trainings.initialized,
            folder / "photographs",
            folder / "made",
            f"{side}x{side}",
            None,
        )
        configs = {name: changed(made.config, CHANGES[name]) for name in variants}
        configuration = {
            "short": short,
            "counts": counts,
            "seeds": chosen_seeds,
            "trained": {name: each.model_dump(mode="json") for name, each in configs.items()},
        }
        session = Session(NAME, configuration, made.inputs.data, record)
        # In turns, so that a slow hour of the machine meets all.
        for seed in chosen_seeds:
            for name, config in configs.items():
                seeded = config.model_copy(update={"seed": seed})
                repeat = processes.in_fresh_process(measure, made.inputs, name, seeded)
                session.add(repeat, _line(repeat))
    answer = figures(session.repeats)
    session.end(answer, [table(answer)], as_json)


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """A configuration with another augmentation."""
    augmentation = config.training.augmentation.model_copy(update=dict(changes))
    training = config.training.model_copy(update={"augmentation": augmentation})
    return config.model_copy(update={"training": training})


def measure(inputs: trainings.Inputs, variant: str, config: Config) -> dict[str, Any]:
    """Trains once, in this process.

    Returns:
      `variant`, `seed`, `seconds`, `accuracy` on the validation photographs, and `recall` of each
      class there.
    """
    from components.trainer import training

    splits = trainings.read_splits(inputs, config, trainings.LEARNT_FROM)
    trained = trainings.train(inputs, config, splits)
    validation, graph = splits[features.VALIDATION_SPLIT], trainings.transform_graph(inputs)
    probabilities = training.predict(trained.classifier, validation, graph)
    scores = trainings.scores(probabilities, validation.labels, inputs.schema.class_names)
    return {
        "variant": variant,
        "seed": config.seed,
        "seconds": trained.seconds,
        "accuracy": scores["accuracy"],
        "recall": {name: found["recall"] for name, found in scores["per_class"].items()},
    }


def write_photographs(folder: pathlib.Path, counts: Mapping[str, int]) -> None:
    """Writes photographs of all classes in turn to `SPLIT/CLASS`.

    Args:
      folder: where the folders of the splits go.
      counts: number of images by split.
    """
    for split, count in counts.items():
        taking = _ONE_DAY if split == features.TRAIN_SPLIT else _LATER
        for position in range(count):
            name = made_images.SHAPES[position % len(made_images.SHAPES)]
            random = np.random.default_rng([features.SPLITS.index(split), position])
            path = folder / split / name / f"{position:06d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            photograph(name, taking, random).save(path, quality=_JPEG_QUALITY)


def photograph(shape: str, taking: Taking, random: np.random.Generator) -> Image.Image:
    """Draws a photograph of one of `made_images.SHAPES`, in colour."""
    image = made_images.photograph(shape, random, taking.radii)
    for enhancer, factors in (
        (ImageEnhance.Color, taking.colour),
        (ImageEnhance.Contrast, taking.light),
        (ImageEnhance.Brightness, taking.light),
    ):
        image = enhancer(image).enhance(random.uniform(*factors))
    return image


def figures(repeats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of the accuracy over the seeds, and mean recall of each class, by variant."""
    return {
        variant: {
            "accuracy": spread([run["accuracy"] for run in runs]),
            "recall": {
                name: float(np.mean([run["recall"][name] for run in runs]))
                for name in runs[0]["recall"]
            },
        }
        for variant, runs in grouped(repeats, "variant").items()
    }


def table(figures: dict[str, Any]) -> Table:
    """A row for each variant: mean, and least to most."""
    names = list(next(iter(figures.values()))["recall"])
    rows = [
        [
            variant,
            "{mean:.3f} ({min:.3f} to {max:.3f})".format(**found["accuracy"]),
            *(f"{found['recall'][name]:.2f}" for name in names),
        ]
        for variant, found in figures.items()
    ]
    return Table(["augmentation", "accuracy", *names], rows)


def _line(repeat: dict[str, Any]) -> str:
    of = f"{repeat['variant']}, seed {repeat['seed']}"
    return f"{of}: accuracy {repeat['accuracy']:.3f} after {repeat['seconds']:.0f} s"


if __name__ == "__main__":
    command_line.start(app)
