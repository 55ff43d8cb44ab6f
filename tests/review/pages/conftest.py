"""Made-up reviews: summaries as a run could have them, of answers drawn at random."""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.sample import draw_sample
from review import summary
from review.page import charts_of, render
from review.statistics import proportion

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Who is easily taken for whom, by number.
_ALIKE = {0: (6, 3), 2: (4, 6), 3: (0, 4), 4: (2, 6), 5: (7,), 6: (0, 2, 4), 7: (9, 5), 9: (7,)}
_SHOWN = 25
_CORRUPTIONS = ("noise", "blur", "brightness", "contrast", "rotation", "shift", "occlusion")
# Sections that a run may be without.
PARTS = (
    "gates",
    "comparison",
    "report",
    "confusion",
    "calibration",
    "robustness",
    "data",
    "suspects",
    "training",
    "inside",
)
# Tries to leave every place that text can stand in.
MARKUP = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    '"\' onload="window.hacked = 1" & </title></style></script>]]>\u2028{{ 7 * 7 }} \\ a.b'
)


@dataclasses.dataclass(frozen=True)
class Answers:
    """What two models say of test images.

    Attributes:
      images: uint8 [N, height, width].
      labels: int [N].
      candidate: probabilities of the new model, float [N, classes].
      baseline: those of the served model.
      names: of the classes, in label order.
    """

    images: np.ndarray
    labels: np.ndarray
    candidate: np.ndarray
    baseline: np.ndarray
    names: Sequence[str] = CLASSES

    def right(self, probabilities: np.ndarray) -> np.ndarray:
        """Which images a model gets right, bool [N]."""
        return probabilities.argmax(axis=1) == self.labels


def draw_answers(images: np.ndarray, labels: np.ndarray) -> Answers:
    """Draws the answers of two models that mistake garments which are alike."""
    random = np.random.default_rng(11)
    shared = random.normal(size=(len(labels), len(CLASSES)))
    candidate, baseline = (_answer(labels, shared, random) for _ in range(2))
    return Answers(images, labels.astype(int), candidate, baseline)


def _answer(labels: np.ndarray, shared: np.ndarray, random: np.random.Generator) -> np.ndarray:
    logits = 0.8 * shared + 0.5 * random.normal(size=shared.shape)
    for row, label in zip(logits, labels, strict=True):
        row[label] += 5.2 - 0.35 * len(_ALIKE.get(int(label), ()))
        row[list(_ALIKE.get(int(label), ()))] += 2.4
    odds = np.exp(1.7 * logits)
    return odds / odds.sum(axis=1, keepdims=True)


class _Shown:
    """Gives images a place in the sheet when they are first asked for."""

    def __init__(self, answers: Answers):
        self._answers = answers
        self._places: dict[int, int] = {}

    def gallery(self, which: Iterable[int]) -> summary.Gallery:
        found = [int(number) for number in which]
        places = [self._places.setdefault(n, len(self._places)) for n in found[:_SHOWN]]
        return summary.Gallery(count=len(found), images=places)

    def records(self) -> list[summary.ImageRecord]:
        return [self._record(number) for number in self._places]

    def sheet(self) -> summary.Sheet:
        return make_sheet(self._answers.images[list(self._places)], 32)

    def _record(self, number: int) -> summary.ImageRecord:
        answers = self._answers
        return summary.ImageRecord(
            example_id=f"test-{number:05}",
            label=answers.names[answers.labels[number]],
            choices=_choices(answers, answers.candidate[number])[:3],
            baseline=_choices(answers, answers.baseline[number])[0],
        )


def _choices(answers: Answers, probabilities: np.ndarray) -> list[summary.Choice]:
    order = probabilities.argsort()[::-1]
    return [
        summary.Choice(name=answers.names[n], probability=float(probabilities[n])) for n in order
    ]


