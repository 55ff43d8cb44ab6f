"""The made-up runs of the tests of the review, as finished runs leave them on disk."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest
from PIL import Image
from sklearn import metrics
from tensorflow_metadata.proto.v0 import statistics_pb2

from components import features
from components.quality_gates import JudgedGate
from components.robustness import corruptions
from pipeline import config
from pipeline.datasets import sample
from pipeline.locations import Locations
from pipeline.nodes import NODES
from pipeline.records import provenance
from pipeline.records.executions import ArtifactRecord, NodeExecution
from pipeline.records.outcomes import NodeStatus
from pipeline.records.receipt import Receipt
from review.artifacts import FinishedRun
from review.collect import collect
from review.summary import Sheet, Summary, write_summary
from tests.made_runs import code_of_checkout

hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "schema" / "schema.pbtxt"
CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
FIRST_RUN = "20260101-000000"


@dataclasses.dataclass
class MadeRun:
    """A run that was made up: what it left behind, and the truth that it was made of.

    Attributes:
      folder: Folder of its artifacts, by output.
      runs_folder: Folder of the pipeline's runs.
      receipt: Receipt of the run.
      nodes: Executions in ML Metadata.
      images: uint8 [N, height, width, channels], of the test split.
      labels: int64 [N].
      candidate: float32 [N, classes].
      baseline: float32 [N, classes]; None where no model was served.
      classes: Names of the classes, in label order.
      others: Receipts of other runs.
      before: The run before it; None where there is none.
    """

    folder: Path
    runs_folder: Path
    receipt: Receipt
    nodes: dict[str, NodeExecution]
    images: np.ndarray
    labels: np.ndarray
    candidate: np.ndarray
    baseline: np.ndarray | None
    classes: tuple[str, ...] = CLASSES
    others: list[Receipt] = dataclasses.field(default_factory=list)
    before: MadeRun | None = None

    @property
    def blocks(self) -> dict[str, int]:
        """Sides of the feature maps, by the block of the network."""
        side = self.images.shape[1]
        return {f"block{number}": side // 2**number for number in (1, 2)}

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
        summary, folder = self.collect(), self.runs_folder / self.receipt.run_id
        folder.mkdir(parents=True, exist_ok=True)
        write_summary(folder, summary)
        return summary

    def change(self, **changes: Any) -> None:
        """Changes fields of the receipt; a dict changes some fields of a part."""
        fields = {name: _merged(getattr(self.receipt, name), new) for name, new in changes.items()}
        self.receipt = self.receipt.changed(**fields)

    def evaluate(self) -> None:
        """Enters into the receipt what Evaluator finds, as scikit-learn counts it."""
        every, choices = range(len(self.classes)), self.choices
        report = metrics.classification_report(
            self.labels,
            choices,
            labels=every,
            target_names=self.classes,
            output_dict=True,
            zero_division=0,
        )
        scores = {name: _renamed(entry) for name, entry in report.items() if name != "accuracy"}
        evaluation = {
            # TFMA computes in single precision.
            "accuracy": float(np.float32(metrics.accuracy_score(self.labels, choices))),
            "count": len(self.labels),
            "cross_entropy": metrics.log_loss(self.labels, self.candidate, labels=every),
            "balanced_accuracy": metrics.balanced_accuracy_score(self.labels, choices),
            "top_2_accuracy": self._top_2_accuracy(),
            "confusion": metrics.confusion_matrix(self.labels, choices, labels=every).tolist(),
            "macro_avg": scores.pop("macro avg"),
            "weighted_avg": scores.pop("weighted avg"),
            "per_class": scores,
        }
        self.receipt = self.receipt.changed(
            evaluation=evaluation,
            calibration={"temperature": 0.8, "ece_before": 0.05, "ece_after": 0.01},
        )
        self.judge()

    def _top_2_accuracy(self) -> float:
        every = range(len(self.classes))
        # scikit-learn wants one score of two classes.
        return (
            metrics.top_k_accuracy_score(self.labels, self.candidate, k=2, labels=every)
            if len(every) > 2
            else 1.0
        )

    def judge(self, accuracy: float = 0.8, recall: float = 0.6, drop: float = 0.03) -> None:
        """Enters the gates, and whether they let the model pass."""
        measured = self.receipt.evaluation
        gates = [gate("accuracy", "overall", measured.accuracy, accuracy)]
        gates += [
            gate("recall", name, scores.recall if scores.support else None, recall)
            for name, scores in measured.per_class.items()
        ]
        if self.baseline is not None:
            served = (self.baseline.argmax(axis=1) == self.labels).mean()
            change = measured.accuracy - float(np.float32(served))
            gates.append(gate("accuracy against the served model", "overall", change, -drop))
        passed = all(each.passed for each in gates)
        verdict, version = ("pushed", 17) if passed else ("refused", None)
        self.change(gates=gates, verdict=verdict, pushed_version=version)

    def judge_shirts(self) -> None:
        """Lets the recall of shirts alone refuse the model, within the noise."""
        recalls = sorted(scores.recall for scores in self.receipt.evaluation.per_class.values())
        self.judge(recall=recalls[0] + min(0.01, (recalls[1] - recalls[0]) / 2))

    def slice_by_shop(self) -> None:
        """Enters slices by two columns: all that can become of one, and more than are open."""
        hits = self.choices == self.labels
        shops = np.array(["07", "7", "(missing)", "متجر"])[np.arange(len(hits)) % 4]
        shops[:3] = "tiny"
        columns = {
            "shop": (0.75, 50, shops),
            "camera no.": (
                None,
                5,
                np.char.add("camera ", (np.arange(len(hits)) // 8).astype(str)),
            ),
        }
        sliced, gates = {}, list(self.receipt.gates)
        for column, (threshold, least, values) in columns.items():
            scores = {}
            for value in np.unique(values).tolist():
                own = hits[values == value]
                accuracy, judged = own.mean(), threshold is not None and len(own) >= least
                scores[value] = {"accuracy": accuracy, "count": len(own), "judged": judged}
                if judged:
                    gates.append(gate("slice accuracy", f"{column}={value}", accuracy, threshold))
            about = {"threshold": threshold, "min_images": least, "values": scores}
            sliced[column] = about
        gates += [gate("slice accuracy", f"shop={name}", None, 0.75) for name in ("tiny", "gone")]
        asked = {
            column: {"accuracy": threshold, "min_images": least}
            for column, (threshold, least, _) in columns.items()
        }
        self.change(evaluation={"slices": sliced}, config={"gates": {"slices": asked}}, gates=gates)

    def with_gate(self, metric: str, **changes: Any) -> tuple[JudgedGate, ...]:
        """The gates, with those of a metric changed."""
        return tuple(
            dataclasses.replace(each, **changes) if each.metric == metric else each
            for each in self.receipt.gates
        )

    def end_in(self, node: str, message: str, **changes: Any) -> None:
        """Makes it a run that failed in a node: nothing after it ran."""
        names = list(self.receipt.nodes)
        for name in names[names.index(node) :]:
            status = NodeStatus.FAILED if name == node else NodeStatus.NOT_RUN
            self.nodes[name] = NodeExecution(status, 0.0, {})
            self.change(nodes={name: self.nodes[name].record})
        failure = {"node": node, "message": message}
        ended = {"status": "failed", "verdict": "none", "failure": failure}
        self.change(**{**ended, "evaluation": None, "gates": (), "pushed_version": None, **changes})

    def kill(self) -> None:
        """Makes it a run that was killed: its receipt is as it was at the beginning."""
        self.receipt = self.receipt.changed(
            status="interrupted", failure=None, nodes={}, seconds=None
        )

    def write_predictions(self) -> None:
        """The artifact of Predictions, as `components.features` describes it."""
        count, kind = len(self.labels), pa.list_(pa.float32())
        ends = np.arange(count + 1, dtype=np.int32) * len(self.classes)
        columns = {
            "example_id": pa.array(self.ids),
            "label": pa.array(self.labels),
            "image": pa.array([image.tobytes() for image in self.images], pa.binary()),
        }
        for name, values in (("candidate", self.candidate), ("baseline", self.baseline)):
            absent = values is None
            columns[name] = pa.nulls(count, kind) if absent else _lists(ends, values)
        described = {
            "class_names": json.dumps(self.classes),
            "image_shape": json.dumps(self.images.shape[1:]),
        }
        path = self.file("Predictions.predictions", features.PREDICTIONS_FILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns, metadata=described), path)

    def add_robustness(self) -> None:
        """Enters what was measured on corrupted images, with a gate, and the examples."""
        shares = {1: 0.7, 2: 0.5, 3: 0.3}
        scores = [
            {
                "corruption": name,
                "strength": strength,
                "amount": amount,
                "accuracy": shares[strength],
                "count": len(self.labels),
                "per_class": {
                    each: {"recall": shares[strength], "support": 40} for each in self.classes
                },
            }
            for (name, strength), amount in corruptions.amounts().items()
        ]
        judged = gate("accuracy under corruption", "noise, strength 2", 0.5, 0.4)
        self.change(robustness=scores, gates=(*self.receipt.gates, judged))
        folder = self.file("Corruption.examples")
        folder.mkdir(parents=True)
        about = ["clean", "noise, strength 2"]
        np.savez(folder / features.PREVIEW_FILE, images=self.images[:2], about=about)
        self.nodes["Corruption"] = _node("Corruption", self.folder, "examples")

    def write_statistics(self, counts: dict[str, dict[int, int]]) -> None:
        """What StatisticsGen writes of labels, by split and label."""
        folder = self.file("StatisticsGen.statistics")
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


def _lists(ends: np.ndarray, values: np.ndarray) -> pa.ListArray:
    return pa.ListArray.from_arrays(ends, values.astype(np.float32).ravel())


def _merged(old: Any, new: Any) -> Any:
    fields = dict(old) if isinstance(old, pydantic.BaseModel) else old
    if not isinstance(fields, dict) or not isinstance(new, dict):
        return new
    return {**fields, **{name: _merged(fields.get(name), part) for name, part in new.items()}}


def gate(metric: str, part: str, value: float | None, threshold: float) -> JudgedGate:
    """A gate, judged."""
    passed = value is not None and bool(value >= threshold)
    return JudgedGate(metric, part, value, threshold, passed)


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
    count = len(made.classes)
    shown = made.images[:count]
    ids = np.array([name.encode() for name in made.ids[:count]])
    noise = random.integers(0, 60, (count, 8, *shown.shape[1:]))
    augmented = np.clip(shown[:, np.newaxis] + noise, 0, 255).astype(np.uint8)
    # Not compressed: noise becomes no smaller, and of a thousand classes it takes ten seconds.
    np.savez(folder / features.AUGMENTED_FILE, ids=ids, originals=shown, augmented=augmented)
    maps = {
        name: random.integers(0, 256, (count, 16, side, side), np.uint8)
        for name, side in made.blocks.items()
    }
    np.savez(
        folder / features.FEATURE_MAPS_FILE, ids=ids, images=shown, blocks=list(made.blocks), **maps
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
    last = len(made.classes) - 1
    pair = {**splits, "first_label": min(3, last), "second_label": min(4, last)}
    similar = {
        "counts": [{**splits, "exact": 1, "near": 1, "other_label": 2, "complete": True}],
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


def _node(name: str, folder: Path, *keys: str) -> NodeExecution:
    outputs = {key: [ArtifactRecord(1, str(folder / f"{name}.{key}"), {})] for key in keys}
    return NodeExecution(NodeStatus.COMPLETE, 1.5, outputs)


_OUTPUTS = {
    "ImportSchemaGen": "schema",
    "StatisticsGen": "statistics",
    "DataGate": "report",
    "Trainer": "model_run",
    "Predictions": "predictions",
}


def _receipt(run_id: str) -> Receipt:
    request = {"profile": None, "data": "/data/my clothes", "runner": "local"}
    files = {f"{half}-{kind}": n * 64 for half in ("train", "t10k") for kind, n in _FILES.items()}
    data = {"name": "/data/my clothes", "sha256": files, "schema_sha256": "c" * 64}
    node = {"status": "complete", "seconds": 1.5, "code_fingerprint": None}
    return Receipt(
        run_id=run_id,
        # In the order of their ids.
        sequence=int(run_id.replace("-", "")),
        pipeline="clothes",
        command="python3 pipeline_runner.py run",
        request={**request, "assignments": (), "seed": None, "new_line": False},
        attempt=None,
        input_digest="9" * 64,
        host="host",
        user="user",
        began=datetime.datetime.strptime(run_id, "%Y%m%d-%H%M%S").replace(tzinfo=datetime.UTC),
        seconds=61.5,
        status="completed",
        nodes=dict.fromkeys(NODES, node),
        data={**data, "spans": (), "reference_span": None},
        config=config.load_config("default").model_dump(mode="json"),
        precision="float32",
        environment=provenance.environment(),
        served_before=None,
        code=code_of_checkout(),
    )


_FILES = {"images": "a", "labels": "b"}


def build_run(
    folder: Path,
    images: np.ndarray,
    labels: np.ndarray,
    run_id: str = FIRST_RUN,
    served: bool = True,
    seed: int = 1,
    surplus: float = 3.4,
    classes: tuple[str, ...] = CLASSES,
    pairs: bool = False,
) -> MadeRun:
    """Makes up a run in the folder of a pipeline.

    Args:
      folder: Folder of the pipeline.
      images: uint8 [N, height, width], or with a last axis of channels, of the test split.
      labels: int64 [N].
      run_id: Id of the run.
      served: Whether a model was served before, a little worse than the new one.
      seed: Random seed of the answers.
      surplus: Lead of the right class in the scores; the larger, the fewer errors.
      classes: Names of the classes, in label order.
      pairs: Whether each odd class is taken for the one before it, more than for others.
    """
    random = np.random.default_rng(seed)
    scores = random.normal(size=(len(labels), len(classes)))
    scores[np.arange(len(labels)), labels] += surplus
    # Shirts are taken for T-shirts.
    scores[labels == min(6, len(classes) - 1), 0] += 2.5
    if pairs:
        odd = np.flatnonzero(labels % 2)
        scores[odd, labels[odd] - 1] += surplus - 2
    before = scores + random.normal(scale=0.5, size=scores.shape)
    made = MadeRun(
        folder / "artifacts" / run_id,
        Locations(folder).runs,
        _receipt(run_id),
        {name: _node(name, folder) for name in NODES},
        images if images.ndim == 4 else images[..., np.newaxis],
        labels,
        softened(2 * scores),
        softened(2 * before) if served else None,
        classes,
    )
    made.nodes |= {name: _node(name, made.folder, key) for name, key in _OUTPUTS.items()}
    made.evaluate()
    made.write_predictions()
    _write_schema(made)
    _write_gate_report(made)
    _write_model_run(made, random)
    counts = {"train": 500, "val": 50, "test": len(labels) // len(classes)}
    splits = {split: dict.fromkeys(range(len(classes)), n) for split, n in counts.items()}
    made.write_statistics(splits)
    return made


@pytest.fixture(scope="session")
def drawn_images() -> tuple[np.ndarray, np.ndarray]:
    """Images of the synthetic sample, 40 of each class, and their labels."""
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
def build_full(
    tmp_path_factory: pytest.TempPathFactory, drawn_images: tuple[np.ndarray, np.ndarray]
) -> Callable[[], MadeRun]:
    """Makes up a refused run in whose review every section has something to say."""

    def build() -> MadeRun:
        folder = tmp_path_factory.mktemp("full") / "clothes"
        before = build_run(folder, *drawn_images, run_id="20260415-140007", seed=2)
        made = build_run(folder, *drawn_images, run_id="20260422-140312")
        counts = {"train": 5500, "val": 500, "test": 40}
        for run in (before, made):
            run.write_statistics({s: dict.fromkeys(range(10), n) for s, n in counts.items()})
        before.keep()
        made.judge_shirts()
        made.slice_by_shop()
        made.add_robustness()
        config = made.receipt.config
        made.change(
            config={**config, "training": {**config["training"], "minutes": 5.0}},
            settled_epochs=config["training"]["epochs"],
            hyperparameters={"learning_rate": 0.12, "augmentation.shift": 0.1},
            warm_start_from={"digest": "e" * 64, "version": 7},
        )
        made.before, made.others = before, [before.receipt, *_history(before.receipt)]
        return made

    return build


def _history(like: Receipt) -> list[Receipt]:
    """Runs that ended in every way."""
    failure = {"node": "Trainer", "message": "disk full"}
    ways = {
        "20260401": {"pushed_version": 1},
        "20260405": {"verdict": "refused", "pushed_version": None, "seconds": 715.0},
        "20260412": {"verdict": "none", "status": "failed", "evaluation": None, "failure": failure},
        "20260418": {"verdict": "stopped", "status": "failed", "evaluation": None},
        "20260420": {"verdict": "none", "status": "interrupted", "seconds": None},
    }
    return [
        like.changed(run_id=f"{day}-140007", sequence=int(f"{day}140007"), **way)
        for day, way in ways.items()
    ]


@pytest.fixture(scope="session")
def full(build_full: Callable[[], MadeRun]) -> Summary:
    """A review in which every section has something to say."""
    return build_full().collect()


@pytest.fixture(scope="session")
def default_run(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A review as large as that of a default run: 10,000 test images, here of noise."""
    images = np.random.default_rng(4).integers(0, 256, (10_000, 28, 28), np.uint8)
    labels = np.arange(10_000) % len(CLASSES)
    folder = tmp_path_factory.mktemp("default") / "clothes"
    return build_run(folder, images, labels, surplus=3.2).collect()


