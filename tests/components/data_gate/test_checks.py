"""What DataGate finds: duplicates, anomalies and drift, told so that they can be mended."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from components.data_gate import checks

import tfx  # noqa: F401  isort: skip

# After TFX, which puts a module in place that it misses.
import tensorflow_data_validation as tfdv  # isort: skip

PROJECT = Path(__file__).resolve().parents[3]


def images(*values):
    """Images of four pixels, all of the same value."""
    return np.array([[value] * 4 for value in values], np.uint8)


@pytest.fixture
def unlabelled(catalogue_of):
    """The catalogue of images by split, all of one class."""

    def catalogue(**splits):
        ids = {
            name: [f"{name}-{n:04d}".encode() for n in range(len(values))]
            for name, values in splits.items()
        }
        return catalogue_of(**{n: (each, [0] * len(each), ids[n]) for n, each in splits.items()})

    return catalogue


@pytest.fixture
def duplicates(unlabelled):
    """What is found in images by split."""

    def find(bound=0, **splits):
        found = unlabelled(**splits)
        return checks.duplicate_findings(found, found.first_equal(), bound)

    return find


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (images(1, 2), images(4, 5)),
        (images(1), np.array([[1, 1, 1, 2]], np.uint8)),
        (images(1, 1), images(2, 2)),
    ],
    ids=["different", "but for a pixel", "within a split"],
)
def test_images_of_different_splits_that_differ_are_no_duplicates(duplicates, train, test):
    assert duplicates(train=train, val=images(3), test=test) == []


def test_an_image_that_is_also_trained_on_is_found_with_both_ids(duplicates):
    (found,) = duplicates(train=images(1, 2), val=images(3), test=images(9, 2))
    assert found.check == checks.DUPLICATES
    assert found.line.startswith(
        "1 test images are also in train or val (train-0001 = test-0001); expected at most 0."
    )
    assert "data_gate.max_duplicates" in found.line


def test_an_image_of_the_validation_split_counts_as_trained_on(duplicates):
    (found,) = duplicates(train=images(1), val=images(7), test=images(7))
    assert "val-0000 = test-0000" in found.line


@pytest.mark.parametrize(("bound", "findings"), [(0, 1), (2, 1), (3, 0), (4, 0)])
def test_as_many_duplicates_as_the_bound_are_tolerated(bound, findings, duplicates):
    found = duplicates(bound, train=images(1, 2, 3, 4), val=images(5), test=images(1, 2, 3, 9))
    assert len(found) == findings


def test_a_test_image_that_is_trained_on_twice_counts_once(duplicates):
    (found,) = duplicates(train=images(1, 1), val=images(5), test=images(1))
    assert found.line.startswith("1 test images")


def test_of_many_duplicates_the_first_three_are_shown(duplicates):
    (found,) = duplicates(train=images(*range(9)), val=images(99), test=images(*range(9)))
    assert found.line.startswith("9 test images")
    assert found.line.count(" = ") == 3
    assert ", ...)" in found.line


@pytest.fixture
def validation_duplicates(unlabelled):
    """What is found in images by split."""

    def find(**splits):
        found = unlabelled(**splits)
        return checks.validation_duplicate_findings(found, found.first_equal())

    return find


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        (images(1, 2), images(3, 4), images(5)),
        (images(1, 1), images(3, 3), images(5)),
        (images(1), images(3), images(3, 1)),
    ],
    ids=["different", "within a split", "in the test split"],
)
def test_validation_images_that_are_not_trained_on_pass(validation_duplicates, train, val, test):
    assert validation_duplicates(train=train, val=val, test=test) == []


def test_validation_images_that_are_also_trained_on_are_found(validation_duplicates):
    (found,) = validation_duplicates(train=images(1, 2, 2), val=images(2, 9, 1), test=images(5))
    assert found.check == checks.VALIDATION_DUPLICATES
    assert found.line.startswith(
        "2 validation images are also in train (train-0001 = val-0000, train-0000 = val-0002); "
        "expected none"
    )
    assert "data_gate.validation_duplicates=warn" in found.line


@pytest.fixture
def conflicts(catalogue_of):
    """What is found in training images with labels, of the classes bag, boot and hat."""

    def find(labels, values, ids=None, test=(0, 99)):
        names = ids or [f"train-{n:02d}".encode() for n in range(len(labels))]
        found = catalogue_of(
            train=(values, labels, names), test=(images(test[1]), [test[0]], [b"test-00"])
        )
        return checks.conflicting_label_findings(found, found.first_equal(), ("bag", "boot", "hat"))

    return find


def test_equal_images_of_one_class_and_different_images_of_several_pass(conflicts):
    assert conflicts([0, 0, 1, 2], images(5, 5, 6, 7)) == []


def test_equal_images_of_different_classes_are_found_with_the_names_of_both(conflicts):
    (found,) = conflicts([0, 1, 0, 2], images(5, 5, 5, 7))
    assert found.check == checks.CONFLICTING_LABELS
    assert found.line.startswith(
        "1 images have copies with another label, 1 in all (train-00 (bag) = train-01 (boot)); "
        "expected one label"
    )
    assert "data_gate.conflicting_labels=warn" in found.line


def test_a_label_that_differs_across_splits_is_found(conflicts):
    (found,) = conflicts([0, 1], images(5, 6), test=(2, 6))
    assert "train-01 (boot) = test-00 (hat)" in found.line


def test_of_many_conflicts_all_are_counted_and_three_are_named(conflicts):
    (found,) = conflicts([0, 1, 2, 0, 1, 0, 1], images(5, 5, 5, 6, 6, 7, 7))
    assert found.line.startswith("3 images have copies with another label, 4 in all (")
    assert found.line.count(" = ") == 3
    assert ", ...)" in found.line


def test_an_id_cannot_command_a_terminal(conflicts):
    name = "\x1b]0;owned\x07\n.png"
    (found,) = conflicts([0, 1], images(5, 5), [name.encode(), "ähre.png".encode()])
    assert found.line.isprintable()
    assert "owned" in found.line
    assert "= ähre.png (boot)" in found.line


def test_an_id_that_is_not_utf_8_is_escaped(conflicts):
    (found,) = conflicts([0, 1], images(5, 5), [b"caf\xe9.png", b"cafe.png"])
    assert "cafe.png (boot)" in found.line
    assert "caf\\xe9.png (bag)" in found.line


def anomalies_of(**described):
    found = anomalies_pb2.Anomalies()
    for name, description in described.items():
        found.anomaly_info[name].description = description
    return found


def test_without_anomalies_nothing_is_found():
    assert checks.anomaly_findings(anomalies_pb2.Anomalies(), "train") == []


def test_each_anomaly_is_a_finding_that_names_split_and_feature():
    anomalies = anomalies_of(label="Unexpected values: 17.", image="Missing.")
    image, label = checks.anomaly_findings(anomalies, "val")
    assert (image.check, label.check) == (checks.ANOMALIES, checks.ANOMALIES)
    assert image.line.startswith("split val, feature image: Missing; expected what the schema")
    assert label.line.startswith("split val, feature label: Unexpected values: 17; expected")
    assert "Fix the data, or the schema" in label.line


def test_an_anomaly_of_the_whole_split_is_a_finding():
    anomalies = anomalies_pb2.Anomalies()
    anomalies.dataset_anomaly_info.description = "Too few examples"
    (found,) = checks.anomaly_findings(anomalies, "test")
    assert (found.check, found.line) == (checks.ANOMALIES, "split test: Too few examples")


@pytest.fixture(scope="module")
def schema():
    """The curated schema, of its label alone, which the statistics of these tests hold."""
    text = (PROJECT / "schema" / "schema.pbtxt").read_text(encoding="utf-8")
    parsed = text_format.Parse(text, schema_pb2.Schema())
    kept = [feature for feature in parsed.feature if feature.name == "label"]
    del parsed.feature[:]
    parsed.feature.extend(kept)
    parsed.tensor_representation_group.clear()
    return parsed


def statistics_of(counts, schema):
    """Statistics of data with so many labels of each class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    options = tfdv.StatsOptions(schema=schema)
    return tfdv.generate_statistics_from_dataframe(pd.DataFrame({"label": labels}), options)


