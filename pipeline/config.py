"""The one configuration of a run: typed, validated, frozen.

A profile changes some defaults, a configuration file or `--set key=value` changes single ones;
nothing else does.
"""

from __future__ import annotations

import difflib
import functools
import json
import operator
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import pydantic
import pydantic_core
from pydantic import JsonValue

from components.class_names import composed
from components.data_form import Form
from components.messages import shown, shown_value
from components.object_store import SCHEME, odd_name
from components.reading_report import BadFiles, FitName
from components.slices import MIN_IMAGES, RESERVED, Slicing, cleaned, is_column_name, is_value
from components.trainer.fill import Fill
from pipeline.database.address import FORM, Address, AddressError, parse
from pipeline.errors import ConfigurationError
from pipeline.profiles import PROFILES, SAMPLE_VALUES


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a valid number")
    return value


# Not 1 for `true`.
Number = Annotated[float, pydantic.BeforeValidator(_number)]
Share = Annotated[Number, pydantic.Field(ge=0, le=1)]
# null asks for nothing.
Gate = Annotated[float, pydantic.Field(ge=0, le=1, strict=True)] | None
# What NumPy can count with, and JSON can say exactly.
_MOST_COUNTED = 2**53
# Strict: `true` is no count.
Count = Annotated[int, pydantic.Field(ge=1, le=_MOST_COUNTED, strict=True)]
SpanNumber = Annotated[int, pydantic.Field(ge=0, le=_MOST_COUNTED, strict=True)] | None
# Neither nothing nor everything.
OpenShare = Annotated[float, pydantic.Field(gt=0, lt=1, strict=True)]


def _count_or_share(value: object) -> object:
    is_count = type(value) is int and 1 <= value <= _MOST_COUNTED
    if not is_count and not (type(value) is float and 0 < value < 1):
        raise ValueError("a whole number from 1, or a share between 0 and 1")
    return value


def _class_weights(value: object) -> object:
    if value in ("none", "balanced"):
        return value
    weights = value if isinstance(value, dict) else {}
    if not weights or not all(map(_is_weight, weights.values())):
        raise ValueError(
            f"none, balanced, or a weight from {_LEAST_WEIGHT:g} to {_MOST_WEIGHT:g} for each "
            'class by its name, with --set as JSON, such as {"Shirt": 2.5}'
        )
    return {composed(name): weight for name, weight in weights.items()}


