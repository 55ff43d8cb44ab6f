"""Digests of what artifacts hold: equal for equal content, whatever the order of writing it.

Files say more than their content: records come in any order, archives and event files bear times,
exports name their functions as they were traced. Where a run had a served model to compare with,
what is said of that model is left out: it is no result of the run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from components import features, training_report
from components.digests import arrays_digest, parts_digest, weights_digest
from components.pusher import versions

_FUNCTION_NUMBER = re.compile(r"(__inference_\w+?)_\d+\b")
# The order in which TFMA adds is not fixed: its sums agree to this many digits.
_SIGNIFICANT_DIGITS = 10


def artifact_digest(key: str, folder: pathlib.Path) -> str:
    """SHA-256 of the content of an artifact, hexadecimal.

    Args:
      key: Key of the output that made the artifact.
      folder: Folder of the artifact.
    """
    return _BY_KEY.get(key, versions.content_digest)(folder)


def figures_digest(figures: Any) -> str:
    """SHA-256 of figures that TFMA summed up (JSON values), to ten significant digits."""
    return parts_digest([json.dumps(_rounded(figures), sort_keys=True).encode()])


def _model(folder: pathlib.Path) -> str:
    with np.load(folder / features.GOLDEN_FILE) as golden:
        answers = arrays_digest(dict(golden))
    return parts_digest([weights_digest(folder).encode(), answers.encode()])


def _examples(folder: pathlib.Path) -> str:
    splits = sorted(
        split.name.removeprefix(features.SPLIT_PREFIX)
        for split in folder.glob(features.split_folder("*"))
    )
    return parts_digest(
        part for split in splits for part in (split.encode(), _records(folder, split))
    )


def _records(folder: pathlib.Path, split: str) -> bytes:
    """A digest of the examples of a split, whatever their order."""
    # Here and not above: it imports TensorFlow.
    from components import examples

    batches = examples.serialized_batches(str(folder), split, 4096)
    records = [hashlib.sha256(record).digest() for batch in batches for record in batch.numpy()]
    return parts_digest(sorted(records)).encode()


def _predictions(folder: pathlib.Path) -> str:
    import pyarrow.parquet

    columns = [features.EXAMPLE_ID, features.LABEL, features.IMAGE, features.CANDIDATE]
    table = pyarrow.parquet.read_table(folder / features.PREDICTIONS_FILE, columns=columns)
    ids = "\n".join(table[features.EXAMPLE_ID].to_pylist()).encode()
    images = b"".join(table[features.IMAGE].to_pylist())
    answers = np.array(table[features.CANDIDATE].to_pylist(), np.float32)
    return parts_digest(
        [ids, images, table[features.LABEL].to_numpy().tobytes(), answers.tobytes()]
    )


def _model_run(folder: pathlib.Path) -> str:
    report = training_report.parse((folder / features.TRAINING_REPORT_FILE).read_text("utf-8"))
    values = dataclasses.asdict(report)
    # A path, of a model that the receipt names by its digest.
    del values["warm_start_from"]
    # Where the number of epochs came from; the history has them.
    del values["settled_epochs"]
    names = (features.HISTORY_FILE, features.AUGMENTED_FILE, features.FEATURE_MAPS_FILE)
    # Without augmentation, there are no augmented images.
    files = [path.read_bytes() for name in names if (path := folder / name).exists()]
    return parts_digest([json.dumps(values, sort_keys=True).encode(), *files])


def _report(folder: pathlib.Path) -> str:
    names = (features.SIMILAR_FILE, features.SIMILAR_IMAGES_FILE)
    return parts_digest((folder / name).read_bytes() for name in names)


def _transform_graph(folder: pathlib.Path) -> str:
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "transform_fn" / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    for node in nodes:
        # The threads of the process that wrote it: a cluster has a process for each node.
        node.attr.pop("config_proto", None)
    parts = sorted(_without_numbers(part) for part in (*graph.node, *graph.library.function))
    schemas = [path.read_bytes() for path in sorted(folder.glob("*/schema.pbtxt"))]
    return parts_digest([*parts, *schemas])


def _without_numbers(part: Any) -> bytes:
    # TensorFlow numbers functions in the order in which a process traces them.
    return _FUNCTION_NUMBER.sub(r"\1", str(part)).encode()


_BY_KEY: dict[str, Callable[[pathlib.Path], str]] = {
    "examples": _examples,
    "model": _model,
    "model_run": _model_run,
    "predictions": _predictions,
    "report": _report,
    "transform_graph": _transform_graph,
}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return f"{value:.{_SIGNIFICANT_DIGITS}g}" if isinstance(value, float) else value