EVEN = [100] * 10


@pytest.fixture(scope="module")
def compared(schema):
    """Makes what TFDV says of counts by class now, against an even spread before."""

    def compare(*counts):
        return tfdv.validate_statistics(
            statistics_of(counts, schema), schema, previous_statistics=statistics_of(EVEN, schema)
        )

    return compare


@pytest.mark.parametrize("times", [1, 3])
def test_the_same_data_or_more_of_it_has_not_drifted(compared, times):
    assert checks.drift_findings(compared(*(count * times for count in EVEN))) == []


def test_a_change_below_the_bound_of_the_schema_is_no_drift_but_told(compared):
    now = compared(115, 85, *EVEN[2:])
    assert checks.drift_findings(now) == []
    (drift,) = checks.drifts(now)
    assert (drift.feature, drift.measure) == ("label", "largest change of a value's share")
    assert drift.value == pytest.approx(0.015)
    assert drift.threshold == 0.02


def test_a_change_above_the_bound_of_the_schema_is_drift(compared):
    now = compared(160, 40, *EVEN[2:])
    (found,) = checks.drift_findings(now)
    assert found.check == checks.DRIFT
    assert found.line.startswith("feature label drifted since the served model was trained: ")
    for words in ("0.06", "0.02", "drift_comparator", "data_gate.drift=warn"):
        assert words in found.line
    assert "\n" not in found.line
    assert [drift.value for drift in checks.drifts(now)] == [pytest.approx(0.06)]


