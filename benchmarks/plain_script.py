"""The plain script: load, scale, train, evaluate and save, without a pipeline.

A pipeline costs what it takes longer than this. Network, augmentation, optimizer and schedule are
those of a run with the same profile, halves and threads included. All around them is what one
writes where there is nothing but a training to do: arrays in memory, `fit`, `evaluate`, `save`. No
checks, no statistics, no gates, no export for serving, no record.
"""

from __future__ import annotations

import pathlib
from typing import Annotated

import keras
import numpy as np
import typer

from benchmarks import idx_files
from benchmarks.epoch_clock import EpochClock
from components import control_groups
from components.trainer import threads, whitening
from components.trainer.callbacks import averaging
from components.trainer.halves import in_halves
from components.trainer.model import build_network
from components.trainer.optimizer import build_optimizer
from components.trainer.schedule import WarmUpAndDecay
from components.trainer.settings import Settings
from pipeline import config as configurations
from pipeline import machine, precision

_BATCH = 1000
# Images that the first layer is fitted to.
_WHITENED = 1000


def main(
    data: Annotated[pathlib.Path, typer.Option(help="Folder of the four IDX files.")],
    output_dir: Annotated[pathlib.Path, typer.Option(help="Folder for the model.")],
    profile: Annotated[str, typer.Option(help="Profile to train.")] = "default",
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a configuration key, as with `run --set`."
        ),
    ] = None,
) -> None:
    """Train a classifier on IDX files, and save it."""
    config = configurations.load_config(profile, assignments or ())
    settings = settings_of(config)
    threads.share(control_groups.cores(), settings.batch_size)
    keras.utils.set_random_seed(settings.seed)
    images, labels = load(data, idx_files.TRAIN)
    test_images, test_labels = load(data, idx_files.TEST)
    # A number per class, or a share.
    validation = config.split.validation
    per = labels.shape[1] if isinstance(validation, int) else len(images)
    held_out = int(validation * per)
    _, height, width, channels = images.shape
    network = compiled_network((height, width, channels), labels.shape[1], settings)
    if settings.whitening:
        whitening.begin(network, images[:_WHITENED])
    output_dir.mkdir(parents=True, exist_ok=True)
    best_weights = str(output_dir / "best.weights.h5")
    clock = EpochClock()
    network.fit(
        images[:-held_out],
        labels[:-held_out],
        validation_data=(images[-held_out:], labels[-held_out:]),
        validation_batch_size=_BATCH,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        verbose=0,
        callbacks=[
            WarmUpAndDecay(
                settings.learning_rate,
                settings.warm_up,
                -(-(len(images) - held_out) // settings.batch_size),
                settings.epochs,
            ),
            *averaging(settings),
            keras.callbacks.ModelCheckpoint(
                best_weights, save_best_only=True, save_weights_only=True
            ),
            keras.callbacks.LambdaCallback(on_epoch_begin=clock.begin, on_epoch_end=clock.end),
        ],
    )
    network.load_weights(best_weights)
    _, accuracy = network.evaluate(test_images, test_labels, batch_size=_BATCH, verbose=0)
    # The same layers, without halves.
    keras.Model(network.input, network.output).save(output_dir / "model.keras")
    clock.write(output_dir)
    print(f"test accuracy {accuracy:.4f}")


def settings_of(config: configurations.Config) -> Settings:
    """The settings that Trainer would have, on this machine."""
    chosen = precision.resolve(config.training.precision, machine.cpu_features())
    values = {
        "precision": chosen,
        "seed": config.seed,
        "identity": "plain",
        "background": config.images.background,
    }
    return Settings.from_dict({**config.training.model_dump(), **values})


def load(folder: pathlib.Path, half: str) -> tuple[np.ndarray, np.ndarray]:
    """Images, float32 [N, height, width, channels] in [0, 1], and one-hot labels."""
    images, labels = map(idx_files.read, idx_files.paths(folder, half))
    scaled = images.reshape(*images.shape[:3], -1).astype(np.float32) / 255
    return scaled, keras.utils.to_categorical(labels)


def compiled_network(shape: tuple[int, int, int], classes: int, settings: Settings) -> keras.Model:
    """The network of a run, ready to be trained."""
    whole = build_network(shape, classes, settings)
    network = in_halves(whole, threads.are_halved(settings.batch_size))
    network.compile(
        optimizer=build_optimizer(settings),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=settings.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=False,
    )
    return network


if __name__ == "__main__":
    typer.run(main)