def _is_weight(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return _LEAST_WEIGHT <= value <= _MOST_WEIGHT


# Beyond them, the weights of other classes would be lost in float32.
_LEAST_WEIGHT, _MOST_WEIGHT = 1e-6, 1e6
ClassWeights = Annotated[
    Literal["none", "balanced"] | dict[str, float], pydantic.BeforeValidator(_class_weights)
]
CountOrShare = Annotated[int | float, pydantic.BeforeValidator(_count_or_share)]
Severity = Literal["stop", "warn"]
Precision = Literal["auto", "float32", "bfloat16"]
# Type of errors whose message says what was found: the value itself may be a secret.
_TOLD_WHOLE = "told_whole"


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(_Section):
    """How data is read."""

    bad_files: BadFiles = pydantic.Field(
        "stop", description="stop on images that cannot be used, or skip and report them"
    )
    max_bad_share: Share = pydantic.Field(
        0.01, description="maximum share of all images, and of each split, that skip may leave out"
    )
    outside_files: bool = pydantic.Field(
        False, description="whether paths and links may lead out of the data folder"
    )
    form: Form | None = pydantic.Field(
        None,
        description="expected form of the data; data of another form is refused; null: whatever is "
        "recognised",
    )
    path_column: str | None = pydantic.Field(
        None, description="manifest column with the path; null: found by the usual names"
    )
    label_column: str | None = pydantic.Field(
        None, description="manifest column with the label; null: found by the usual names"
    )
    id_column: str | None = pydantic.Field(
        None, description="manifest column with the id; null: found by the usual names"
    )
    split_column: str | None = pydantic.Field(
        None, description="manifest column with the split; null: found by the usual names"
    )


class ImagesConfig(_Section):
    """How an image file becomes an image of the schema's size."""

    fit: FitName = pydantic.Field(
        "pad", description="pad, crop or stretch images of another size than the schema's"
    )
    background: int = pydantic.Field(
        0,
        ge=0,
        le=255,
        strict=True,
        description="brightness of padding and of transparent pixels, 0 (black) to 255 (white)",
    )


class SplitConfig(_Section):
    """How images are divided into train, val and test, where the data does not say."""

    group: str | None = pydantic.Field(
        None,
        description="what keeps pictures of one object in one split: a manifest column, or a "
        "regular expression on the id (relative path); needs a share as split.validation; null: "
        "nothing",
    )
    test_share: OpenShare = pydantic.Field(
        0.15, description="share of images for the test split, if the data has none"
    )
    validation: CountOrShare = pydantic.Field(
        500,
        validate_default=True,
        description="validation images, from which the best epoch is chosen: a number per class, "
        "or a share of all below 1",
    )

    @pydantic.field_validator("validation")
    @classmethod
    def _keeps_groups(cls, validation: float, found: pydantic.ValidationInfo) -> float:
        if isinstance(validation, int) and found.data.get("group") is not None:
            raise ValueError(
                "a share such as 0.1 beside split.group, as a number of images of "
                "each class would tear groups apart"
            )
        return validation


class SpansConfig(_Section):
    """Which spans are taken of data that comes in spans."""

    window: Count = pydantic.Field(1, description="number of newest spans to train on")
    newest: SpanNumber = pydantic.Field(
        None, description="newest span to train on; null: the highest number available"
    )
    reference: SpanNumber = pydantic.Field(
        None, description="span to test on; null: the lowest number with test files"
    )


class DataGateConfig(_Section):
    """What stops a run before training."""

    anomalies: Severity = pydantic.Field(
        "stop", description="stop or warn on data that violates the schema"
    )
    drift: Severity = pydantic.Field(
        "stop", description="stop or warn on labels that drifted from the served model's data"
    )
    duplicates: Severity = pydantic.Field(
        "stop", description="stop or warn on test images that are also trained on"
    )
    validation_duplicates: Severity = pydantic.Field(
        "warn", description="stop or warn on validation images that are also in train"
    )
    conflicting_labels: Severity = pydantic.Field(
        "stop", description="stop or warn on identical images with different labels"
    )
    equal_images: Severity = pydantic.Field(
        "stop", description="stop or warn on training images that are all identical"
    )
    constant_class: Severity = pydantic.Field(
        "stop", description="stop or warn on a class whose training images are all identical"
    )
    brightness: Severity = pydantic.Field(
        "stop",
        description="stop or warn on training and test images that differ much in brightness",
    )
    max_duplicates: int = pydantic.Field(
        0,
        ge=0,
        le=_MOST_COUNTED,
        strict=True,
        description="number of test images allowed in train or val",
    )


class AugmentationConfig(_Section):
    """Random changes of the training images; 0 or false switches one off."""

    rotation: Number = pydantic.Field(0.0, ge=0, le=180, description="maximum rotation, in degrees")
    shift: Share = pydantic.Field(0.04, description="maximum shift, as a share of height and width")
    shear: Share = pydantic.Field(0.0, description="maximum shear, as a share of the width")
    zoom: Share = pydantic.Field(0.0, description="maximum zoom, as a share of the size")
    crop: Number = pydantic.Field(
        0.0,
        ge=0,
        lt=1,
        description="maximum share of height and width to cut off; the rest is enlarged",
    )
    flip: bool = pydantic.Field(True, description="mirror left to right")
    flip_vertical: bool = pydantic.Field(False, description="mirror top to bottom")
    fill: Fill = pydantic.Field(
        "background",
        description="what moves into the image: the brightness of images.background, the nearest "
        "pixel (edge), or the mirrored image (reflect)",
    )
    brightness: Share = pydantic.Field(
        0.0, description="maximum change of brightness, as a share of black to white"
    )
    contrast: Share = pydantic.Field(
        0.0, description="maximum change of contrast, as a share of it"
    )
    colour: Share = pydantic.Field(
        0.0, description="maximum change of saturation, as a share of it; nothing in gray images"
    )
    erasing: Share = pydantic.Field(0.1, description="probability that a rectangle becomes noise")


class TrainingConfig(_Section):
    """The network and its training."""

    precision: Precision = pydantic.Field(
        "auto",
        description="precision of training: float32, bfloat16, or auto, which is bfloat16 "
        "where the processor has it; the export is always float32",
    )
    widths: tuple[Count, ...] = pydantic.Field(
        (48, 96, 192), min_length=1, max_length=5, description="filters of each stage"
    )
    whitening: bool = pydantic.Field(
        True,
        description="a convolution before the first stage whitens patches of the images and does "
        "not learn; a warm start keeps that of the served model",
    )
    dropout: Number = pydantic.Field(0.0, ge=0, lt=1, description="dropout rate before the head")
    l2: Number = pydantic.Field(0.0, ge=0, description="L2 penalty on kernels, added to the loss")
    weight_decay: Number = pydantic.Field(
        0.1, ge=0, description="decoupled weight decay, multiplied by the learning rate"
    )
    epochs: Count = pydantic.Field(13, description="maximum number of epochs")
    minutes: float | None = pydantic.Field(
        None,
        gt=0,
        # A year.
        le=525_600,
        strict=True,
        description="time for training in minutes: as many epochs as this machine trains in it, "
        "whatever training.epochs says; null leaves the number to training.epochs",
    )
    batch_size: Count = pydantic.Field(
        250, description="images per step; from 128 on, a step takes them in two halves"
    )
    optimizer: Literal["muon", "adam"] = pydantic.Field(
        "muon", description="muon for the convolutions and AdamW for the rest, or adam for all"
    )
    learning_rate: Number = pydantic.Field(0.006, gt=0, description="peak learning rate")
    warm_up: Number = pydantic.Field(
        0.2, ge=0, lt=1, description="share of the training that warms the learning rate up"
    )
    ema_momentum: Number = pydantic.Field(
        0.99,
        ge=0,
        lt=1,
        description="momentum of the weights' moving average; 0 switches it off",
    )
    class_weights: ClassWeights = pydantic.Field(
        "none",
        description="weights of the classes in the loss: none; balanced, the same for each class "
        "as a whole; or a table of weights by class name, in which other classes have 1",
    )
    label_smoothing: Number = pydantic.Field(
        0.1, ge=0, lt=1, description="label smoothing: share of each label spread over all classes"
    )
    plateau_patience: Count = pydantic.Field(
        5, description="epochs without progress before the learning rate is cut"
    )
    plateau_factor: Number = pydantic.Field(
        0.3, gt=0, lt=1, description="factor of the learning rate when it is cut"
    )
    early_stopping_patience: Count = pydantic.Field(
        10, description="epochs without progress before training ends"
    )
    flip_averaging: bool = pydantic.Field(
        False,
        description="test-time augmentation: average with the mirror image, at twice the cost",
    )
    shift_averaging: bool = pydantic.Field(
        False,
        description="test-time augmentation: average the image and two that are shifted by a "
        "pixel, at three times the cost",
    )
    warm_start: bool = pydantic.Field(
        False, description="start from the weights of the served model, if there is one"
    )
    deterministic: bool = pydantic.Field(
        True, description="bit-identical training from the same input on the same processor"
    )
    memory_megabytes: Count = pydantic.Field(
        4096,
        description="MiB of training images kept in memory; the rest comes from a temporary file",
    )
    augmentation: AugmentationConfig = AugmentationConfig()


class TunerConfig(_Section):
    """The search for hyperparameters ahead of the training, and its bounds."""

    enabled: bool = pydantic.Field(
        False, description="search for better values than those of `training`, and train with them"
    )
    # An end, since TensorFlow keeps the traced graph of each network in memory.
    trials: int = pydantic.Field(
        12, ge=1, le=100, strict=True, description="maximum number of trials"
    )
    epochs: Count = pydantic.Field(3, description="epochs of each trial")
    minutes: float = pydantic.Field(
        60.0,
        gt=0,
        strict=True,
        description="time limit in minutes; a trial under way ends with its epoch",
    )
    max_parameters: Count = pydantic.Field(
        2_000_000,
        description="maximum number of trainable parameters; larger networks are not tried",
    )


class SliceConfig(_Section):
    """A column of the data, by whose values the test images are divided into slices."""

    accuracy: Gate = pydantic.Field(None, description="minimum accuracy of each slice")
    min_images: Count = pydantic.Field(
        MIN_IMAGES, description="minimum number of images for a gate"
    )


def _slices(value: object) -> object:
    if not isinstance(value, dict) or not all(map(_is_slice, value.values())):
        raise ValueError(
            "a table with accuracy, min_images or neither for each column, such as "
            '{"shop": {"accuracy": 0.8, "min_images": 50}}'
        )
    refused = [name for name in value if not is_column_name(name)]
    if refused:
        raise ValueError(
            f"other names of columns than {refused[0]!r}: text in one line, without =, and none "
            f"of the reserved names {', '.join(sorted(RESERVED))}"
        )
    return value


def _is_slice(value: object) -> bool:
    if isinstance(value, SliceConfig):
        return True
    return isinstance(value, dict) and value.keys() <= SliceConfig.model_fields.keys()


Slices = Annotated[dict[str, SliceConfig], pydantic.BeforeValidator(_slices)]


class GatesConfig(_Section):
    """What a model must reach on the test split to be pushed."""

    accuracy: Share = pydantic.Field(0.90, description="minimum accuracy")
    balanced_accuracy: Gate = pydantic.Field(
        None, description="minimum balanced accuracy, the mean recall of the classes; null: no gate"
    )
    class_recall: Share = pydantic.Field(0.60, description="minimum recall of every class")
    accuracy_drop: Share = pydantic.Field(
        0.005, description="maximum drop in accuracy against the served model"
    )
    balanced_accuracy_drop: Gate = pydantic.Field(
        None,
        description="maximum drop in balanced accuracy against the served model; null: no gate",
    )
    slices: Slices = pydantic.Field(
        {},
        description="columns of a manifest that divide the test images into slices: a table by "
        "column, with accuracy (minimum of each slice; null: no gate) and min_images (50; slices "
        "with fewer test images are not judged)",
    )
    required_slices: tuple[str, ...] = pydantic.Field(
        (), description="slices that must have enough test images to be judged, column=value each"
    )

    @pydantic.field_validator("required_slices", mode="before")
    @classmethod
    def _are_judged(cls, names: object, found: pydantic.ValidationInfo) -> object:
        if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
            raise ValueError('a list such as ["shop=north"]')
        judged = found.data.get("slices", {})
        for name in names:
            column, _, value = name.partition("=")
            if (
                not (value.strip() and is_value(value))
                or column not in judged
                or judged[column].accuracy is None
            ):
                raise ValueError(
                    f"column=value, of a column to which gates.slices gives an accuracy, instead "
                    f"of {name!r}"
                )
        return names

    def slicings(self) -> list[Slicing]:
        """The gates on slices, by column."""
        return [
            Slicing(name, column.accuracy, column.min_images, self._required(name))
            for name, column in self.slices.items()
        ]

    def _required(self, column: str) -> tuple[str, ...]:
        named = [name.partition("=") for name in self.required_slices]
        values = [cleaned(value) for name, _, value in named if name == column]
        return tuple(dict.fromkeys(values))


# Without a password, a query, or a pattern.
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[A-Za-z0-9._=+-]+)*")


