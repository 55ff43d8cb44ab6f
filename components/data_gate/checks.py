"""The checks of DataGate. Each returns its findings as lines of text."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components import features
from components.data_gate.catalogue import Brightness, Catalogue, TrainedClass
from components.messages import shown

ANOMALIES = "anomalies"
DRIFT = "drift"
DUPLICATES = "duplicates"
VALIDATION_DUPLICATES = "validation_duplicates"
CONFLICTING_LABELS = "conflicting_labels"
EQUAL_IMAGES = "equal_images"
CONSTANT_CLASS = "constant_class"
BRIGHTNESS = "brightness"
CHECKS = (
    ANOMALIES,
    DRIFT,
    DUPLICATES,
    VALIDATION_DUPLICATES,
    CONFLICTING_LABELS,
    EQUAL_IMAGES,
    CONSTANT_CLASS,
    BRIGHTNESS,
)

_DRIFT_REASONS = {
    anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH,
}
_MEASUREMENT = anomalies_pb2.DriftSkewInfo.Measurement
_MEASURES = {
    _MEASUREMENT.L_INFTY: "largest change of a value's share",
    _MEASUREMENT.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon divergence",
    _MEASUREMENT.NORMALIZED_ABSOLUTE_DIFFERENCE: "normalised absolute difference",
}
_SHOWN_PAIRS = 3
_SHOWN_CLASSES = 10
# Brightness differs grossly if the means differ by a quarter of the range, as with inverted images,
# or by a factor of two, as with images scaled to 0 to 1. Chance must also be ruled out.
_GROSS_DIFFERENCE, _GROSS_FACTOR = 255 / 4, 2.0
_STANDARD_ERRORS = 5.0


@dataclasses.dataclass(frozen=True)
class Finding:
    """A problem with the data.

    Attributes:
      check: one of `CHECKS`.
      line: one line with the problem, the expectation and the fix.
    """

    check: str
    line: str


@dataclasses.dataclass(frozen=True)
class Drift:
    """How far a feature moved since the served model was trained.

    Attributes:
      feature: name of the feature.
      measure: name of the distance measure.
      value: the distance.
      threshold: largest distance that is no drift.
    """

    feature: str
    measure: str
    value: float
    threshold: float


def anomaly_findings(anomalies: anomalies_pb2.Anomalies, split: str) -> list[Finding]:
    """One finding for each anomaly that ExampleValidator reported for a split."""
    found = [
        Finding(
            ANOMALIES,
            f"split {split}, feature {name}: {info.description.rstrip('.')}; expected what the "
            "schema says. Fix the data, or the schema if it is wrong.",
        )
        for name, info in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        description = anomalies.dataset_anomaly_info.description
        found.append(Finding(ANOMALIES, f"split {split}: {description}"))
    return found


def drift_findings(compared: anomalies_pb2.Anomalies) -> list[Finding]:
    """One finding for each feature that drifted past its bound in the schema.

    Args:
      compared: TFDV's comparison of the training split with that of the served model.
    """
    return [
        Finding(
            DRIFT,
            f"feature {name} drifted since the served model was trained: "
            f"{reason.description.rstrip('.')}. Check where the new data comes from; if the "
            "change is meant, raise the drift_comparator in the schema or set "
            "data_gate.drift=warn.",
        )
        for name, info in sorted(compared.anomaly_info.items())
        for reason in info.reason
        if reason.type in _DRIFT_REASONS
    ]


# The served model has no statistics of its training data.
NO_REFERENCE = Finding(
    DRIFT,
    "drift cannot be judged: no statistics are kept of the data of the served model; expected them "
    "beside its version, in serving/.kept. Put that folder back from a copy, or set "
    "data_gate.drift=warn once: they are kept of the next version.",
)


def drifts(compared: anomalies_pb2.Anomalies) -> list[Drift]:
    """How far each feature with a bound in the schema moved."""
    return [
        Drift(
            ".".join(info.path.step),
            _MEASURES[measurement.type],
            measurement.value,
            measurement.threshold,
        )
        for info in compared.drift_skew_info
        for measurement in info.drift_measurements
    ]


def duplicate_findings(catalogue: Catalogue, first_equal: np.ndarray, bound: int) -> list[Finding]:
    """At most one finding: more than `bound` test images also occur in training, byte by byte.

    Args:
      catalogue: all images that equal another one, at least.
      first_equal: result of `Catalogue.first_equal`, int64 [count].
      bound: maximum number of duplicates.
    """
    # The test split comes last, so an equal image before it is in train or val.
    trained = (catalogue.split == features.TEST) & (catalogue.split[first_equal] != features.TEST)
    found = np.flatnonzero(trained)
    if len(found) <= bound:
        return []
    pairs = _pairs(first_equal, found, functools.partial(_id, catalogue))
    line = (
        f"{len(found)} test images are also in train or val ({pairs}); expected at most {bound}. "
        "Remove them from one side, or set data_gate.max_duplicates."
    )
    return [Finding(DUPLICATES, line)]


def validation_duplicate_findings(catalogue: Catalogue, first_equal: np.ndarray) -> list[Finding]:
    """At most one finding: validation images also occur in the training split, byte by byte.

    Args:
      catalogue: all images that equal another one, at least.
      first_equal: result of `Catalogue.first_equal`, int64 [count].
    """
    # The training split comes first, so an equal image there is the first of its kind.
    first_split = catalogue.split[first_equal]
    trained = (catalogue.split == features.VALIDATION) & (first_split == features.TRAIN)
    found = np.flatnonzero(trained)
    if not len(found):
        return []
    pairs = _pairs(first_equal, found, functools.partial(_id, catalogue))
    line = (
        f"{len(found)} validation images are also in train ({pairs}); expected none: the best "
        "epoch would be chosen on images that the model knows. Remove them from one side, or set "
        "data_gate.validation_duplicates=warn."
    )
    return [Finding(VALIDATION_DUPLICATES, line)]


def conflicting_label_findings(
    catalogue: Catalogue, first_equal: np.ndarray, class_names: Sequence[str]
) -> list[Finding]:
    """At most one finding: equal images have different labels.

    Args:
      catalogue: all images that equal another one, at least.
      first_equal: result of `Catalogue.first_equal`, int64 [count].
      class_names: names of the classes, in label order.
    """
    found = np.flatnonzero(catalogue.labels != catalogue.labels[first_equal])
    if not len(found):
        return []
    kinds = len(np.unique(first_equal[found]))
    pairs = _pairs(
        first_equal,
        found,
        lambda place: f"{_id(catalogue, place)} ({class_names[catalogue.labels[place]]})",
    )
    line = (
        f"{kinds:,} images have copies with another label, {len(found):,} in all ({pairs}); "
        "expected one label for equal images, byte by byte. Correct the labels or remove the "
        "copies, or set data_gate.conflicting_labels=warn."
    )
    return [Finding(CONFLICTING_LABELS, line)]


def _pairs(first_equal: np.ndarray, found: np.ndarray, described: Callable[[int], str]) -> str:
    """The first few of the found images, each with the first image that equals it."""
    pairs = [
        f"{described(first_equal[place])} = {described(place)}" for place in found[:_SHOWN_PAIRS]
    ]
    return ", ".join(pairs) + (", ..." if len(found) > _SHOWN_PAIRS else "")


def _id(catalogue: Catalogue, place: int) -> str:
    # An id may be the name of a file, which can hold what a terminal takes for a command.
    return shown(catalogue.id_at(place))


def constancy_findings(
    trained: Mapping[int, TrainedClass], class_names: Sequence[str]
) -> list[Finding]:
    """At most one finding: all training images are equal, or all images of some classes are.

    Args:
      trained: training images of each class, by label.
      class_names: names of the classes, in label order.
    """
    count = sum(each.count for each in trained.values())
    digests = {each.digest for each in trained.values()}
    if count > 1 and len(digests) == 1 and None not in digests:
        line = (
            f"all {count:,} training images are equal, byte by byte; expected images that "
            "differ. Look at how they were made, or set data_gate.equal_images=warn."
        )
        return [Finding(EQUAL_IMAGES, line)]
    # A single image is always equal to itself.
    several = [
        f"{class_names[label]} ({each.count:,} images)"
        for label, each in sorted(trained.items())
        if each.digest is not None and each.count > 1
    ]
    if not several:
        return []
    more = ", ..." if len(several) > _SHOWN_CLASSES else ""
    line = (
        f"all training images are equal, byte by byte, in {len(several)} of {len(class_names)} "
        f"classes: {', '.join(several[:_SHOWN_CLASSES])}{more}; expected images that differ. Look "
        "at how they were made, or set data_gate.constant_class=warn."
    )
    return [Finding(CONSTANT_CLASS, line)]


def brightness_findings(brightness: Mapping[str, Brightness]) -> list[Finding]:
    """At most one finding: training and test images differ grossly in mean brightness.

    Args:
      brightness: of the images of each split.
    """
    if not {features.TRAIN_SPLIT, features.TEST_SPLIT} <= brightness.keys():
        return []
    train, test = brightness[features.TRAIN_SPLIT], brightness[features.TEST_SPLIT]
    if not _differs_grossly(train, test):
        return []
    line = (
        f"the mean brightness of the training images is {train.mean:.1f} and that of the test "
        f"images {test.mean:.1f}, of 255; expected about the same. One half may be inverted or "
        "scaled: prepare both alike, or set data_gate.brightness=warn."
    )
    return [Finding(BRIGHTNESS, line)]


def _differs_grossly(one: Brightness, other: Brightness) -> bool:
    low, high = sorted((one.mean, other.mean))
    error = math.sqrt(one.variance / one.count + other.variance / other.count)
    beyond_chance = high - low > _STANDARD_ERRORS * error
    gross = high - low > _GROSS_DIFFERENCE or high > _GROSS_FACTOR * low
    return gross and beyond_chance
