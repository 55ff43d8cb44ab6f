"""Blessing: a model is blessed exactly if every declared gate was measured and passed.

TFMA validates the measurements with its own functions, as in Evaluator. The property test generates
the measurements; in the other tests, TFMA measures predictions.
"""

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import hypothesis
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from hypothesis import strategies
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import metrics_for_slice_pb2, validation_result_pb2
from tfx.components.pusher import executor as pusher_executor
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts

import components.evaluation_metrics  # noqa: F401  registers the metric that the gates name
from components import features, slices
from components import quality_gates as gate_types
from components.blessing import measurement
from components.blessing.executor import Executor
from components.blessing.judgement import JudgementError
from components.evaluator.executor import Executor as Evaluator
from components.examples import Split
from components.image_schema import ImageSchema
from components.predictions.executor import Answers, answers_table, predictions_table
from components.pusher import versions
from pipeline import config, gates
from pipeline.runners.engine import NODE_ARGUMENTS

CLASSES = ("bag", "boot", "hat")
ROBUST = ["robustness.enabled=true", "robustness.accuracy_1=0.4", "robustness.accuracy_3=0.2"]
LENIENT = ("gates.accuracy=0", "gates.class_recall=0")
METRIC = "sparse_categorical_accuracy"
BALANCED = "balanced_accuracy"
# A share that lacks less may pass: the allowance for TFMA's rounding, and what it may take.
MOST_LACKING = Fraction("3e-7")
THRESHOLDS = strategies.integers(0, 100).map(lambda hundredths: hundredths / 100)
# For some of them, a threshold is a whole number of images.
COUNTS = strategies.sampled_from([1, 7, 20, 100, 300, 1_000, 10_000, 123_457, 1_000_000])


class Share(NamedTuple):
    """Right answers of the new model to some images; for a change, also of the served one."""

    right: int
    images: int
    served_right: int = 0

    @property
    def exact(self):
        return Fraction(self.right - self.served_right, self.images)

    def measured(self, gate):
        """The value as TFMA rounds it."""
        dtype = np.float64 if gate.metric in gate_types.BALANCED else np.float32
        images = dtype(self.images)
        return float(dtype(self.right) / images - dtype(self.served_right) / images)


ALL_RIGHT = Share(1, 1)


@strategies.composite
def figures_of(draw, gate):
    """A possible result of TFMA: none, no usable number, or a share, often at the threshold."""
    if draw(strategies.integers(0, 3)) == 0:
        unusable = strategies.sampled_from([math.nan, math.inf, -math.inf])
        return draw(strategies.one_of(strategies.none(), unusable))
    images = draw(COUNTS)
    served = draw(strategies.integers(0, images)) if gate.metric in gate_types.CHANGES else 0
    near = served + round(gate.threshold * images) + draw(strategies.integers(-1, 1))
    right = draw(strategies.one_of(strategies.integers(0, images), strategies.just(near)))
    return Share(min(max(right, 0), images), images, served)


class Measured:
    """The result of TFMA for given accuracies, in the form that Blessing reads."""

    def __init__(self, evaluation, figures, changes, balanced=None, balanced_change=None):
        compared = changes is not None
        self._config = tfma.utils.update_eval_config_with_defaults(
            evaluation, has_baseline=compared, rubber_stamp=True
        )
        name = features.CANDIDATE if compared else ""
        key = metric_types.MetricKey(METRIC, model_name=name)
        change = metric_types.MetricKey(METRIC, model_name=features.CANDIDATE, is_diff=True)
        self.slices = {}
        for place, value in figures.items():
            self.slices.setdefault(place, {})[key] = value
        # TFMA measures it in each slice, though the gate covers only all images together.
        of_slices = {place: 1.0 for place in figures if place}
        overall = {} if balanced is None else {(): balanced}
        balanced_key = metric_types.MetricKey(BALANCED, model_name=name)
        for place, value in {**of_slices, **overall}.items():
            self.slices.setdefault(place, {})[balanced_key] = value
        for place, value in (changes or {}).items():
            self.slices.setdefault(place, {})[change] = value
            # It compares that as well, in each slice.
            if place:
                self.slices[place][balanced_key._replace(is_diff=True)] = 0.0
        if compared and balanced_change is not None:
            self.slices.setdefault((), {})[balanced_key._replace(is_diff=True)] = balanced_change

    def metrics(self):
        for place, values in self.slices.items():
            found = metrics_for_slice_pb2.MetricsForSlice(
                slice_key=tfma.slicer.serialize_slice_key(place)
            )
            for key, value in values.items():
                entry = found.metric_keys_and_values.add(key=key.to_proto())
                if math.isnan(value):
                    # TFMA writes this for a value that it could not compute.
                    entry.value.unknown_type.error = "no value"
                else:
                    entry.value.double_value.value = value
            yield found

    def validation(self):
        """Validates each slice and merges the results, with TFMA's own steps."""
        whole = validation_result_pb2.ValidationResult(validation_ok=True)
        for one in self.slices.items():
            found = metrics_validator.validate_metrics(one, self._config)
            whole.validation_ok &= found.validation_ok
            whole.metric_validations_per_slice.extend(found.metric_validations_per_slice)
            metrics_validator.merge_details(whole, found)
        missing = metrics_validator.get_missing_slices(
            whole.validation_details.slicing_details, self._config
        )
        whole.missing_slices.extend(missing)
        whole.validation_ok &= not missing
        return whole