def _bucket(value: object) -> object:
    if value is not None:
        is_address = isinstance(value, str) and _BUCKET.fullmatch(value)
        if not is_address or odd_name(str(value).removeprefix(SCHEME)):
            raise ValueError(
                "null, or s3://BUCKET/FOLDER with names of letters, digits and . _ = + -, without "
                "a password"
            )
    return value


Bucket = Annotated[str | None, pydantic.BeforeValidator(_bucket)]


class ServingConfig(_Section):
    """Where published versions go beside the serving folder of the pipeline."""

    bucket: Bucket = pydantic.Field(
        None,
        description="folder in a bucket, s3://BUCKET/FOLDER, that gets a copy of each published "
        "version, with a marker when it is whole; smoke and sample runs use one of their own below "
        "it; null: none",
    )


class RobustnessConfig(_Section):
    """The evaluation on corrupted test images, and what a model must reach on them."""

    enabled: bool = pydantic.Field(
        False, description="also evaluate on corrupted test images: noise, blur, rotation and more"
    )
    accuracy_1: Gate = pydantic.Field(
        None,
        description="minimum accuracy under each corruption at strength 1 (mildest); null: no gate",
    )
    accuracy_2: Gate = pydantic.Field(
        None, description="minimum accuracy under each corruption at strength 2; null: no gate"
    )
    accuracy_3: Gate = pydantic.Field(
        None,
        description="minimum accuracy under each corruption at strength 3 (hardest); null: no gate",
    )

    @pydantic.field_validator("accuracy_1", "accuracy_2", "accuracy_3")
    @classmethod
    def _is_judged(cls, least: float | None, found: pydantic.ValidationInfo) -> float | None:
        # A gate that nothing is measured for would pass every model in silence.
        if least is not None and not found.data.get("enabled"):
            raise ValueError("null, or robustness.enabled=true beside it")
        return least

    def thresholds(self) -> dict[int, float]:
        """The least accuracy by strength, where there is one."""
        asked = {1: self.accuracy_1, 2: self.accuracy_2, 3: self.accuracy_3}
        return {strength: least for strength, least in asked.items() if least is not None}


