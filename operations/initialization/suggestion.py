"""What `init` suggests, with the reason of each value."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from components import features
from components.messages import by, counted, listed, shown
from operations.initialization.doubts import bad_images, is_uneven, skipped_share, warnings
from operations.initialization.look import (
    BACKGROUNDS,
    UNDECIDED_SPLIT,
    Look,
    Sample,
    low_contrasts,
    percentiles,
)
from operations.initialization.opened import Wanted
from pipeline.config import Config, SplitConfig
from pipeline.errors import ConfigurationError

# Sides of square images, up to what two cores train in minutes.
_SIDES = (28, 32, 48, 64, 96, 128)
_COLOURS = {0: "black", 128: "gray", 255: "white"}
_BATCHES = (250, 128, 64, 32, 16)
_FEWEST_STEPS = 30
_WANTED_STEPS = 1000
_MOST_EPOCHS = 60
# Of the ratio of batch sizes. The square root (Malladi et al. 2022, arXiv:2205.10287) learned too
# little in so few epochs.
_RATE_EXPONENT = 0.25
# Share of all steps that the moving average of the weights reaches back, and its least reach.
_AVERAGED_SHARE = 0.05
_FEWEST_AVERAGED = 5
_TEST_SHARE = Config.model_fields["split"].default.test_share
# Share of images that have to have transparent parts to stand on the background, and to have
# colours to be photographs.
_MOST_TRANSPARENT, _MOST_COLOURED = 0.9, 0.5
# What a uniform border is like.
_GROUNDS = {"dark": 0, "bright": 255}


@dataclasses.dataclass(frozen=True)
class _Network:
    """A network for images up to a size.

    Attributes:
      side: Largest side of a square image.
      widths: Filters of each stage; each stage halves the image.
      pixels_per_second: Pixels that two cores train on in a second.
    """

    side: float
    widths: tuple[int, ...]
    pixels_per_second: float


# Each ends at maps of 3 to 5 pixels a side, and has 0.6 to 0.9 million weights. Filters at the full
# size cost the most time and memory, and widths that are no multiple of 16 are slow. The first one
# is the default: the speed is that of 15 epochs of 55,000 images of 28x28 pixels in 520 s
# (2026-11-26). Since 2026-11-30, 13 epochs take 246 s, so the estimate is cautious.
_NETWORKS = (
    _Network(40, Config.model_fields["training"].default.widths, 1.2e6),
    _Network(80, (16, 48, 96, 192), 3e6),
    _Network(math.inf, (16, 32, 64, 128, 192), 4e6),
)
# What a step takes besides its pixels: most of the time with small batches of small images.
_STEP_SECONDS = 0.02


@dataclasses.dataclass(frozen=True)
class Setting:
    """A value of the configuration file.

    Attributes:
      key: Dotted key.
      value: Value, as JSON has it.
      reason: Why this value, a sentence or two.
    """

    key: str
    value: Any
    reason: str


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """What `init` writes.

    Attributes:
      shape: Height, width and channels of an image.
      size_reason: Why this height and width.
      channels_reason: Why this number of channels.
      settings: Further keys.
      warnings: What a person should look at before the first run, a sentence each.
      training_images: About the number of images to train on.
    """

    shape: tuple[int, int, int]
    size_reason: str
    channels_reason: str
    settings: tuple[Setting, ...]
    warnings: tuple[str, ...]
    training_images: int

    def value(self, key: str, default: Any) -> Any:
        """The value of a key, which has this default where it is left out."""
        return next((each.value for each in self.settings if each.key == key), default)

    @property
    def epochs(self) -> int:
        """Maximum number of epochs."""
        epochs: int = self.value("training.epochs", Config.model_fields["training"].default.epochs)
        return epochs

    @property
    def training_seconds(self) -> float:
        """A rough estimate of the time that training takes on two cores."""
        height, width, _ = self.shape
        training = Config.model_fields["training"].default
        widths = tuple(self.value("training.widths", training.widths))
        known = {network.widths: network.pixels_per_second for network in _NETWORKS}
        of_pixels = height * width / known.get(widths, _NETWORKS[0].pixels_per_second)
        batch: int = self.value("training.batch_size", training.batch_size)
        return self.epochs * self.training_images * (of_pixels + _STEP_SECONDS / batch)


def suggest(look: Look, wanted: Wanted, asked: Config) -> Suggestion:
    """Suggests size, channels and settings.

    Args:
      look: What is known of the data.
      wanted: Size and channels that are asked for; what is None is suggested.
      asked: Configuration; other values are suggested to fit those that it sets.

    Raises:
      ConfigurationError: The data has pixels of another size than the one that is asked for.
    """
    if look.pixel_shape:
        _check_pixels(look.pixel_shape, wanted, look.is_guess)
    (height, width), size_reason = _size(look, wanted.size)
    chosen, channels_reason = _channels(look, wanted.channels)
    is_set = "background" in asked.images.model_fields_set
    ground: int = asked.images.background if is_set else _background(look.sample).value
    settings = (
        *_form(look),
        *_skipping(look, asked),
        *_spans(look),
        *_image_settings(look),
        *_split_settings(look, asked.split),
        *_widths(height, width),
        *_training(look),
        *_augmentation(look.sample, chosen, ground),
        *_gates(look),
    )
    return Suggestion(
        shape=(height, width, chosen),
        size_reason=size_reason,
        channels_reason=channels_reason,
        settings=settings,
        warnings=tuple(warnings(look, asked)),
        training_images=_training_images(look),
    )


def _form(look: Look) -> list[Setting]:
    if look.form is None:
        return []
    return [
        Setting(
            "data.form",
            look.form,
            "A run refuses data that is recognised as another form: where a table is damaged, the "
            "names of folders must not become the labels.",
        )
    ]


def _skipping(look: Look, asked: Config) -> list[Setting]:
    share = skipped_share(look)
    if (
        asked.data.bad_files != "skip"
        or "max_bad_share" in asked.data.model_fields_set
        or share <= asked.data.max_bad_share
    ):
        return []
    return [
        Setting(
            "data.max_bad_share",
            share,
            f"{bad_images(look)} A run leaves them out, up to this share of all images and of each "
            "split. It is about twice what was seen, as others may be bad, too.",
        )
    ]


def _spans(look: Look) -> list[Setting]:
    if not look.lacking:
        return []
    return [
        Setting(
            "spans.window",
            look.window,
            "Number of newest spans to train on: the fewest that have images of each class. With "
            f"the default, there are none of {listed(look.lacking)}.",
        )
    ]


def _check_pixels(shape: tuple[int, int, int], wanted: Wanted, is_guess: bool) -> None:
    height, width, depth = shape
    if wanted.size in (None, (height, width)) and wanted.channels in (None, depth):
        return
    if is_guess:
        raise ConfigurationError(
            f"the columns of pixels are taken for square images of {by(shape)}, and --channels "
            f"asks for {wanted.channels}; expected the same. Leave the option out, or give the "
            "size, too, with --size HxW."
        )
    raise ConfigurationError(
        f"the data holds pixels of {by(shape)}, and --size or --channels asks for others; expected "
        "the same. Leave the option out."
    )


def _size(look: Look, asked: tuple[int, int] | None) -> tuple[tuple[int, int], str]:
    if asked:
        return asked, "as --size asks for"
    sample = look.sample
    if look.pixel_shape and look.is_guess:
        return look.pixel_shape[:2], (
            f"guessed, since {math.prod(look.pixel_shape)} columns of pixels make a square image; "
            "give --size HxW if the images are not square"
        )
    sizes = set(zip(sample.heights.tolist(), sample.widths.tolist(), strict=True))
    largest = _SIDES[-1]
    common = next(iter(sizes))
    if len(sizes) == 1 and (look.pixel_shape or max(common) <= largest):
        return common, "all images that were looked at have this size"
    low, middle, high = percentiles(sample.short_sides)
    side = max((side for side in _SIDES if side <= middle), default=_SIDES[0])
    return (side, side), (
        f"the short side of the median image is {middle:,} pixels (5th percentile {low:,}, 95th "
        f"{high:,}); a smaller size trains faster, a larger one shows more detail"
    )


def _channels(look: Look, asked: int | None) -> tuple[int, str]:
    if look.pixel_shape:
        return look.pixel_shape[2], "as the data has it"
    if asked:
        return asked, "as --channels asks for"
    sample = look.sample
    decoded = len(sample.heights)
    if sample.gray == decoded:
        return 1, f"none of {decoded} images has colours"
    return 3, f"{decoded - sample.gray} of {decoded} images have colours"


def _image_settings(look: Look) -> list[Setting]:
    if look.pixel_shape:
        # Pixels have the schema's size already. The background matters to the augmentation, and to
        # image files that come to be classified.
        background = _background(look.sample)
        return [background] if background.value else []
    fit = Setting(
        "images.fit",
        "pad",
        "How images become the size above. pad keeps the whole image and its proportions, and "
        "fills up with the background; crop cuts off what is too long; stretch distorts.",
    )
    return [fit, _background(look.sample)]


def _background(sample: Sample) -> Setting:
    key = "images.background"
    best = sample.best_background
    if best is not None:
        contrasts = low_contrasts(sample.contrasts)
        parts = [
            f"{contrast:.0f} on {_COLOURS[background]}"
            for background, contrast in zip(BACKGROUNDS, contrasts, strict=True)
        ]
        return Setting(
            key,
            best,
            f"{len(sample.contrasts)} of {len(sample.heights)} images have transparent parts. Nine "
            f"of ten of them have a contrast of at least {', '.join(parts)} (standard deviation of "
            f"the brightness): they stand out best from {_COLOURS[best]}. Padding gets the same "
            "colour.",
        )
    bright = sample.border == "bright"
    return Setting(
        key,
        255 if bright else 0,
        f"The borders of the images are {sample.border}: padding and transparent pixels become "
        f"{_COLOURS[255 if bright else 0]}.",
    )


def _network(height: int, width: int) -> _Network:
    side = math.sqrt(height * width)
    return next(network for network in _NETWORKS if side <= network.side)


def _widths(height: int, width: int) -> list[Setting]:
    """More stages for larger images, of which the first is cheap."""
    widths = _network(height, width).widths
    default = _NETWORKS[0].widths
    if widths == default:
        return []
    ends, ended = (
        "x".join(str(math.ceil(side / 2 ** len(each))) for side in (height, width))
        for each in (widths, default)
    )
    return [
        Setting(
            "training.widths",
            list(widths),
            f"Filters of each stage. Each stage halves the image: {len(widths)} of them end at "
            f"{ends} pixels, the {len(default)} of the default at {ended}. The first has few "
            "filters, since they cost most at the full size.",
        )
    ]


def _split_settings(look: Look, asked: SplitConfig) -> list[Setting]:
    settings = []
    if not look.has_test:
        settings.append(
            Setting(
                "split.test_share",
                look.division.test_share,
                f"The data has no test images of its own: this share of {_drawn_from(look)} is "
                f"drawn{_why_share(look)}. An image stays in its split when you add others.",
            )
        )
    if not look.has_validation:
        settings.append(_validation(look, asked.group))
    elif asked.group is not None:
        settings.append(_unused_validation(look))
    return settings


def _unused_validation(look: Look) -> Setting:
    return Setting(
        "split.validation",
        look.division.validation,
        "Beside split.group, a share is expected. The data names its validation images, so that "
        "none are drawn.",
    )


def _drawn_from(look: Look) -> str:
    span = look.tested.span
    images = "the images" if span is None else f"the images of span {span}"
    return f"{images} that are not for validation" if look.has_validation else images


def _why_share(look: Look) -> str:
    if look.division.test_share == _TEST_SHARE:
        return ""
    return f", more than the default of {_TEST_SHARE}, which leaves a small class without any"


def _validation(look: Look, group: str | None) -> Setting:
    smallest = min(_trained(look))
    validation = look.division.validation
    if group is not None:
        reason = "A share of all: beside split.group, no number of each class is possible."
    elif validation >= 1:
        reason = f"A number per class: the smallest has {smallest:,} images."
    else:
        reason = f"A share of all, since the smallest class has {smallest:,} images to train on."
    return Setting("split.validation", validation, reason)


def _training(look: Look) -> list[Setting]:
    """Batches small enough, and epochs enough, for the steps that a training needs."""
    total = _training_images(look)
    default = Config.model_fields["training"].default
    batch = next((each for each in _BATCHES if total >= _FEWEST_STEPS * each), _BATCHES[-1])
    steps = max(math.ceil(total / batch), 1)
    epochs = min(max(math.ceil(_WANTED_STEPS / steps), default.epochs), _MOST_EPOCHS)
    settings = []
    if batch != default.batch_size:
        settings.append(
            Setting(
                "training.batch_size",
                batch,
                f"Smaller than the default of {default.batch_size}, with which an epoch of about "
                f"{total:,} images would have few steps.",
            )
        )
        settings.append(_learning_rate(batch))
    if epochs != default.epochs:
        settings += [
            Setting(
                "training.epochs",
                epochs,
                f"An epoch has about {counted(steps, 'step')}, and a network needs hundreds to "
                f"learn: the default of {default.epochs} epochs would be too few. Training ends "
                "sooner where it makes no more progress.",
            ),
            *_patience(epochs),
        ]
    average = _average(steps * epochs, default.ema_momentum)
    settings += [average] if average.value != default.ema_momentum else []
    return [*settings, *_class_weights(look)]


def _learning_rate(batch: int) -> Setting:
    """The rate for a smaller batch: with that of the default, gray photographs were not learned."""
    default = Config.model_fields["training"].default
    rate = default.learning_rate * (batch / default.batch_size) ** _RATE_EXPONENT
    return Setting(
        "training.learning_rate",
        float(f"{rate:.2g}"),
        f"Smaller batches have noisier gradients: lower than the default of "
        f"{default.learning_rate}, which is for {default.batch_size} images.",
    )


def _augmentation(sample: Sample, channels: int, ground: int) -> list[Setting]:
    """Changes that do not make an image look like none of the data.

    Args:
      sample: The images that were looked at.
      channels: Number of channels of the images.
      ground: Brightness of padding, `images.background`.
    """
    return [
        Setting(
            "training.augmentation.flip",
            True,
            "Training also shows mirror images. Set it to false where left and right matter, as "
            "with letters and digits.",
        ),
        _fill(sample, ground),
        *(_photographed(channels) if _are_photographs(sample, ground) else []),
    ]


def _on_background(sample: Sample, ground: int) -> bool:
    """Whether the images show something on a ground of this brightness."""
    if len(sample.contrasts) >= _MOST_TRANSPARENT * len(sample.heights):
        return True
    return _GROUNDS.get(sample.border) == ground


def _are_photographs(sample: Sample, ground: int) -> bool:
    decoded = len(sample.heights)
    coloured = decoded - sample.gray > _MOST_COLOURED * decoded
    return coloured and sample.border == "mixed" and not _on_background(sample, ground)


def _fill(sample: Sample, ground: int) -> Setting:
    key = "training.augmentation.fill"
    if _on_background(sample, ground):
        return Setting(
            key,
            "background",
            "Training also shows shifted images. The images have an even ground: what moves in has "
            f"its brightness, {_COLOURS.get(ground, ground)} as images.background.",
        )
    if _are_photographs(sample, ground):
        return Setting(
            key,
            "reflect",
            "Training also shows shifted images. Most images have colours, and their borders are "
            "neither all dark nor all bright, as with photographs: what moves in is the mirrored "
            "image, which looks more like a photograph than an even bar.",
        )
    return Setting(
        key,
        "edge",
        "Training also shows shifted images. Not all borders are as bright as the background: what "
        "moves in is the nearest pixel. A mirrored image would add parts of what it shows.",
    )


def _photographed(channels: int) -> list[Setting]:
    """Changes as between two photographs of one thing."""
    settings = [
        Setting(
            "training.augmentation.crop",
            0.2,
            "Photographs show things from near and far, and not always in the middle: up to a "
            "fifth of height and width is cut off. Set it to 0 where size matters, or what is at "
            "the border.",
        ),
        Setting(
            "training.augmentation.brightness",
            0.1,
            "Photographs are taken in different light. Set it to 0 where brightness tells classes "
            "apart.",
        ),
        Setting(
            "training.augmentation.contrast",
            0.2,
            "Light and cameras differ in contrast, too. Set it to 0 where contrast tells classes "
            "apart.",
        ),
    ]
    if channels == 1:
        return settings
    colour = Setting(
        "training.augmentation.colour",
        0.3,
        "Cameras show colours more or less strongly. Set it to 0 where strong and pale colours "
        "tell classes apart, as with fruit that ripens.",
    )
    return [*settings, colour]


def _patience(epochs: int) -> list[Setting]:
    return [
        Setting(
            "training.plateau_patience",
            math.ceil(epochs / 4),
            "A quarter of the epochs: after so many without progress, the learning rate is cut. "
            "With few images, single epochs are better or worse by chance.",
        ),
        Setting(
            "training.early_stopping_patience",
            math.ceil(epochs / 2),
            "Half of the epochs: after so many without progress, training ends.",
        ),
    ]


def _average(steps: int, default: float) -> Setting:
    """The momentum of the moving average of the weights, which must not lag behind for long."""
    key = "training.ema_momentum"
    averaged = _AVERAGED_SHARE * steps
    if averaged < _FEWEST_AVERAGED:
        return Setting(key, 0.0, f"No moving average of the weights: {steps} steps are too few.")
    momentum = min(round(1 - 1 / averaged, 2), default)
    return Setting(
        key,
        momentum,
        f"Weights are averaged over about {1 / (1 - momentum):.0f} steps, a twentieth of all. The "
        f"default of {default} would average over {1 / (1 - default):.0f}, and lag behind.",
    )


def _training_images(look: Look) -> int:
    """About the number of images to train on."""
    trained = _trained(look)
    if look.has_validation:
        return sum(trained)
    validation = look.division.validation
    left_out = validation * len(trained) if validation >= 1 else validation * sum(trained)
    return sum(trained) - math.ceil(left_out)


def _gates(look: Look) -> list[Setting]:
    drop, drop_reason = _most_drop(look)
    return [
        *(_uneven_gates(look) if is_uneven(look) else [_accuracy_gate(look)]),
        _recall_gate(look),
        Setting(
            "gates.accuracy_drop",
            drop,
            f"How much worse than the served model a new one may be. {drop_reason}",
        ),
        *([_most_balanced_drop(look)] if is_uneven(look) else []),
    ]


def _recall_gate(look: Look) -> Setting:
    key = "gates.class_recall"
    after = "After the first run, set it a little below the recall of the weakest class."
    if is_uneven(look):
        return Setting(key, 0.01, f"At least one test image of each class is recognised. {after}")
    return Setting(key, 0.0, f"No gate yet. {after}")


def _accuracy_gate(look: Look) -> Setting:
    accuracy, reason = _least_accuracy(look)
    return Setting(
        "gates.accuracy",
        accuracy,
        f"{reason} After the first run, set it a little below the accuracy that the run reached.",
    )


def _uneven_gates(look: Look) -> list[Setting]:
    """A threshold that counts each class alike, in place of one on accuracy."""
    name, share = _most_tested(look)
    constant = 1 / len(look.class_names)
    # A twentieth of the way from there to 1.
    least = math.ceil(1000 * (constant + 0.05 * (1 - constant))) / 1000
    return [
        Setting(
            "gates.accuracy",
            0.0,
            f"No gate: a model that always answers {name} has an accuracy of about {share:.3f}, "
            "and with class weights a good one may have less.",
        ),
        Setting(
            "gates.balanced_accuracy",
            least,
            f"The mean recall of the classes: above {constant:.3f}, which a model reaches that "
            "always gives the same answer. After the first run, set it a little below what the run "
            "reached.",
        ),
    ]


def _class_weights(look: Look) -> list[Setting]:
    if not is_uneven(look):
        return []
    counts = look.per_class
    return [
        Setting(
            "training.class_weights",
            "balanced",
            f"The largest class has {max(counts) / min(counts):.0f} times the images of the "
            "smallest: in training, each class counts alike.",
        )
    ]


def _most_drop(look: Look) -> tuple[float, str]:
    """A drop in accuracy that chance alone may cause, and why."""
    count = max(sum(look.test_images), 1.0)
    # The standard deviation of an accuracy of 0.9.
    chance = math.ceil(1000 * math.sqrt(0.9 * 0.1 / count)) / 1000
    default: float = Config.model_fields["gates"].default.accuracy_drop
    if chance <= default:
        return default, f"On {count:,.0f} test images, accuracy varies less than that by chance."
    return chance, (
        f"On about {counted(round(count), 'test image')}, accuracy varies as much by chance. With "
        "more of them, set it lower."
    )


def _most_balanced_drop(look: Look) -> Setting:
    """A drop in balanced accuracy that chance alone may cause."""
    counts = [max(count, 1.0) for count in look.test_images]
    # The standard deviation of the mean of recalls of 0.9.
    chance = math.sqrt(sum(0.9 * 0.1 / count for count in counts)) / len(counts)
    default: float = Config.model_fields["gates"].default.accuracy_drop
    return Setting(
        "gates.balanced_accuracy_drop",
        max(math.ceil(1000 * chance) / 1000, default),
        "The most that the balanced accuracy may fall: a model that gives up a rare class may gain "
        f"accuracy. On about {counted(round(min(counts)), 'test image')} of the smallest class, it "
        "varies as much by chance.",
    )


def _most_tested(look: Look) -> tuple[str, float]:
    """The class with the most test images, and the share of them that it has."""
    counts = look.tested.counts
    most = max(counts)
    return shown(look.class_names[counts.index(most)]), most / max(sum(counts), 1)


def _least_accuracy(look: Look) -> tuple[float, str]:
    """An accuracy that no model reaches which always gives the same answer, and why."""
    name, share = _most_tested(look)
    # A twentieth of the way from there to 1.
    margin = 0.05 * (1 - share)
    reason = (
        f"Above {share:.3f}, the share of the largest class ({name}), so that a model which always "
        "answers with it is refused."
    )
    if not look.has_test:
        drawn = max(1.0, sum(look.test_images))
        # Twice the standard deviation, up to half of the way to 1.
        chance = 2 * math.sqrt(share * (1 - share) / drawn)
        margin = min(max(margin, chance), (1 - share) / 2)
        reason += f" On about {drawn:,.0f} test images, that share varies by chance."
    return min(math.ceil(1000 * (share + margin)) / 1000, 0.999), reason


def _trained(look: Look) -> list[int]:
    """About the number of images of each class to train on, and to draw a validation split from."""
    withheld = look.tested.withheld(look.division.test_share)
    splits = (look.counts[features.TRAIN_SPLIT], look.counts[UNDECIDED_SPLIT], withheld)
    return [math.floor(train + rest - drawn) for train, rest, drawn in zip(*splits, strict=True)]