@pytest.fixture
def judge(tmp_path_factory):
    """Runs the node; returns whether Pusher would push, and the judged gates."""

    def run(declared, clean, corrupted, is_served, baseline, monkeypatch):
        folder = tmp_path_factory.mktemp("blessing")
        measured = {str(folder / "clean"): clean, str(folder / "corrupted"): corrupted}
        # Only a Beam pipeline writes the files that TFMA reads.
        monkeypatch.setattr(measurement.tfma, "load_metrics", lambda uri: measured[uri].metrics())
        monkeypatch.setattr(
            measurement.tfma, "load_validation_result", lambda uri: measured[uri].validation()
        )
        inputs = {
            "model": [artifact(standard_artifacts.Model, folder / "model", 8)],
            "evaluation": [artifact(standard_artifacts.ModelEvaluation, folder / "clean", 9)],
        }
        if corrupted:
            found = artifact(standard_artifacts.ModelEvaluation, folder / "corrupted", 10)
            inputs["robustness_evaluation"] = [found]
        if baseline:
            served = artifact(standard_artifacts.Model, folder / "served", 3)
            if isinstance(baseline, str):
                served.set_string_custom_property(versions.SERVED_IDENTITY, baseline)
            inputs["baseline_model"] = [served]
        return blessed(inputs, declared, is_served, folder)

    return run


def artifact(kind, folder, number):
    found = kind()
    found.uri, found.id = str(folder), number
    return found


def blessed(inputs, declared, is_served, folder, slicings=()):
    blessing = artifact(standard_artifacts.ModelBlessing, folder / "blessing", 11)
    parameters = {
        "gates": gate_types.declared_to_json(declared),
        "slices": slices.slicings_to_json(slicings),
        "is_served": int(is_served),
    }
    Executor().Do(inputs, {"blessing": [blessing]}, parameters)
    text = Path(blessing.uri, features.GATES_FILE).read_text(encoding="utf-8")
    pushed = pusher_executor.Executor().CheckBlessing({"model_blessing": [blessing]})
    return pushed, gate_types.judged_from_json(text), blessing


@strategies.composite
def evaluations(draw):
    """Declared gates and measurements: any slice may be absent or without a number."""
    asked = ROBUST if draw(strategies.booleans()) else []
    assignments = [f"gates.{key}={draw(THRESHOLDS)}" for key in ("accuracy", "class_recall")]
    if draw(strategies.booleans()):
        assignments.append(f"gates.balanced_accuracy={draw(THRESHOLDS)}")
    if draw(strategies.booleans()):
        assignments.append(f"gates.balanced_accuracy_drop={draw(THRESHOLDS)}")
    loaded = config.load_config("default", [*asked, *assignments])
    declared = gates.declared(loaded, CLASSES)
    # Half of them are good except for a few slices; otherwise all gates would hardly ever pass.
    odd = strategies.integers(0, 9).map(bool) if draw(strategies.booleans()) else strategies.just(0)
    figures = {gate: ALL_RIGHT if draw(odd) else draw(figures_of(gate)) for gate in declared}
    return declared, {gate: figure for gate, figure in figures.items() if figure is not None}


def by_slice(figures, *metrics):
    return {
        gate.features: figure.measured(gate) if isinstance(figure, Share) else figure
        for gate, figure in figures.items()
        if gate.metric in metrics
    }