class MetadataConfig(_Section):
    """Where ML Metadata and the lock of the pipeline are."""

    uri: str | None = pydantic.Field(
        None,
        description=f"PostgreSQL database for ML Metadata and the lock, {FORM}; the password comes "
        "from PGPASSWORD or ~/.pgpass; null: a file in the output folder",
    )

    @pydantic.field_validator("uri")
    @classmethod
    def _is_address(cls, uri: str | None) -> str | None:
        try:
            return None if uri is None else parse(uri).uri
        except AddressError as error:
            # Without the value, which may hold a password.
            raise pydantic_core.PydanticCustomError(
                _TOLD_WHOLE, "{problem}", {"problem": str(error)}
            ) from error

    @property
    def address(self) -> Address | None:
        """The database; None for a file."""
        return None if self.uri is None else parse(self.uri)


Runner = Literal["local", "flink", "prism", "portable"]
WorkerEnvironment = Literal["loopback", "pool", "docker"]
# A host name or an IPv4 address, and a port; neither a scheme nor a login.
_ADDRESS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?:([0-9]{1,5})")
_MOST_PORT = 65535
_IMAGE = re.compile(r"[a-z0-9][^\s@]*(?:@sha256:[0-9a-f]{64})?")


def _address(value: str) -> str:
    matched = _ADDRESS.fullmatch(value)
    if matched and 1 <= int(matched[1]) <= _MOST_PORT:
        return value
    raise ValueError("a host and a port, such as flink.example.org:8081")