# --- Any data: names, images and numbers of classes of every kind ---------------------------------

_ARABIC = ("قميص", "فستان", "حذاء رياضي", "حقيبة", "معطف", "بنطلون", "سترة", "صندل", "قبعة", "وشاح")


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"Species {number:03d}" for number in range(count))


def _long(words: str, count: int) -> tuple[str, ...]:
    """Names of 200 characters that differ at their ends."""
    filled = words * (200 // len(words) + 1)
    return tuple(f"{filled[:196]}{number:04d}" for number in range(count))


@dataclasses.dataclass(frozen=True)
class _Wide:
    """Data of one kind: names of the classes, number and shape of the test images."""

    names: tuple[str, ...]
    count: int
    shape: tuple[int, ...]
    uneven: bool = False


_WIDE = {
    "two": _Wide(_numbered(2), 50, (28, 28)),
    "right to left": _Wide(_ARABIC, 400, (48, 64, 3)),
    "long names": _Wide(_long("Megalosaurus of the Taynton Limestone ", 20), 400, (32, 32)),
    "large colour": _Wide(_numbered(10), 300, (160, 160, 3)),
    "uneven": _Wide(_numbered(50), 2_000, (28, 28), uneven=True),
    "many": _Wide(_numbered(200), 12_000, (28, 28)),
    "one each": _Wide(_numbered(200), 200, (160, 160, 3)),
    "worst": _Wide(_long("قميص طويل من القطن ", 200), 2_000, (96, 96, 3)),
    "markup": _Wide(
        tuple(f"<b title='{number}'>{{{{ 7 }}}}&</script>\"" for number in range(30)), 300, (28, 28)
    ),
}


# Others take seconds each, and are as wide or have as many images.
_SLOW = ("one each", "uneven", "worst")
_EACH_WIDE = [
    pytest.param(kind, marks=[pytest.mark.slow] if kind in _SLOW else []) for kind in _WIDE
]


@pytest.fixture(scope="session", params=_EACH_WIDE)
def wide(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def wide_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], MadeRun]:
    """Makes up a run on data of a kind; its images are of noise, which no format makes smaller."""

    def build(kind: str) -> MadeRun:
        data, random = _WIDE[kind], np.random.default_rng(3)
        classes = len(data.names)
        labels = np.arange(data.count) % classes
        if data.uneven:
            labels[classes:] = random.geometric(0.1, data.count - classes).clip(1, classes) - 1
        images = random.integers(0, 256, (data.count, *data.shape), np.uint8)
        folder = tmp_path_factory.mktemp("wide") / "clothes"
        made = build_run(
            folder, images, labels, run_id=FIRST_RUN, classes=data.names, surplus=6.0, pairs=True
        )
        made.add_robustness()
        return made

    return build


@pytest.fixture(scope="session")
def pixels() -> Callable[[Sheet, int], np.ndarray]:
    """Finds an image of a sheet: uint8 [height, width] or [height, width, 3]."""

    def found(sheet: Sheet, position: int) -> np.ndarray:
        whole = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet.content))))
        top = position // sheet.columns * sheet.height
        left = position % sheet.columns * sheet.width
        return whole[top : top + sheet.height, left : left + sheet.width]

    return found