def make_sheet(images: np.ndarray, columns: int) -> summary.Sheet:
    """Images (uint8 [N, height, width]) in one PNG."""
    count, height, width = images.shape
    rows = -(-count // columns)
    canvas = np.zeros((rows * columns, height, width), np.uint8)
    canvas[:count] = images
    picture = canvas.reshape(rows, columns, height, width).transpose(0, 2, 1, 3)
    file = io.BytesIO()
    Image.fromarray(picture.reshape(rows * height, columns * width)).save(file, "PNG")
    return summary.Sheet(
        png=base64.b64encode(file.getvalue()).decode(),
        height=height,
        width=width,
        columns=columns,
        count=count,
    )


def make_summary(answers: Answers) -> summary.Summary:
    """The review of a refused run in which every section has something to say."""
    shown = _Shown(answers)
    report = _report(answers)
    gates = _gates(answers, report)
    comparison = _comparison(answers, shown)
    sections = {
        "gates": gates,
        "comparison": comparison,
        "report": report,
        "confusion": _confusion(answers, shown),
        "calibration": _calibration(answers),
        "robustness": _robustness(answers, report),
        "data": _data(answers.names),
        "suspects": _suspects(answers),
        "training": _training(answers),
        "inside": _inside(answers, shown),
    }
    worst = report.classes[0]
    return summary.Summary(
        run=_run(),
        class_names=list(answers.names),
        sheet=shown.sheet(),
        images=shown.records(),
        verdict=summary.Verdict(
            headline="Refused by 1 of 12 gates, nothing pushed.",
            reasons=[gate.sentence for gate in gates if not gate.passed],
            advice="Look at Shirt: most of its errors are taken for T-shirt/top and Coat.",
            accuracy=report.accuracy,
            change=comparison.change,
            worst_class=summary.WorstClass(name=worst.name, recall=worst.recall),
        ),
        history=_history(report.accuracy),
        lineage=_lineage(),
        missing={},
        **sections,
    )


def _run() -> summary.Run:
    names = ("ImportSchemaGen", "ExampleGen", "StatisticsGen", "ExampleValidator", "DataGate")
    names += ("Transform", "Trainer", "ServingCheck", "Evaluator", "Predictions", "Pusher")
    nodes = [
        summary.Node(name=name, status="cached" if n in (0, 2, 3) else "complete", seconds=2.5 * n)
        for n, name in enumerate(names)
    ]
    return summary.Run(
        id="20260422-140312",
        pipeline="fashion-mnist",
        profile="default",
        began="2026-04-22T14:03:12+00:00",
        seconds=771.4,
        status="completed",
        verdict="refused",
        command="python3 pipeline_runner.py run --profile default --seed 1",
        data="Fashion-MNIST",
        is_sample=False,
        pushed_version=None,
        failure=None,
        nodes=nodes,
    )


def _estimate(value: float, half: float) -> summary.Estimate:
    interval = summary.Interval(low=value - half, high=value + half)
    return summary.Estimate(value=value, interval=interval)


def _report(answers: Answers) -> summary.Report:
    predicted = answers.candidate.argmax(axis=1)
    classes = []
    for number, name in enumerate(answers.names):
        true, given = answers.labels == number, predicted == number
        hits = int((true & given).sum())
        precision = proportion(hits, int(given.sum()))
        recall = proportion(hits, int(true.sum()))
        f1 = _estimate(2 * hits / int(true.sum() + given.sum()), 0.012)
        support = recall.total
        classes.append(
            summary.ClassScores(
                name=name, precision=precision, recall=recall, f1=f1, support=support
            )
        )
    accuracy = proportion(int(answers.right(answers.candidate).sum()), len(predicted))
    means = {
        kind: float(np.mean([getattr(scores, kind).value for scores in classes]))
        for kind in ("precision", "recall", "f1")
    }
    return summary.Report(
        accuracy=accuracy,
        top_2_accuracy=0.98765,
        cross_entropy=0.17123,
        classes=sorted(classes, key=lambda scores: scores.recall.value),
        averages=[
            summary.AverageScores(name=name, support=len(predicted), **means)
            for name in ("macro", "weighted")
        ],
    )


def _gates(answers: Answers, report: summary.Report) -> list[summary.Gate]:
    least = report.classes[0].recall.value + 0.004
    found = [_gate("accuracy", "overall", report.accuracy, 0.9)]
    found += [_gate("recall", s.name, s.recall, least) for s in reversed(report.classes)]
    change = _estimate(0.0021, 0.0035)
    sentence = (
        "The accuracy may fall by at most 0.005 against the served model, and rose by 0.0021."
    )
    return [
        *found,
        summary.Gate(
            metric="accuracy against the served model",
            slice="overall",
            value=change.value,
            interval=change.interval,
            threshold=-0.005,
            margin=0.0071,
            passed=True,
            noise=False,
            sentence=sentence,
        ),
    ]


def _gate(metric: str, of: str, value: summary.Proportion, threshold: float) -> summary.Gate:
    passed = value.value >= threshold
    noise = value.interval.low <= threshold <= value.interval.high
    sentence = (
        f"{metric.capitalize()} of {of} is {value.value:.3f}; at least {threshold:.3f} is wanted: "
        f"{'passed' if passed else 'failed'}{', which may be noise' if noise else ''}."
    )
    return summary.Gate(
        metric=metric,
        slice=of,
        value=value.value,
        interval=value.interval,
        threshold=threshold,
        margin=value.value - threshold,
        passed=passed,
        noise=noise,
        sentence=sentence,
    )


def _comparison(answers: Answers, shown: _Shown) -> summary.Comparison:
    new, old = answers.right(answers.candidate), answers.right(answers.baseline)
    confidence = answers.candidate.max(axis=1)
    broken, fixed = (
        sorted(np.flatnonzero(which), key=lambda number: -confidence[number])
        for which in (~new & old, new & ~old)
    )
    changes = []
    for number, name in enumerate(answers.names):
        true = answers.labels == number
        candidate = proportion(int(new[true].sum()), int(true.sum()))
        baseline = proportion(int(old[true].sum()), int(true.sum()))
        changes.append(
            summary.ClassChange(
                name=name,
                candidate=candidate,
                baseline=baseline,
                change=_estimate(candidate.value - baseline.value, 0.011),
                newly_fixed=int((true & new & ~old).sum()),
                newly_broken=int((true & ~new & old).sum()),
            )
        )
    return summary.Comparison(
        candidate_name="this run",
        baseline_name="served, version 7",
        candidate=proportion(int(new.sum()), len(new)),
        baseline=proportion(int(old.sum()), len(old)),
        change=_estimate(float(new.mean() - old.mean()), 0.0035),
        both_right=int((new & old).sum()),
        only_candidate=len(fixed),
        only_baseline=len(broken),
        both_wrong=int((~new & ~old).sum()),
        p_value=0.27345,
        classes=sorted(changes, key=lambda change: -abs(change.change.value)),
        newly_broken=shown.gallery(broken),
        newly_fixed=shown.gallery(fixed),
    )


def _confusion(answers: Answers, shown: _Shown) -> summary.Confusion:
    predicted, confidence = answers.candidate.argmax(axis=1), answers.candidate.max(axis=1)
    rows = []
    for label, name in enumerate(answers.names):
        row = []
        for guess, guessed in enumerate(answers.names):
            inside = np.flatnonzero((answers.labels == label) & (predicted == guess))
            inside = sorted(inside, key=lambda number: -confidence[number])
            share = len(inside) / max(1, int((answers.labels == label).sum()))
            gallery = shown.gallery(inside)
            row.append(
                summary.Cell(
                    label=name, predicted=guessed, count=len(inside), share=share, gallery=gallery
                )
            )
        rows.append(row)
    off = [cell for row in rows for cell in row if cell.label != cell.predicted and cell.count]
    wrong = np.flatnonzero(predicted != answers.labels)
    return summary.Confusion(
        class_names=list(answers.names),
        rows=rows,
        pairs=sorted(off, key=lambda cell: -cell.count)[:10],
        confident_errors=shown.gallery(sorted(wrong, key=lambda number: -confidence[number])),
    )


def _calibration(answers: Answers) -> summary.Calibration:
    confidence, right = answers.candidate.max(axis=1), answers.right(answers.candidate)
    bins = []
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        inside = (confidence > low) & (confidence <= high)
        mean = float(confidence[inside].mean()) if inside.any() else None
        accuracy = proportion(int(right[inside].sum()), int(inside.sum()))
        bins.append(summary.CalibrationBin(low=low, high=high, confidence=mean, accuracy=accuracy))
    order = confidence.argsort()[::-1]
    points = [
        summary.CoveragePoint(
            coverage=count / len(order),
            threshold=float(confidence[order[count - 1]]),
            accuracy=float(right[order[:count]].mean()),
        )
        for count in np.linspace(len(order), len(order) // 10, 19).astype(int)
    ]
    return summary.Calibration(
        ece=_estimate(0.00731, 0.0021),
        ece_before=0.04312,
        temperature=0.83127,
        cross_entropy=0.17123,
        bins=bins,
        coverage=points,
    )


def _robustness(answers: Answers, report: summary.Report) -> summary.Robustness:
    scores = []
    for number, corruption in enumerate(_CORRUPTIONS):
        for strength in (1, 2, 3):
            kept = 1 - 0.02 * (number + 1) * strength
            accuracy = proportion(int(report.accuracy.hits * kept), report.accuracy.total)
            classes = {
                c.name: proportion(int(c.recall.hits * kept), c.recall.total)
                for c in report.classes
            }
            scores.append(
                summary.CorruptionScores(
                    corruption=corruption,
                    strength=strength,
                    amount=f"standard deviation {10 * strength} of 255, from the edges inwards",
                    accuracy=accuracy,
                    classes=classes,
                )
            )
    about = [f"{s.corruption}, strength {s.strength}: {s.amount}" for s in scores]
    random = np.random.default_rng(2)
    images = np.repeat(answers.images[:1], len(scores), axis=0).astype(int)
    images += random.integers(-60, 60, images.shape)
    return summary.Robustness(
        clean=report.accuracy,
        scores=scores,
        examples=make_sheet(images.clip(0, 255).astype(np.uint8), 3),
        examples_about=about,
    )


def _data(names: Sequence[str]) -> summary.Data:
    def split(name: str, count: int, before: int) -> summary.SplitCounts:
        classes = dict.fromkeys(names, count)
        classes[names[0]] += 17
        return summary.SplitCounts(
            name=name,
            count=sum(classes.values()),
            classes=classes,
            before=dict.fromkeys(names, before),
        )

    return summary.Data(
        splits=[split("train", 5500, 5500), split("val", 500, 500), split("test", 1000, 1000)],
        run_before="20260415-140007",
        class_distance=0.00031,
        same_files=False,
        findings=[
            summary.Finding(check="anomalies", line="image: 3 values are shorter than expected"),
            summary.Finding(check="duplicates", line="42 images of train are in test too"),
        ],
        drifts=[
            summary.Drift(
                feature="label", measure="L-infinity distance", value=0.00027, threshold=0.01
            )
        ],
    )


def _label_error(answers: Answers, number: int) -> summary.LabelError:
    first = _choices(answers, answers.candidate[number])[0]
    return summary.LabelError(
        example_id=f"test-{number:05}",
        label=answers.names[answers.labels[number]],
        predicted=first.name,
        probability=first.probability,
    )


def _suspects(answers: Answers) -> summary.Suspects:
    confidence = answers.candidate.max(axis=1)
    doubtful = np.flatnonzero(~answers.right(answers.candidate) & (confidence > 0.9))
    pairs = [
        summary.SimilarPair(
            first=f"train-{number:05}",
            second=f"test-{number:05}",
            first_split="train",
            second_split="test",
            first_label=answers.names[2],
            second_label=answers.names[4 if number else 2],
            distance=1.25 * number,
        )
        for number in range(6)
    ]
    return summary.Suspects(
        label_errors=[_label_error(answers, number) for number in doubtful],
        label_error_count=len(doubtful) + 1,
        label_error_confidence=0.9,
        similar_counts=[
            summary.SimilarCount(
                first_split=first, second_split=second, exact=3, near=1042, other_label=12
            )
            for first, second in (("train", "train"), ("train", "test"), ("test", "test"))
        ],
        similar_pairs=pairs,
        similar_searched=100_000,
        similar_of=123_456,
        similar_images=make_sheet(np.repeat(answers.images[:6], 2, axis=0), 12),
    )


def _training(answers: Answers) -> summary.Training:
    epochs = []
    for epoch in range(1, 27):
        left = float(np.exp(-epoch / 7))
        epochs.append(
            summary.Epoch(
                epoch=epoch,
                loss=0.62 + 0.9 * left,
                accuracy=0.935 - 0.3 * left,
                validation_loss=0.6 + 0.7 * left + 0.002 * (epoch % 3),
                validation_accuracy=0.946 - 0.25 * left,
                learning_rate=0.1 * min(epoch / 5, (27 - epoch) / 22),
            )
        )
    originals = answers.images[:4]
    rows = np.stack([np.roll(originals, turn, axis=2) for turn in range(6)], axis=1)
    return summary.Training(
        epochs=epochs,
        chosen_epoch=25,
        planned_epochs=26,
        seconds=507.2,
        augmented=make_sheet(rows.reshape(-1, *originals.shape[1:]), 6),
        augmentation={"flip": "left and right", "shift": "up to 2 pixels", "erasing": "0.3"},
        hyperparameters={"optimizer.learning_rate": "0.12", "dropout": "0.1"},
        warm_start_from="version 7, run 20260415-140007",
    )


def _inside(answers: Answers, shown: _Shown) -> summary.Inside:
    maps = [
        summary.FeatureMaps(
            example_id=f"test-{number:05}",
            label=answers.names[answers.labels[number]],
            image=make_sheet(answers.images[number : number + 1], 1),
            blocks={
                "stage 1": make_sheet(answers.images[number : number + 8, ::2, ::2], 8),
                "stage 2": make_sheet(answers.images[number : number + 8, ::4, ::4], 8),
            },
        )
        for number in (0, 8, 16)
    ]
    return summary.Inside(samples=shown.gallery(range(_SHOWN)), feature_maps=maps)


def _history(accuracy: summary.Proportion) -> list[summary.PastRun]:
    def past(day: int, verdict: str, change: float) -> summary.PastRun:
        hits = int(accuracy.hits - change * accuracy.total)
        return summary.PastRun(
            id="20260422-140312" if day == 22 else f"202604{day:02}-140007",
            began=f"2026-04-{day:02}T14:00:07+00:00",
            status="failed" if verdict == "none" else "completed",
            verdict=verdict,
            accuracy=None if verdict in ("none", "stopped") else proportion(hits, accuracy.total),
            seconds=None if verdict == "none" else 700.0 + day,
            pushed_version=day if verdict == "pushed" else None,
        )

    return [
        past(1, "pushed", 0.02),
        past(5, "refused", 0.015),
        past(8, "pushed", 0.012),
        past(12, "none", 0.0),
        past(15, "pushed", 0.004),
        past(18, "stopped", 0.0),
        past(22, "refused", 0.0),
    ]


def _lineage() -> summary.Lineage:
    return summary.Lineage(
        data={f"{half}-images-idx3-ubyte.gz": 8 * f"{n}a1b2c3d" for n, half in enumerate("ab")},
        revision="f0f2b11d0c1f4f6d9b5a7e3c2d1e0f9a8b7c6d5e",
        dirty=True,
        lock="glibc-2.39.txt",
        lock_sha256=8 * "0f1e2d3c",
        seed=1,
        precision="mixed_bfloat16",
        machine={"processor": "Intel Xeon, 2 cores", "memory": "16 GiB"},
        versions={"tensorflow": "2.21.0", "tfx": "1.21.0", "keras": "3.15.0"},
        parameters={"training.epochs": "26", "gates.accuracy": "0.9", "split.seed": "1"},
        digests={"ExampleGen.examples": 8 * "c0ffee00", "Trainer.model": 8 * "deadbeef"},
        model_digest=8 * "deadbeef",
        commands=["git checkout f0f2b11d", "python3 pipeline_runner.py run --seed 1"],
    )


# --- Kinds of reviews ---------------------------------------------------------------------------


def _changed(part: Any, **values: Any) -> Any:
    return part.model_copy(update=values)


def _without(review: summary.Summary, reason: str, parts: Sequence[str]) -> summary.Summary:
    missing = {part: f"{reason} ({part})" for part in parts}
    return _changed(review, **dict.fromkeys(parts), missing={**review.missing, **missing})


def _unseen(review: summary.Summary) -> summary.Summary:
    """A review whose run came to no images."""
    words = _changed(review.verdict, accuracy=None, change=None, worst_class=None)
    return _changed(review, class_names=[], sheet=None, images=[], verdict=words)


def _first_run(review: summary.Summary) -> summary.Summary:
    """Pushed, with nothing before it, and without all that a run can do without."""
    run = _changed(review.run, verdict="pushed", pushed_version=1)
    data = _changed(
        review.data,
        splits=[_changed(split, before=None) for split in review.data.splits],
        run_before=None,
        class_distance=None,
        same_files=None,
        findings=[],
        drifts=[],
    )
    return _without(
        _changed(
            review,
            run=run,
            verdict=_changed(review.verdict, change=None, reasons=[]),
            gates=[_changed(gate, interval=None, noise=None) for gate in review.gates],
            calibration=_changed(review.calibration, ece_before=None, temperature=None),
            robustness=_changed(review.robustness, examples=None, examples_about=[]),
            data=data,
            suspects=_changed(
                review.suspects, similar_counts=None, similar_pairs=[], similar_images=None
            ),
            training=_changed(
                review.training,
                seconds=None,
                augmented=None,
                hyperparameters=None,
                warm_start_from=None,
            ),
            inside=_changed(review.inside, feature_maps=[]),
            history=review.history[-1:],
        ),
        "No model was served.",
        ["comparison"],
    )


def _stopped(review: summary.Summary) -> summary.Summary:
    run = _changed(review.run, verdict="stopped")
    parts = [part for part in PARTS if part != "data"]
    return _without(_changed(_unseen(review), run=run), "DataGate stopped the run.", parts)


def _crashed(review: summary.Summary) -> summary.Summary:
    failure = summary.Failure(node="Trainer", message="The loss is no number.\nLower the rate.")
    run = _changed(review.run, verdict="none", status="failed", seconds=None, failure=failure)
    parts = [part for part in PARTS if part not in ("data", "training")]
    return _without(_changed(_unseen(review), run=run), "Trainer failed.", parts)


def _sample(review: summary.Summary) -> summary.Summary:
    return _changed(review, run=_changed(review.run, is_sample=True, verdict="pushed"))


def _cleaned(review: summary.Summary) -> summary.Summary:
    return _changed(_without(_unseen(review), "Removed by `clean`.", PARTS), history=[])


def _hostile(review: summary.Summary) -> summary.Summary:
    """With markup in every name, path, message and key."""
    return summary.Summary.model_validate(_with_markup(review.model_dump()))


def _with_markup(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        # Fields have names of their own; other keys are classes, files, parameters.
        fields = set(value) <= _FIELDS
        return {
            name if fields else name + MARKUP: _with_markup(part, name)
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_with_markup(part, key) for part in value)
    return value + MARKUP if isinstance(value, str) and key not in _NOT_FREE else value


def _fields(model: type[summary.Part]) -> set[str]:
    return set(model.model_fields).union(*map(_fields, model.__subclasses__()))


_FIELDS = _fields(summary.Part)
# Not free text, but base64, a time, and one of four words.
_NOT_FREE = ("png", "began", "verdict")

_KINDS: dict[str, Callable[[summary.Summary], summary.Summary]] = {
    "full": lambda review: review,
    "first run": _first_run,
    "stopped": _stopped,
    "crashed": _crashed,
    "sample": _sample,
    "cleaned": _cleaned,
    "hostile": _hostile,
}


@pytest.fixture(scope="session")
def full() -> summary.Summary:
    """A review in which every section has something to say."""
    images, labels = draw_sample(1, 30, 3)[1]
    return make_summary(draw_answers(images, labels))


@pytest.fixture(scope="session")
def review_of(full) -> Callable[[str], summary.Summary]:
    """The review of a kind of run, by its name in `_KINDS`."""
    return functools.cache(lambda kind: _KINDS[kind](full))


@pytest.fixture(scope="session")
def page_of(review_of) -> Callable[[str], str]:
    """The page of a kind of run."""

    @functools.cache
    def rendered(kind: str) -> str:
        review = review_of(kind)
        return render(review, charts_of(review))

    return rendered


@pytest.fixture(scope="session", params=_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def comparison(full) -> summary.RunComparison:
    """Two runs with different settings on the same images."""
    return summary.RunComparison(
        first=_changed(full.run, id="20260415-140007", verdict="pushed", pushed_version=7),
        second=full.run,
        comparison=full.comparison,
        missing=None,
        accuracies=(full.report.accuracy, full.report.accuracy),
        parameters={"training.epochs": ("20", "26")},
        facts={"revision": ("1157f0d2", "f0f2b11d")},
        sheet=full.sheet,
        images=full.images,
    )


@pytest.fixture(scope="session")
def default_run() -> summary.Summary:
    """A review as large as that of a default run: 10,000 test images, here of noise."""
    random = np.random.default_rng(4)
    images = random.integers(0, 256, (10_000, 28, 28), np.uint8)
    return make_summary(draw_answers(images, np.arange(10_000) % len(CLASSES)))


@pytest.fixture(scope="session")
def contrast() -> Callable[[Sequence[float], Sequence[float]], float]:
    """The contrast of two colours (red, green, blue, 0 to 1) as WCAG 2.2 defines it: 1 to 21."""

    def luminance(color: Sequence[float]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def of(first: Sequence[float], second: Sequence[float]) -> float:
        lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
        return (lighter + 0.05) / (darker + 0.05)

    return of