def _endpoint(value: str) -> str:
    return value if value == EMBEDDED else _address(value)


def _image(value: str) -> str:
    if _IMAGE.fullmatch(value):
        return value
    raise ValueError("the name of an image, such as registry.example.org/image-pipeline:1.0")


HostPort = Annotated[str, pydantic.AfterValidator(_address)]
# Beam's own job server, inside the process of the run.
EMBEDDED = "embed"


class BeamConfig(_Section):
    """The engine of the nodes' Beam pipelines; no result depends on it."""

    runner: Runner = pydantic.Field(
        "local",
        description="engine of the nodes: local (in the process of the run), flink, prism, or "
        "portable for any other engine behind Beam's job API",
    )
    job_endpoint: Annotated[str, pydantic.AfterValidator(_endpoint)] | None = pydantic.Field(
        None,
        description="host:port of a running Beam job server, for portable and flink; embed: one "
        "inside the process of the run, to try things out; null: none runs",
    )
    flink_job_server_jar: str | None = pydantic.Field(
        None,
        description="Beam's job server for Flink, a jar that `java -jar` starts; null: one runs at "
        "beam.job_endpoint",
    )
    flink_master: HostPort | None = pydantic.Field(
        None,
        description="host:port of the REST interface of Flink's job manager, for "
        "beam.flink_job_server_jar; null: Flink inside the job server",
    )
    prism_location: str | None = pydantic.Field(
        None, description="Prism's executable; null: `prism` on the search path"
    )
    environment: WorkerEnvironment = pydantic.Field(
        "loopback",
        description="where workers run: loopback (in the process of the run, for engines on the "
        "same machine), pool (beam.worker_pool) or docker (beam.worker_image)",
    )
    worker_pool: HostPort | None = pydantic.Field(
        None,
        description="host:port of `python -m components.worker_pool`, as the engine's machines "
        "see it; localhost: a pool on each of them",
    )
    worker_image: Annotated[str, pydantic.AfterValidator(_image)] | None = pydantic.Field(
        None, description="container image of the workers, with the lock and the worker package"
    )
    parallelism: Count | None = pydantic.Field(
        None, description="number of tasks at once on flink or portable; null: the engine's default"
    )
    options: tuple[str, ...] = pydantic.Field(
        (), description="further options for Beam, passed on as they are, as a JSON list"
    )