def test_an_anomaly_is_not_taken_for_drift(compared):
    """Values out of the domain are for the check of anomalies."""
    assert checks.drift_findings(compared(*EVEN, 1)) == []


def test_without_a_served_model_there_is_no_drift_to_tell():
    assert checks.drifts(anomalies_pb2.Anomalies()) == []


@pytest.fixture
def constancy(catalogue_of):
    """What is found in training images [N, bytes] with labels, of the classes bag, boot and hat."""

    def find(labels, values):
        ids = [f"train-{n:02d}".encode() for n in range(len(labels))]
        one = images(9), [0]
        found = catalogue_of(
            train=(values, labels, ids), val=(*one, [b"val-00"]), test=(*one, [b"test-00"])
        )
        return checks.constancy_findings(found.trained, ("bag", "boot", "hat"))

    return find


def test_training_images_that_differ_within_each_class_pass(constancy):
    assert constancy([0, 0, 1, 1, 2, 2], images(1, 2, 3, 4, 5, 6)) == []


def test_training_images_that_are_all_the_same_are_one_finding(constancy):
    (found,) = constancy([0, 0, 1, 1, 2, 2], images(5, 5, 5, 5, 5, 5))
    assert found.check == checks.EQUAL_IMAGES
    assert found.line.startswith("all 6 training images are equal, byte by byte; expected")
    assert "data_gate.equal_images=warn" in found.line


def test_a_class_whose_images_are_all_the_same_is_named(constancy):
    (found,) = constancy([0, 0, 1, 1, 1, 2, 2], images(1, 2, 7, 7, 7, 5, 5))
    assert found.check == checks.CONSTANT_CLASS
    assert "in 2 of 3 classes: boot (3 images), hat (2 images); expected" in found.line
    assert "data_gate.constant_class=warn" in found.line


def test_of_a_single_image_nothing_is_said(constancy):
    assert constancy([0, 0, 1, 2, 2], images(1, 2, 3, 4, 5)) == []


@pytest.fixture
def brightness(unlabelled):
    """What is found in training and test images [N, bytes]."""
    return lambda train, test: checks.brightness_findings(
        unlabelled(train=train, val=images(9), test=test).brightness
    )


def drawn(seed, mean, spread, count=200):
    """Images whose brightness varies about a mean."""
    values = np.random.default_rng(seed).normal(mean, spread, (count, 1)) * np.ones(4)
    return np.clip(values, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        pytest.param(drawn(1, 73, 35), drawn(2, 73, 35), id="alike"),
        pytest.param(drawn(1, 73, 35), drawn(2, 100, 35), id="a little brighter"),
        pytest.param(drawn(1, 200, 20), drawn(2, 180, 20), id="dark on bright"),
        pytest.param(drawn(1, 3, 5, 10), drawn(2, 8, 30, 10), id="chance among a few"),
    ],
)
def test_halves_of_about_the_same_brightness_pass(brightness, train, test):
    assert brightness(train, test) == []


@pytest.mark.parametrize(
    ("train", "test"),
    [
        pytest.param(drawn(1, 73, 35), 255 - drawn(2, 73, 35), id="inverted"),
        pytest.param(drawn(1, 73, 35), drawn(2, 73, 35) // 255, id="scaled to 0 to 1"),
        pytest.param(drawn(1, 12, 4) // 12, drawn(2, 12, 4), id="scaled, and dark"),
        pytest.param(drawn(1, 73, 35), images(*[0] * 200), id="black"),
    ],
)
def test_a_half_that_is_inverted_or_scaled_is_found(brightness, train, test):
    (found,) = brightness(train, test)
    assert found.check == checks.BRIGHTNESS
    assert f"training images is {train.mean():.1f} and" in found.line
    assert f"test images {test.mean():.1f}, of 255" in found.line
    assert "data_gate.brightness=warn" in found.line
