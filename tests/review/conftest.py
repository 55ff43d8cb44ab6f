"""What the tests of the review share: made-up runs, as a finished run leaves them on disk."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import io
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn import metrics
from tensorflow_metadata.proto.v0 import statistics_pb2

from components import features
from components.example_gen.idx import IdxPair
from components.image_schema import ImageSchema
from operations import receipts
from operations.run import Prepared, Request
from pipeline import config
from pipeline.datasets import sample
from pipeline.datasets.data import DataSet
from pipeline.locations import Locations
from pipeline.nodes import NODES
from pipeline.records import metadata
from review.artifacts import FinishedRun
from review.collect import collect
from review.summary import Sheet, Summary, write_summary

hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "schema" / "schema.pbtxt"
CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
FIRST_RUN = "20260101-000000"
BLOCKS = {"block1": 14, "block2": 7}
PIXELS = 28


@dataclasses.dataclass
class MadeRun:
    """A run that was made up: what it left behind, and the truth that it was made of.

    Attributes:
      folder: of its artifacts, by output.
      runs_folder: of the pipeline.
      receipt: of the run.
      nodes: what ML Metadata has of them.
      images: uint8 [N, 28, 28, 1], of the test split.
      labels: int64 [N].
      candidate: float32 [N, classes].
      baseline: float32 [N, classes]; None where no model was served.
      others: receipts of other runs.
    """

    folder: Path
    runs_folder: Path
    receipt: dict[str, Any]
    nodes: dict[str, metadata.NodeRecord]
    images: np.ndarray
    labels: np.ndarray
    candidate: np.ndarray
    baseline: np.ndarray | None
    others: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """Of the test images."""
        return [f"t10k-{number:05d}" for number in range(len(self.labels))]

    @property
    def choices(self) -> np.ndarray:
        """Of the new model."""
        return self.candidate.argmax(axis=1)

    @property
    def finished(self) -> FinishedRun:
        """The run as the review takes it."""
        return FinishedRun(self.receipt, self.nodes)

    def file(self, output: str, *names: str) -> Path:
        """Where a file of an output lies."""
        return self.folder.joinpath(output, *names)

    def collect(self) -> Summary:
        """Its review."""
        return collect(self.receipt, self.nodes, [*self.others, self.receipt], self.runs_folder)

    def keep(self) -> Summary:
        """Its review, written into the folder of the run."""
        summary, folder = self.collect(), self.runs_folder / self.receipt["run_id"]
        folder.mkdir(parents=True, exist_ok=True)
        write_summary(folder, summary)
        return summary

    def evaluate(self) -> None:
        """Enters into the receipt what Evaluator finds, as scikit-learn counts it."""
        every, choices = range(len(CLASSES)), self.choices
        found = metrics.classification_report(
            self.labels,
            choices,
            labels=every,
            target_names=CLASSES,
            output_dict=True,
            zero_division=0,
        )
        scores = {name: _renamed(entry) for name, entry in found.items() if name != "accuracy"}
        self.receipt |= {
            # TFMA computes in single precision.
            "test_accuracy": float(np.float32(metrics.accuracy_score(self.labels, choices))),
            "test_count": len(self.labels),
            "cross_entropy": metrics.log_loss(self.labels, self.candidate, labels=every),
            "top_2_accuracy": metrics.top_k_accuracy_score(
                self.labels, self.candidate, k=2, labels=every
            ),
            "confusion": metrics.confusion_matrix(self.labels, choices, labels=every).tolist(),
            "macro_avg": scores.pop("macro avg"),
            "weighted_avg": scores.pop("weighted avg"),
            "per_class": scores,
            "calibration": {"temperature": 0.8, "ece_before": 0.05, "ece_after": 0.01},
        }
        self.judge()

    def judge(self, accuracy: float = 0.8, recall: float = 0.6, drop: float = 0.03) -> None:
        """Enters the gates, and whether they let the model pass."""
        found = self.receipt
        entries = [("accuracy", "overall", found["test_accuracy"], accuracy)]
        entries += [
            ("recall", name, scores["recall"] if scores["support"] else None, recall)
            for name, scores in found["per_class"].items()
        ]
        if self.baseline is not None:
            served = (self.baseline.argmax(axis=1) == self.labels).mean()
            change = found["test_accuracy"] - float(np.float32(served))
            entries.append(("accuracy against the served model", "overall", change, -drop))
        keys = ("metric", "slice", "value", "threshold")
        found["gates"] = [
            {
                **dict(zip(keys, entry, strict=True)),
                "passed": entry[2] is not None and bool(entry[2] >= entry[3]),
            }
            for entry in entries
        ]
        passed = all(gate["passed"] for gate in found["gates"])
        found["verdict"] = "pushed" if passed else "refused"
        found["pushed_version"] = 17 if passed else None

    def end_in(self, node: str, message: str) -> None:
        """Makes it a run that failed in a node: nothing after it ran."""
        names = list(self.receipt["nodes"])
        for name in names[names.index(node) :]:
            status = metadata.FAILED if name == node else metadata.NOT_RUN
            self.receipt["nodes"][name] |= {"status": status}
            self.nodes[name] = metadata.NodeRecord(status, 0.0, {})
        untouched = ("test_accuracy", "test_count", "cross_entropy", "top_2_accuracy")
        self.receipt |= dict.fromkeys((*untouched, "pushed_version"))
        self.receipt |= {"confusion": [], "per_class": {}, "macro_avg": {}, "weighted_avg": {}}
        self.receipt |= {"gates": [], "status": "failed", "verdict": "none"}
        self.receipt |= {"failure": {"node": node, "message": message, "changes": []}}


def _renamed(entry: dict[str, float]) -> dict[str, float]:
    return {
        "precision": entry["precision"],
        "recall": entry["recall"],
        "f1": entry["f1-score"],
        "support": int(entry["support"]),
    }


def softened(scores: np.ndarray) -> np.ndarray:
    """Softmax in single precision."""
    odds = np.exp(scores - scores.max(axis=1, keepdims=True)).astype(np.float32)
    return odds / odds.sum(axis=1, keepdims=True)


def write_predictions(made: MadeRun) -> None:
    """The artifact of Predictions, as `components.features` describes it."""
    count, kind = len(made.labels), pa.list_(pa.float32())
    columns = {
        "example_id": pa.array(made.ids),
        "label": pa.array(made.labels),
        "image": pa.array([image.tobytes() for image in made.images], pa.binary()),
    }
    for name, values in (("candidate", made.candidate), ("baseline", made.baseline)):
        absent = values is None
        columns[name] = pa.nulls(count, kind) if absent else pa.array(list(values), kind)
    described = {
        "class_names": json.dumps(CLASSES),
        "image_shape": json.dumps(made.images.shape[1:]),
    }
    path = made.file("Predictions.predictions", features.PREDICTIONS_FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, metadata=described), path)


def write_statistics(folder: Path, counts: dict[str, dict[int, int]]) -> None:
    """What StatisticsGen writes of labels, by split and label."""
    for split, labels in counts.items():
        found = statistics_pb2.DatasetFeatureStatisticsList()
        dataset = found.datasets.add(num_examples=sum(labels.values()))
        dataset.features.add().path.step.append("image")
        label = dataset.features.add()
        label.path.step.append("label")
        ranked = sorted(labels.items(), key=lambda item: -item[1])
        for rank, (value, count) in enumerate(ranked):
            label.string_stats.rank_histogram.buckets.add(
                low_rank=rank, high_rank=rank, label=str(value), sample_count=count
            )
        path = folder / f"Split-{split}" / "FeatureStats.pb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found.SerializeToString())


def _write_model_run(made: MadeRun, random: np.random.Generator) -> None:
    folder = made.file("Trainer.model_run")
    folder.mkdir(parents=True)
    losses = [0.9, 0.5, 0.4, 0.4, 0.45]
    history = [
        {
            "epoch": number,
            "accuracy": 0.7 + 0.04 * number,
            "loss": loss,
            "val_accuracy": 0.65 + 0.04 * number,
            "val_loss": loss + 0.1,
            "learning_rate": 0.006 / number,
        }
        for number, loss in enumerate(losses, start=1)
    ]
    (folder / features.HISTORY_FILE).write_text(json.dumps(history))
    shown = made.images[:10]
    ids = np.array([name.encode() for name in made.ids[:10]])
    noise = random.integers(0, 60, (10, 8, *shown.shape[1:]))
    augmented = np.clip(shown[:, np.newaxis] + noise, 0, 255).astype(np.uint8)
    np.savez_compressed(
        folder / features.AUGMENTED_FILE, ids=ids, originals=shown, augmented=augmented
    )
    maps = {
        name: random.integers(0, 256, (10, 16, side, side), np.uint8)
        for name, side in BLOCKS.items()
    }
    np.savez_compressed(
        folder / features.FEATURE_MAPS_FILE, ids=ids, images=shown, blocks=list(BLOCKS), **maps
    )


def _write_gate_report(made: MadeRun) -> None:
    folder = made.file("DataGate.report")
    folder.mkdir(parents=True)
    report = {
        "findings": [{"check": "duplicates", "line": "2 test images are also in train"}],
        "compared_with": None,
        "drifts": [{"feature": "label", "measure": "largest", "value": 0.01, "threshold": 0.02}],
    }
    (folder / features.DATA_GATE_REPORT_FILE).write_text(json.dumps(report))
    splits = {"first_split": "train", "second_split": "test"}
    pair = {**splits, "first_label": 3, "second_label": 4}
    similar = {
        "counts": [{**splits, "exact": 1, "near": 1, "other_label": 2}],
        "pairs": [
            {**pair, "first": "train-1", "second": "t10k-1", "distance": 0.0},
            {**pair, "first": "train-2", "second": "t10k-2", "distance": 2.5},
        ],
        "searched": 50,
        "images": 60,
    }
    (folder / features.SIMILAR_FILE).write_text(json.dumps(similar))
    flat = made.images.reshape(len(made.images), -1)
    np.savez(folder / features.SIMILAR_IMAGES_FILE, first=flat[:2], second=flat[2:4])


def _write_schema(made: MadeRun) -> None:
    folder = made.file("ImportSchemaGen.schema")
    folder.mkdir(parents=True)
    (folder / "schema.pbtxt").write_text(SCHEMA_FILE.read_text(encoding="utf-8"))


def add_robustness(made: MadeRun) -> None:
    """Enters what was measured on corrupted images, with a gate, and the examples."""
    per_class = {name: {"recall": 0.5, "support": 40} for name in CLASSES}
    score = {"corruption": "noise", "strength": 2, "amount": "40 of 255", "accuracy": 0.5}
    made.receipt["robustness"] = {
        "clean": {"accuracy": made.receipt["test_accuracy"], "count": len(made.labels)},
        "scores": [{**score, "count": len(made.labels), "per_class": per_class}],
    }
    gate = {"metric": "accuracy under corruption", "slice": "noise, strength 2", "value": 0.5}
    made.receipt["gates"].append({**gate, "threshold": 0.4, "passed": True})
    folder = made.file("Corruption.examples")
    folder.mkdir(parents=True)
    about = ["clean", "noise, strength 2"]
    np.savez(folder / features.PREVIEW_FILE, images=made.images[:2], about=about)
    made.nodes["Corruption"] = _node("Corruption", made.folder, "examples")


def _node(name: str, folder: Path, *keys: str) -> metadata.NodeRecord:
    outputs = {key: [metadata.ArtifactRecord(1, str(folder / f"{name}.{key}"), {})] for key in keys}
    return metadata.NodeRecord(metadata.COMPLETE, 1.5, outputs)


_OUTPUTS = {
    "ImportSchemaGen": "schema",
    "StatisticsGen": "statistics",
    "DataGate": "report",
    "Trainer": "model_run",
    "Predictions": "predictions",
}


def _receipt(run_id: str, locations: Locations) -> dict[str, Any]:
    train, test = (
        IdxPair(name, f"/data/{name}-images.gz", f"/data/{name}-labels.gz", "a" * 64, "b" * 64, 9)
        for name in ("train", "t10k")
    )
    prepared = Prepared(
        "clothes",
        config.load("default"),
        DataSet("/data/my clothes", False, (train,), test, schema_sha256="c" * 64),
        ImageSchema(PIXELS, PIXELS, 1, CLASSES),
        locations,
        "float32",
        served_version=None,
    )
    began = datetime.datetime.strptime(run_id, "%Y%m%d-%H%M%S").replace(tzinfo=datetime.UTC)
    request = Request(
        profile=None,
        data="/data/my clothes",
        runner="local",
        assignments=(),
        seed=None,
        use_cache=True,
        force=False,
        output_dir=locations.root.parent,
        new_line=False,
        verbose=False,
        command="python3 pipeline_runner.py run",
    )
    # In the order of their ids.
    sequence = int(run_id.replace("-", ""))
    return receipts.begun(run_id, sequence, began, prepared, request, "9" * 64)


def build_run(
    folder: Path,
    images: np.ndarray,
    labels: np.ndarray,
    run_id: str = FIRST_RUN,
    served: bool = True,
    seed: int = 1,
    surplus: float = 3.4,
) -> MadeRun:
    """Makes up a run in the folder of a pipeline.

    Args:
      folder: of the pipeline.
      images: uint8 [N, 28, 28], of the test split.
      labels: int64 [N].
      run_id: of the run.
      served: whether a model was served before, a little worse than the new one.
      seed: of the answers.
      surplus: how much more the score of the right class is; the more, the fewer errors.
    """
    random = np.random.default_rng(seed)
    scores = random.normal(size=(len(labels), len(CLASSES)))
    scores[np.arange(len(labels)), labels] += surplus
    # Shirts are taken for T-shirts.
    scores[labels == 6, 0] += 2.5
    before = scores + random.normal(scale=0.5, size=scores.shape)
    locations = Locations(folder)
    made = MadeRun(
        folder / "artifacts" / run_id,
        locations.runs,
        _receipt(run_id, locations),
        {name: metadata.NodeRecord(metadata.COMPLETE, 1.5, {}) for name in NODES},
        images[..., np.newaxis],
        labels,
        softened(2 * scores),
        softened(2 * before) if served else None,
    )
    made.nodes |= {name: _node(name, made.folder, key) for name, key in _OUTPUTS.items()}
    ended = {"status": metadata.COMPLETE, "seconds": 1.5, "cached": False, "code_fingerprint": None}
    made.receipt |= {"nodes": {name: dict(ended) for name in NODES}}
    made.receipt |= {"status": "completed", "seconds": 61.5}
    made.evaluate()
    write_predictions(made)
    _write_schema(made)
    _write_gate_report(made)
    _write_model_run(made, random)
    counts = {"train": 500, "val": 50, "test": len(labels) // len(CLASSES)}
    splits = {split: dict.fromkeys(range(len(CLASSES)), n) for split, n in counts.items()}
    write_statistics(made.file("StatisticsGen.statistics"), splits)
    return made


def pixels(sheet: Sheet, position: int) -> np.ndarray:
    """An image of a sheet, uint8 [height, width] or [height, width, 3]."""
    whole = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet.png))))
    top = position // sheet.columns * sheet.height
    left = position % sheet.columns * sheet.width
    return whole[top : top + sheet.height, left : left + sheet.width]


@pytest.fixture(scope="session")
def drawn_images() -> tuple[np.ndarray, np.ndarray]:
    """Images of the built-in sample, 40 of each class, and their labels."""
    _, (images, labels) = sample.draw_sample(1, 40, 5)
    return images, labels.astype(np.int64)


@pytest.fixture
def make_run(tmp_path: Path, drawn_images: tuple[np.ndarray, np.ndarray]) -> Callable[..., MadeRun]:
    """Makes up a run of the pipeline `clothes`; takes what `build_run` takes by name."""

    def make(**options: Any) -> MadeRun:
        return build_run(tmp_path / "clothes", *drawn_images, **options)

    return make


@pytest.fixture
def made_run(make_run: Callable[..., MadeRun]) -> MadeRun:
    """A run that pushed a model, where another was served before."""
    return make_run()


@pytest.fixture(scope="session")
def summary(
    tmp_path_factory: pytest.TempPathFactory, drawn_images: tuple[np.ndarray, np.ndarray]
) -> Summary:
    """The review of a run that pushed a model."""
    return build_run(tmp_path_factory.mktemp("summary") / "clothes", *drawn_images).collect()


@pytest.fixture(scope="session")
def making() -> types.SimpleNamespace:
    """The functions that make up parts of a run, for tests that change them."""
    return types.SimpleNamespace(
        build_run=build_run,
        write_predictions=write_predictions,
        write_statistics=write_statistics,
        add_robustness=add_robustness,
        softened=softened,
        pixels=pixels,
        classes=CLASSES,
        project=SCHEMA_FILE.parents[1],
    )