# What pipeline_name adds for runs that are not for production.
RESERVED_ENDINGS = ("-sample", "-smoke")


class Config(_Section):
    """Everything that decides what a run computes, beside the data and the code."""

    profile: str
    # TFX takes 63 characters, with the ending of a smoke run on the sample.
    name: str = pydantic.Field(
        "fashion-mnist",
        pattern=r"^[a-z0-9][a-z0-9-]*$",
        max_length=50,
        description="pipeline name",
    )
    schema_file: str = pydantic.Field(
        "schema/schema.pbtxt", description="data contract: image shape and class names"
    )
    seed: int = pydantic.Field(
        1,
        ge=0,
        lt=2**31,
        strict=True,
        description="random seed of split, weights, shuffling and augmentation",
    )
    spans: SpansConfig = SpansConfig()
    data: DataConfig = DataConfig()
    images: ImagesConfig = ImagesConfig()
    split: SplitConfig = SplitConfig()
    data_gate: DataGateConfig = DataGateConfig()
    training: TrainingConfig = TrainingConfig()
    tuner: TunerConfig = TunerConfig()
    gates: GatesConfig = GatesConfig()
    serving: ServingConfig = ServingConfig()
    robustness: RobustnessConfig = RobustnessConfig()
    metadata: MetadataConfig = MetadataConfig()
    beam: BeamConfig = BeamConfig()

    @pydantic.field_validator("name")
    @classmethod
    def _keeps_apart(cls, name: str) -> str:
        # Such a name could be that of another pipeline's smoke run, or of its run on the sample.
        if name.endswith(RESERVED_ENDINGS):
            raise ValueError(f"a name that does not end in {' or '.join(RESERVED_ENDINGS)}")
        return name


