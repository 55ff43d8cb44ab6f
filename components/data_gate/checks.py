"""The checks of DataGate: each returns readable findings, one line each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import tfx  # noqa: F401
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

# After TFX, which puts a module in place that TFDV misses.
import tensorflow_data_validation as tfdv  # isort: skip

ANOMALIES = "anomalies"
DRIFT = "drift"
DUPLICATES = "duplicates"
CHECKS = (ANOMALIES, DRIFT, DUPLICATES)

_DRIFT_REASONS = {
    anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH,
}
_SHOWN_DUPLICATES = 3


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is wrong with the data.

    Attributes:
      check: one of `CHECKS`.
      line: what was found, what was expected and how to mend it, in one line.
    """

    check: str
    line: str


def anomaly_findings(anomalies: anomalies_pb2.Anomalies, split: str) -> list[Finding]:
    """A finding for each anomaly that ExampleValidator reported of a split."""
    found = [
        Finding(
            ANOMALIES,
            f"split {split}, feature {name}: {info.description.rstrip('.')}; expected what the "
            "schema says. Mend the data, or the schema where it is wrong.",
        )
        for name, info in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        description = anomalies.dataset_anomaly_info.description
        found.append(Finding(ANOMALIES, f"split {split}: {description}"))
    return found


def drift_findings(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    reference: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
) -> list[Finding]:
    """A finding for each feature that drifted past the bound that the schema sets.

    Args:
      statistics: of the training split now.
      reference: of the training split of the model now served.
      schema: its drift comparators hold the bounds.
    """
    anomalies = tfdv.validate_statistics(statistics, schema, previous_statistics=reference)
    return [
        Finding(
            DRIFT,
            f"feature {name} drifted since the served model was trained: "
            f"{reason.description.rstrip('.')}. Check where the new data comes from; if the "
            "change is meant, raise the drift_comparator in the schema or set "
            "data_gate.drift=warn.",
        )
        for name, info in sorted(anomalies.anomaly_info.items())
        for reason in info.reason
        if reason.type in _DRIFT_REASONS
    ]


def duplicate_findings(
    training: Iterable[tuple[np.ndarray, np.ndarray]],
    test_images: np.ndarray,
    test_ids: np.ndarray,
    bound: int,
) -> list[Finding]:
    """At most one finding: more test images than `bound` are also trained on, byte by byte.

    Args:
      training: (images, ids) of each split that training sees; images are uint8 [count, bytes].
      test_images: uint8 [count, bytes].
      test_ids: ids of the test images.
      bound: number of duplicates that is still tolerated.
    """
    known = {
        image.tobytes(): name
        for images, ids in training
        for image, name in zip(images, ids, strict=True)
    }
    pairs = [
        f"{known[image.tobytes()].decode()} = {name.decode()}"
        for image, name in zip(test_images, test_ids, strict=True)
        if image.tobytes() in known
    ]
    if len(pairs) <= bound:
        return []
    shown = ", ".join(pairs[:_SHOWN_DUPLICATES])
    return [
        Finding(
            DUPLICATES,
            f"{len(pairs)} test images are also in train or val ({shown}"
            f"{', ...' if len(pairs) > _SHOWN_DUPLICATES else ''}); expected at most {bound}. "
            "Remove them from one side, or set data_gate.max_duplicates.",
        )
    ]
