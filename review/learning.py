"""How the model was trained, and a look inside it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pydantic

from components import features
from pipeline.nodes import TRAINER
from pipeline.records.outcomes import NodeStatus
from pipeline.records.receipt import WarmStart
from review.album import Album, image_sheet
from review.artifacts import MODEL_RUN, FinishedRun, Gaps, read, read_arrays
from review.summary import Epoch, FeatureMaps, Gallery, Inside, Sheet, Training

_SAMPLES = 40
_MAP_COLUMNS = 16
# Augmented images and feature maps are of one image of each class. The rest say the same.
_IMAGES = 10
_MOST_BYTES_AUGMENTED, _MOST_BYTES_OF_MAPS = 120_000, 4_000
_SEED = 1
_INNER = "augmentation."
# What moves into an image that one of these changed.
_FILL = "fill"
_FILLED = ("rotation", "shift", "shear", "zoom")
_FILLS = {
    "background": "the brightness of the background",
    "edge": "the nearest pixel",
    "reflect": "the mirrored image",
}
# How much each augmentation changes an image, with a place for its setting.
_AUGMENTATIONS = {
    "rotation": "up to {:g} degrees, either way",
    "shift": "up to {:.1%} of height and width, either way",
    "shear": "up to {:.1%} of the width, either way",
    "zoom": "up to {:.1%} of the size, either way",
    "crop": "up to {:.1%} of height and width cut off, the rest enlarged",
    "flip": "left to right, every other image",
    "flip_vertical": "top to bottom, every other image",
    "brightness": "up to {:.1%} of black to white, either way",
    "contrast": "up to {:.1%} of the contrast, either way",
    "colour": "up to {:.1%} of the saturation, either way",
    "erasing": "a rectangle turned to noise in {:.1%} of the images",
}


class _Entry(pydantic.BaseModel):
    """An epoch in the history that Trainer writes."""

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float


class _Settings(pydantic.BaseModel):
    """The settings of a training that the page shows."""

    epochs: int
    minutes: float | None
    label_smoothing: float
    augmentation: dict[str, bool | float | str]


_HISTORY = pydantic.TypeAdapter(list[_Entry])


def training(run: FinishedRun, gaps: Gaps) -> Training:
    """How the model was trained.

    Args:
      run: Run that has ended.
      gaps: Keeps why there are no augmented examples.

    Raises:
      AbsentError: where the run did not get to training, or its history is gone.
    """
    epochs = list(map(_epoch, read(run.path(MODEL_RUN, features.HISTORY_FILE), _history)))
    settings = _Settings.model_validate(run.receipt.config["training"])
    tuned = run.receipt.hyperparameters
    chosen = tuned or {}
    return Training(
        epochs=epochs,
        chosen_epoch=min(epochs, key=lambda epoch: epoch.validation_loss).epoch,
        planned_epochs=run.receipt.settled_epochs or settings.epochs,
        budget_seconds=None if settings.minutes is None else 60 * settings.minutes,
        label_smoothing=chosen.get("label_smoothing", settings.label_smoothing),
        seconds=_seconds(run),
        augmented=gaps.fill("training.augmented", lambda: _augmented(run)),
        augmentation=_augmentation(settings, chosen),
        hyperparameters=None if tuned is None else {k: str(v) for k, v in tuned.items()},
        warm_start_from=_warm_start(run.receipt.warm_start_from),
    )


def _history(content: bytes) -> list[_Entry]:
    return _HISTORY.validate_json(content)


def _epoch(entry: _Entry) -> Epoch:
    return Epoch(
        epoch=entry.epoch,
        loss=entry.loss,
        accuracy=entry.accuracy,
        validation_loss=entry.val_loss,
        validation_accuracy=entry.val_accuracy,
        learning_rate=entry.learning_rate,
    )


def _seconds(run: FinishedRun) -> float | None:
    node = run.nodes[TRAINER]
    return None if node.status == NodeStatus.CACHED else node.seconds


def _augmented(run: FinishedRun) -> Sheet:
    """A row per image: the original, then its augmented variants."""
    arrays = read_arrays(run.path(MODEL_RUN, features.AUGMENTED_FILE))
    originals, augmented = (arrays[name][:_IMAGES] for name in ("originals", "augmented"))
    rows = np.concatenate([originals[:, np.newaxis], augmented], axis=1)
    return image_sheet(rows.reshape(-1, *rows.shape[2:]), rows.shape[1], _MOST_BYTES_AUGMENTED)


def _augmentation(settings: _Settings, tuned: Mapping[str, float]) -> dict[str, str]:
    chosen = {k.removeprefix(_INNER): v for k, v in tuned.items() if k.startswith(_INNER)}
    values = {**settings.augmentation, **chosen}
    fill = str(values.pop(_FILL))
    told = {name: _AUGMENTATIONS[name].format(value) for name, value in values.items() if value}
    moved = any(values[name] for name in _FILLED)
    return {**told, _FILL: _FILLS[fill]} if moved else told


def _warm_start(model: WarmStart | None) -> str | None:
    if model is None:
        return None
    known = model.version is not None
    served = f"served version {model.version}" if known else "a model no longer served"
    return f"{served}, digest {model.digest}"


def inside(run: FinishedRun, album: Album, gaps: Gaps) -> Inside:
    """A random sample of the test images, and feature maps of the network.

    Args:
      run: Run that has ended.
      album: Takes the samples.
      gaps: Keeps why there are no feature maps.
    """
    maps = gaps.fill("inside.feature_maps", lambda: _feature_maps(run, album))
    return Inside(samples=_samples(album), feature_maps=maps or [])


def _samples(album: Album) -> Gallery:
    """Random images, as many of each class as the number allows, class by class."""
    labels = album.predictions.labels
    drawn = np.random.default_rng(_SEED).permutation(len(labels))
    turn = np.empty(len(labels), int)
    for label in np.unique(labels):
        members = drawn[labels[drawn] == label]
        turn[members] = np.arange(len(members))
    # The first drawn of every class, then the second of every class, and so on.
    first = drawn[np.argsort(turn[drawn], kind="stable")][:_SAMPLES]
    return album.gallery(first[np.argsort(labels[first], kind="stable")], _SAMPLES)


def _feature_maps(run: FinishedRun, album: Album) -> list[FeatureMaps]:
    arrays = read_arrays(run.path(MODEL_RUN, features.FEATURE_MAPS_FILE))
    found = album.predictions
    label_of = dict(zip(found.ids, found.labels.tolist(), strict=True))
    ids = [example_id.decode() for example_id in arrays["ids"].tolist()]
    return [
        FeatureMaps(
            example_id=example_id,
            label=found.class_names[label_of[example_id]],
            image=image_sheet(arrays["images"][number : number + 1], 1, _MOST_BYTES_OF_MAPS),
            blocks={
                name: image_sheet(
                    arrays[name][number][..., np.newaxis], _MAP_COLUMNS, _MOST_BYTES_OF_MAPS
                )
                for name in arrays["blocks"].tolist()
            },
        )
        for number, example_id in enumerate(ids[:_IMAGES])
    ]