def load_config(
    profile: str, assignments: Iterable[str] = (), *, sample: bool = False, seed: int | None = None
) -> Config:
    """Builds the configuration of a run.

    Args:
      profile: a name of `profiles.PROFILES`.
      assignments: `key=value` each, with dotted keys; later ones win.
      sample: whether the data is the synthetic sample.
      seed: Seed of everything random; None leaves the default. `assignments` win over it.

    Raises:
      ConfigurationError: where the profile, a key or a value is not known or out of range.
    """
    assignments = tuple(assignments)
    values = _merged(_profile_values(profile), SAMPLE_VALUES[profile] if sample else {})
    values = _merged(values, {} if seed is None else {"seed": seed})
    for assignment in assignments:
        values = _merged(values, _assigned(assignment))
    try:
        return Config(profile=profile, **values)
    except pydantic.ValidationError as error:
        key, problem = refused_value(error)
        raise ConfigurationError(f"{problem} {_advice(error, key, assignments)}") from error


def _advice(error: pydantic.ValidationError, key: str, assignments: Iterable[str]) -> str:
    """How to set a key whose value was refused: a number that is meant as a text is quoted."""
    details = error.errors()[0]
    is_number = details["type"] == "string_type" and isinstance(details["input"], int | float)
    texts = [text for name, _, text in (each.partition("=") for each in assignments) if name == key]
    if is_number and texts:
        return f"Set it with --set '{key}=\"{shown(texts[-1])}\"', with both quotation marks."
    return f"Set it with --set {key}=VALUE."


def profile_keys(profile: str) -> frozenset[str]:
    """The keys that a profile gives values of its own.

    Raises:
      ConfigurationError: where there is no such profile.
    """
    return frozenset(_flat(_profile_values(profile), ""))


def sample_keys(profile: str) -> frozenset[str]:
    """The keys that the synthetic sample gives values of its own, in a profile that exists."""
    return frozenset(_flat(SAMPLE_VALUES[profile], ""))


def assigned_key(assignment: str) -> str:
    """The key of a `key=value`.

    Raises:
      ConfigurationError: where it has no value, or the key is not known.
    """
    key, separator, _ = assignment.partition("=")
    key = present_key(key)
    if not separator:
        raise ConfigurationError(
            f"--set {shown(assignment)}: no value; expected key=value, such as training.epochs=3."
        )
    if key in known_keys():
        return key
    if whole := next((known for known in known_keys() if key.startswith(f"{known}.")), None):
        raise ConfigurationError(
            f"--set {shown(key)}=...: found a key below {whole}; expected {whole} itself. Set it "
            f"as a whole; a table is written as JSON, as in '{{\"name\": 1}}'."
        )
    raise ConfigurationError(
        # Without the value: what is set under a wrong name may be a password.
        f"--set {shown(key)}=...: unknown key {shown(repr(key))}{nearest(key, known_keys())}; "
        "expected one that `python3 pipeline_runner.py keys` lists."
    )


def present_key(key: str) -> str:
    """The present name of a key that had another one; of any other, as it is."""
    return _OTHER_NAMES.get(key, key)


def pipeline_name(config: Config, sample: bool) -> str:
    """The name under which runs, metadata and served models are kept.

    What is not for production has a name of its own, so that it can neither replace nor be judged
    by the real model.
    """
    parts = [
        config.name,
        "sample" if sample else "",
        "smoke" if config.profile == "smoke" else "",
    ]
    return "-".join(part for part in parts if part)


def serving_bucket(config: Config, name: str) -> str | None:
    """The folder of the bucket that gets the versions of a pipeline; None where there is none.

    Args:
      config: Configuration of the run.
      name: Name of the pipeline, by `pipeline_name`.
    """
    address = config.serving.bucket
    return None if address is None else bucket_folder(address, config.name, name)