def reaches(figure, gate):
    """Whether the share reaches the threshold as it is written; None where rounding may decide."""
    if not isinstance(figure, Share):
        return False
    lacking = Fraction(str(gate.threshold)) - figure.exact
    return None if 0 < lacking < MOST_LACKING else lacking <= 0


@hypothesis.given(evaluations(), strategies.booleans(), strategies.booleans())
@hypothesis.settings(
    max_examples=100, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_pushed_means_that_every_declared_gate_was_measured_and_passed(
    judge, evaluation, is_served, has_artifact
):
    declared, figures = evaluation
    compared = is_served and has_artifact
    alone = by_slice(figures, gate_types.ACCURACY, gate_types.RECALL)
    # TFMA compares the models on every slice, but the gate covers only all images together.
    changes = {place: 0.0 for place in alone if place} | by_slice(figures, gate_types.CHANGE)
    balanced, balanced_change = (
        by_slice(figures, metric).get(())
        for metric in (gate_types.BALANCED_ACCURACY, gate_types.BALANCED_CHANGE)
    )
    asked = gates.evaluation_config(declared, ())
    clean = Measured(asked, alone, changes if compared else None, balanced, balanced_change)
    robust = [gate for gate in declared if gate.metric == gate_types.CORRUPTION]
    corrupted = robust and Measured(
        gates.robustness_evaluation_config(declared), by_slice(figures, gate_types.CORRUPTION), None
    )
    with pytest.MonkeyPatch.context() as patch:
        pushed, judged, _ = judge(declared, clean, corrupted, is_served, compared, patch)
    due = [gate for gate in declared if is_served or gate.metric not in gate_types.CHANGES]
    told = [(gate.metric, gate.slice, gate.threshold) for gate in judged]
    assert told == [(gate.metric, gate.slice, gate.threshold) for gate in due]
    reached = [
        (gate.metric not in gate_types.CHANGES or compared) and reaches(figures.get(gate), gate)
        for gate in due
    ]
    passed = [gate.passed for gate in judged]
    for expected, found in zip(reached, passed, strict=True):
        assert expected in (None, found)
    assert pushed == all(passed)


def test_a_share_that_lacks_less_than_rounding_may_take_counts_as_reached():
    """0.93 of 123,457 images are 114,815.01 of them."""
    gate = gate_types.Gate(gate_types.ACCURACY, gate_types.OVERALL, 0.93)
    assert Share(114_815, 123_457).measured(gate) >= gate.bound
    assert Share(114_814, 123_457).measured(gate) < gate.bound


def clean_measured(declared, **validation):
    figures = {gate.features: 1.0 for gate in declared if gate.metric != gate_types.CHANGE}
    found = Measured(gates.evaluation_config(declared, ()), figures, None)
    whole = found.validation()
    whole.MergeFrom(validation_result_pb2.ValidationResult(**validation))
    found.validation = lambda: whole
    return found


def test_a_refusal_that_no_gate_shows_fails_the_node(judge, monkeypatch):
    declared = gates.declared(config.load_config("default"), CLASSES)
    clean = clean_measured(declared)
    clean.validation().validation_ok = False
    with pytest.raises(JudgementError, match="all 4 gates pass"):
        judge(declared, clean, None, False, False, monkeypatch)


def test_without_test_images_every_gate_fails_however_low(judge, monkeypatch):
    """Also if TFMA, which validates slice by slice, has no objection."""
    declared = gates.declared(config.load_config("default", LENIENT), CLASSES)
    empty = Measured(gates.evaluation_config(declared, ()), {}, None)
    empty.validation = lambda: validation_result_pb2.ValidationResult(validation_ok=True)
    pushed, judged, _ = judge(declared, empty, None, False, False, monkeypatch)
    assert not pushed
    assert [(gate.value, gate.passed) for gate in judged] == [(None, False)] * 4


def test_the_blessing_names_the_models_that_it_is_about(judge, monkeypatch):
    declared = gates.declared(config.load_config("default"), CLASSES)
    pushed, _, blessing = judge(declared, clean_measured(declared), None, False, False, monkeypatch)
    assert pushed
    assert blessing.get_int_custom_property("current_model_id") == 8
    assert blessing.get_string_custom_property("current_model").endswith("/model")
    assert not blessing.has_custom_property("baseline_model")
    pushed, _, blessing = judge(declared, clean_measured(declared), None, False, True, monkeypatch)
    # The served model was there, but TFMA did not compare with it.
    assert not pushed
    assert blessing.get_int_custom_property("baseline_model_id") == 3


def test_the_blessing_says_which_version_a_cluster_compared_with(judge, monkeypatch):
    declared = gates.declared(config.load_config("default"), CLASSES)
    asked = (declared, clean_measured(declared), None, False)
    for baseline, told in ((False, ""), (True, ""), ("7-0a0a", "7-0a0a")):
        _, _, blessing = judge(*asked, baseline, monkeypatch)
        assert blessing.get_string_custom_property(versions.SERVED_IDENTITY) == told


COUNT = 120


@pytest.fixture(scope="module")
def answers():
    """Labels, right predictions and wrong predictions, float32 [COUNT, classes]."""
    random = np.random.default_rng(5)
    labels = random.integers(0, len(CLASSES), COUNT)
    odds = random.random((COUNT, len(CLASSES)), np.float32)
    right = odds.copy()
    right[np.arange(COUNT), labels] += 1
    return labels, *(each / each.sum(axis=1, keepdims=True) for each in (right, odds))


@pytest.fixture
def evaluate(tmp_path):
    """Evaluator measures predictions, and Blessing checks the gates of a configuration."""

    def run(labels, answered, is_served=False, assignments=(), columns=None):
        configured = config.load_config("default", assignments)
        declared = gates.declared(configured, CLASSES)
        columns = columns or {}
        inputs = {
            "examples": [predictions(tmp_path / "predictions", labels, answered, columns)],
            "model": [artifact(standard_artifacts.Model, tmp_path / "model", 8)],
        }
        if features.BASELINE in answered:
            served = artifact(standard_artifacts.Model, tmp_path / "served", 3)
            inputs["baseline_model"] = [served]
        evaluation = artifact(standard_artifacts.ModelEvaluation, tmp_path / "evaluation", 9)
        stock = artifact(standard_artifacts.ModelBlessing, tmp_path / "stock", 10)
        parameters = {
            "eval_config": json_format.MessageToJson(
                gates.evaluation_config(declared, columns), preserving_proto_field_name=True
            ),
            "example_splits": json.dumps([features.TEST_SPLIT]),
        }
        context = Evaluator.Context(
            beam_pipeline_args=list(NODE_ARGUMENTS), tmp_dir=str(tmp_path / "tmp")
        )
        Evaluator(context).Do(inputs, {"evaluation": [evaluation], "blessing": [stock]}, parameters)
        inputs["evaluation"] = [evaluation]
        slicings = configured.gates.slicings()
        pushed, judged, _ = blessed(inputs, declared, is_served, tmp_path, slicings)
        return pushed, {(gate.metric, gate.slice): gate for gate in judged}

    return run


def predictions(folder, labels, answered, columns):
    """Writes an artifact like Predictions."""
    found = artifact(standard_artifacts.Examples, folder, 7)
    found.split_names = artifact_utils.encode_split_names([features.TEST_SPLIT])
    parquet = example_gen_pb2.PayloadFormat.FORMAT_PARQUET
    examples_utils.set_payload_format(found, parquet)
    test = folder / f"Split-{features.TEST_SPLIT}"
    test.mkdir(parents=True)
    ids = np.array([f"t10k-{n:08d}".encode() for n in range(len(labels))], dtype=object)
    answers = Answers(Split(np.zeros((len(labels), 12), np.uint8), labels, ids), answered)
    table = predictions_table(answers, ImageSchema(3, 4, 1, CLASSES))
    pq.write_table(table, folder / features.PREDICTIONS_FILE)
    pq.write_table(answers_table(answers, columns), test / features.ANSWERS_FILE)
    return found


def missed(judged):
    """The values of the gates that did not pass."""
    return {key: gate.value for key, gate in judged.items() if not gate.passed}


def test_a_good_first_model_is_pushed_without_a_comparison(answers, evaluate):
    labels, right, _ = answers
    pushed, judged = evaluate(labels, {features.CANDIDATE: right})
    assert pushed
    assert len(judged) == 1 + len(CLASSES)
    assert all(gate.value == 1 for gate in judged.values())


@pytest.mark.slow
def test_a_model_better_than_the_served_one_is_pushed(answers, evaluate):
    labels, right, wrong = answers
    pushed, judged = evaluate(labels, {features.CANDIDATE: right, features.BASELINE: wrong}, True)
    assert pushed
    change = judged[gate_types.CHANGE, gate_types.OVERALL]
    assert change.value == pytest.approx((wrong.argmax(axis=1) != labels).mean())


def test_a_model_worse_than_the_served_one_is_refused(answers, evaluate):
    labels, right, wrong = answers
    answered = {features.CANDIDATE: wrong, features.BASELINE: right}
    lenient = ["gates.accuracy=0", "gates.class_recall=0"]
    pushed, judged = evaluate(labels, answered, True, lenient)
    assert not pushed
    assert missed(judged).keys() == {(gate_types.CHANGE, gate_types.OVERALL)}


@pytest.mark.slow
@pytest.mark.parametrize("fewer", [0, 1])
def test_a_model_exactly_at_its_thresholds_is_pushed_and_with_an_image_fewer_refused(
    fewer, evaluate
):
    """TFMA's accuracy of 90 of 100 is below 0.9, since it is a float32."""
    labels = np.repeat([0, 1, 2], 100)
    right = np.eye(3, dtype=np.float32)[labels]
    served, candidate = right.copy(), right.copy()
    for start in (0, 100, 200):
        served[start : start + 9] = right[start - 1]
        candidate[start : start + 10 + fewer] = right[start - 1]
    asked = [
        *(f"gates.{gate}=0.9" for gate in ("accuracy", "class_recall", "balanced_accuracy")),
        *(f"gates.{gate}=0.01" for gate in ("accuracy_drop", "balanced_accuracy_drop")),
        'gates.slices={"shop": {"accuracy": 0.9}}',
    ]
    answered = {features.CANDIDATE: candidate, features.BASELINE: served}
    shops = {"shop": np.repeat(["east", "north", "south"], 100).tolist()}
    pushed, judged = evaluate(labels, answered, True, asked, shops)
    assert pushed == (not fewer)
    assert missed(judged).keys() == (judged.keys() if fewer else set())
    assert len(judged) == 10


@pytest.mark.slow
def test_a_model_that_always_gives_the_same_answer_fails_the_gate_on_balanced_accuracy(evaluate):
    """However common its class is: accuracy alone would let it pass."""
    labels = np.repeat([0, 1, 2], [100, 10, 10])
    constant = np.tile(np.array([0.8, 0.1, 0.1], np.float32), (120, 1))
    lenient = ["gates.accuracy=0.8", "gates.class_recall=0", "gates.balanced_accuracy=0.4"]
    pushed, judged = evaluate(labels, {features.CANDIDATE: constant}, False, lenient)
    assert not pushed
    key = gate_types.BALANCED_ACCURACY, gate_types.OVERALL
    assert missed(judged) == {key: pytest.approx(1 / 3)}


@pytest.mark.slow
def test_a_model_that_gives_up_a_rare_class_for_accuracy_is_refused(evaluate):
    """The accuracy rises, so that only the gate on the balanced accuracy keeps the served one."""
    labels = np.repeat([0, 1, 2], [100, 100, 4])
    right = np.eye(3, dtype=np.float32)[labels]
    served, candidate = right.copy(), right.copy()
    served[:10] = [0, 1, 0]
    candidate[-4:] = [0, 1, 0]
    answered = {features.CANDIDATE: candidate, features.BASELINE: served}
    asked = ["gates.accuracy=0", "gates.class_recall=0", "gates.balanced_accuracy_drop=0.05"]
    pushed, judged = evaluate(labels, answered, True, asked)
    assert not pushed
    assert judged[gate_types.CHANGE, gate_types.OVERALL].value > 0
    key = gate_types.BALANCED_CHANGE, gate_types.OVERALL
    # Recalls of 1, 1 and 0 after 0.9, 1 and 1.
    assert missed(judged) == {key: pytest.approx((2 - 2.9) / 3)}


@pytest.mark.slow
@pytest.mark.parametrize("least", [0, 0.6])
def test_a_class_without_test_images_is_refused_however_low_its_gate(least, answers, evaluate):
    """TFMA alone would bless it: it selects slices by key, and ignores one without images."""
    labels, right, _ = answers
    kept = labels != 2
    pushed, judged = evaluate(
        labels[kept], {features.CANDIDATE: right[kept]}, False, [f"gates.class_recall={least}"]
    )
    assert not pushed
    assert missed(judged) == {(gate_types.RECALL, "hat"): None}


def test_a_served_model_that_was_not_compared_is_refused(answers, evaluate):
    """TFX alone would skip the comparison and bless the model."""
    labels, right, _ = answers
    asked = ["gates.balanced_accuracy_drop=1"]
    pushed, judged = evaluate(labels, {features.CANDIDATE: right}, True, asked)
    assert not pushed
    keys = ((metric, gate_types.OVERALL) for metric in gate_types.CHANGES)
    assert missed(judged) == dict.fromkeys(keys)


# Slices by columns of the data.


@pytest.fixture
def shops(answers, evaluate):
    """Evaluates a model that is always wrong in some shops, and right elsewhere."""
    labels, right, _ = answers
    wrong = right[:, ::-1].copy()
    wrong[labels == 1] = np.array([0.8, 0.1, 0.1], np.float32)

    def run(sizes, weak, asked, required=(), columns=("shop",)):
        values = np.repeat(list(sizes), list(sizes.values()))
        given = np.where(
            np.isin(values, weak)[:, np.newaxis], wrong[: len(values)], right[: len(values)]
        )
        assignments = (
            *LENIENT,
            f"gates.slices={json.dumps(dict.fromkeys(columns, asked))}",
            f"gates.required_slices={json.dumps([f'shop={value}' for value in required])}",
        )
        answered = {features.CANDIDATE: given}
        of_images = dict.fromkeys(columns, values.tolist())
        pushed, judged = evaluate(labels[: len(values)], answered, False, assignments, of_images)
        of_slices = {
            name.removeprefix("shop="): (gate.value, gate.passed)
            for (metric, name), gate in judged.items()
            if metric == gate_types.SLICE
        }
        assert pushed == all(gate.passed for gate in judged.values())
        return pushed, of_slices

    return run


@pytest.mark.slow
def test_a_model_that_is_weak_in_one_shop_is_refused(shops):
    sizes = {"north": 60, "south": 60}
    pushed, judged = shops(sizes, ["south"], {"accuracy": 0.5})
    assert not pushed
    assert judged == {"north": (1, True), "south": (0, False)}


@pytest.mark.slow
def test_shops_whose_names_are_the_same_number_are_two_slices(shops):
    """Where TFMA compares such texts as numbers, the images of one are judged for the other."""
    sizes = {"07": 20, "7": 20, "7.0": 20, "nan": 20, "1e3": 20, "1000": 20}
    asked = {"accuracy": 0.5, "min_images": 20}
    pushed, judged = shops(sizes, ["07", "1e3"], asked, required=["7"])
    assert not pushed
    assert judged == {
        value: (value not in ("07", "1e3"), value not in ("07", "1e3")) for value in sizes
    }


@pytest.mark.slow
def test_images_without_a_value_are_a_slice(shops):
    sizes = {slices.MISSING: 60, "north": 60}
    pushed, judged = shops(sizes, [slices.MISSING], {"accuracy": 0.5}, required=[slices.MISSING])
    assert not pushed
    assert judged == {"(missing)": (0, False), "north": (1, True)}


@pytest.mark.slow
def test_a_shop_with_three_images_is_not_judged(shops):
    sizes = {"north": 60, "tiny": 3}
    pushed, judged = shops(sizes, ["tiny"], {"accuracy": 0.5})
    assert pushed
    assert judged == {"north": (1, True)}


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [{"north": 60, "tiny": 3}, {"north": 60}], ids=["few", "none"])
def test_a_required_shop_without_enough_images_is_refused(sizes, shops):
    pushed, judged = shops(sizes, [], {"accuracy": 0}, required=["north", "tiny"])
    assert not pushed
    assert judged == {"north": (1, True), "tiny": (None, False)}


@pytest.mark.slow
def test_slices_without_a_threshold_have_no_gates(shops):
    assert shops({"north": 60, "south": 60}, ["south"], {}) == (True, {})


@pytest.mark.slow
def test_columns_may_have_any_name(shops):
    columns = ("a.b", "shop name", "Größe", "__x__", "0", "متجر", "q\"'`/", "labels")
    pushed, judged = shops({"1": 60, "x": 60}, ["x"], {"accuracy": 0.5}, columns=columns)
    assert not pushed
    expected = {"1": (1, True), "x": (0, False)}
    assert judged == {
        f"{column}={value}": found for column in columns for value, found in expected.items()
    }