def bucket_folder(address: str, configured_name: str, name: str) -> str:
    """The folder that gets versions: below `serving.bucket`, if they are not for production.

    Args:
      address: Value of `serving.bucket`.
      configured_name: Value of `name`.
      name: Name of the pipeline, by `pipeline_name`.
    """
    return address if name == configured_name else f"{address}/{name}"


def known_keys() -> dict[str, str]:
    """Every key that `--set` takes, with its description."""
    return dict(_keys(Config, ""))


def values_by_key(config: Config) -> dict[str, JsonValue]:
    """The value of every key that `--set` takes, as JSON has it."""
    values = config.model_dump(mode="json")
    return {key: functools.reduce(operator.getitem, key.split("."), values) for key in known_keys()}


def _keys(section: type[pydantic.BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, pydantic.BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
        elif f"{prefix}{name}" != "profile":
            yield f"{prefix}{name}", field.description or ""


def _profile_values(profile: str) -> dict[str, Any]:
    if profile not in PROFILES:
        raise ConfigurationError(
            f"unknown profile {shown_value(profile)}{nearest(profile, PROFILES)}; expected one of "
            f"{', '.join(PROFILES)}."
        )
    return PROFILES[profile]()


# The name of the key while it was always a count.
_OTHER_NAMES = {"split.validation_per_class": "split.validation"}


def _assigned(assignment: str) -> dict[str, Any]:
    key, text = assigned_key(assignment), assignment.partition("=")[2]
    *sections, name = key.split(".")
    nested: dict[str, Any] = {name: _parsed(text)}
    for section in reversed(sections):
        nested = {section: nested}
    return nested


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def nearest(name: str, known: Iterable[str]) -> str:
    """What an error message adds of the known name that may have been meant; may be nothing."""
    known = list(known)
    # Whoever leaves the section out, or a part of it, means the first key of that name.
    last = name.rpartition(".")[2]
    in_section = [key for key in known if last and key.endswith(f".{last}")]
    matches = in_section or difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f" (the nearest is {matches[0]!r})" if matches else ""


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        # A table that is itself a value is replaced whole.
        if isinstance(old, dict) and isinstance(value, dict) and key in _sections():
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged


@functools.cache
def _sections() -> frozenset[str]:
    """Names of the tables of keys."""
    return frozenset(name for key in known_keys() for name in key.split(".")[:-1])


def _flat(values: dict[str, Any], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def refused_value(error: pydantic.ValidationError) -> tuple[str, str]:
    """The key of a value that was refused, and what was found and expected there."""
    place = [str(part) for part in error.errors()[0]["loc"]]
    # Without the positions and names within a value.
    beginnings = (".".join(place[:count]) for count in range(1, len(place) + 1))
    key = next((key for key in beginnings if key in known_keys()), place[0])
    return key, f"{shown('.'.join(place))}: {found_and_expected(error)}"


def found_and_expected(error: pydantic.ValidationError) -> str:
    """What was found and what was expected, in the words of this project."""
    details = error.errors()[0]
    if details["type"] == _TOLD_WHOLE:
        return f"{details['msg']}."
    expected = details["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    expected = expected.replace("String should match pattern", "a text of the form")
    expected = expected.replace("String should have", "a text of")
    expected = expected.replace("Tuple should have", "a list with").partition(" after valid")[0]
    is_option = "options" in details["loc"]
    some_list = '["--name=value"]' if is_option else "[16,32]"
    expected = expected.replace("a valid tuple", f"a list such as {some_list}")
    # As the command line has it of numbers that are none, and of choices.
    expected = expected.partition(", unable to ")[0]
    given = shown_value(details["input"])
    expected = expected.removeprefix(f"{given} is not ").removesuffix(".")
    return f"found {given}; expected {shown(expected)}."
