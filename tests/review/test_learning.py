"""How the model was trained, and the look inside it."""

import dataclasses
import json

import numpy as np
import pytest

from components import features
from pipeline.config import AugmentationConfig
from pipeline.records.outcomes import NodeStatus


def test_the_chosen_epoch_is_the_first_of_least_validation_loss(made_run):
    found = made_run.collect().training
    assert [epoch.epoch for epoch in found.epochs] == [1, 2, 3, 4, 5]
    assert found.epochs[2].validation_loss == found.epochs[3].validation_loss
    assert found.chosen_epoch == 3
    assert found.epochs[1].learning_rate == 0.003
    assert found.planned_epochs == made_run.receipt.config["training"]["epochs"]


def test_the_minutes_of_a_training_say_how_many_epochs_were_planned(made_run):
    training = {**made_run.receipt.config["training"], "minutes": 5.0}
    made_run.change(config={**made_run.receipt.config, "training": training}, settled_epochs=77)
    found = made_run.collect().training
    assert (found.planned_epochs, found.budget_seconds) == (77, 300.0)


@pytest.mark.parametrize(("status", "seconds"), [("complete", 1.5), ("cached", None)])
def test_a_cached_training_took_no_time(made_run, status, seconds):
    node = made_run.nodes["Trainer"]
    made_run.nodes["Trainer"] = dataclasses.replace(node, status=NodeStatus(status))
    assert made_run.collect().training.seconds == seconds


def test_each_original_stands_before_what_became_of_it(made_run, pixels):
    found = made_run.collect().training.augmented
    assert (found.columns, found.count) == (9, 90)
    for row in range(10):
        np.testing.assert_array_equal(pixels(found, 9 * row), made_run.images[row, :, :, 0])


def test_the_augmentation_is_told_in_words(made_run):
    assert made_run.collect().training.augmentation == {
        "shift": "up to 4.0% of height and width, either way",
        "flip": "left to right, every other image",
        "erasing": "a rectangle turned to noise in 10.0% of the images",
        "fill": "the brightness of the background",
    }


def test_every_kind_of_augmentation_is_told_in_words(made_run):
    chosen = dict.fromkeys(AugmentationConfig.model_fields, 0.25)
    chosen |= {"flip": True, "flip_vertical": True, "fill": "edge"}
    training = {**made_run.receipt.config["training"], "augmentation": chosen}
    made_run.change(config={"training": training})
    found = made_run.collect().training.augmentation
    assert found.keys() == chosen.keys()
    assert all(len(words.split()) > 2 for words in found.values())


def test_what_the_tuner_chose_takes_the_place_of_the_settings(made_run):
    chosen = {"augmentation.shift": 0.1, "learning_rate": 0.00312345678}
    made_run.change(hyperparameters=chosen)
    found = made_run.collect().training
    assert found.hyperparameters["learning_rate"] == "0.00312345678"
    assert found.augmentation["shift"] == "up to 10.0% of height and width, either way"
    assert found.label_smoothing == made_run.receipt.config["training"]["label_smoothing"] == 0.1
    made_run.change(hyperparameters={**chosen, "label_smoothing": 0.0})
    assert made_run.collect().training.label_smoothing == 0.0


@pytest.mark.parametrize(
    ("version", "words"), [(3, "served version 3"), (None, "a model no longer served")]
)
def test_a_warm_start_is_told(made_run, version, words):
    made_run.change(warm_start_from={"digest": "e" * 64, "version": version})
    assert made_run.collect().training.warm_start_from == f"{words}, digest {'e' * 64}"


def test_a_run_without_augmented_examples_keeps_its_curves(made_run):
    made_run.file("Trainer.model_run", features.AUGMENTED_FILE).unlink()
    summary = made_run.collect()
    assert len(summary.training.epochs) == 5
    assert summary.training.augmented is None
    assert "augmented.npz is not there" in summary.missing["training.augmented"]


def test_a_loss_that_is_no_number_is_not_shown(made_run):
    path = made_run.file("Trainer.model_run", features.HISTORY_FILE)
    history = json.loads(path.read_text())
    history[0]["loss"] = float("nan")
    path.write_text(json.dumps(history))
    summary = made_run.collect()
    assert summary.training is None
    assert "ValidationError" in summary.missing["training"]


def test_the_samples_are_drawn_evenly_and_blindly(made_run):
    summary = made_run.collect()
    samples = [summary.images[position] for position in summary.inside.samples.images]
    assert summary.inside.samples.count == len(samples) == 40
    assert [sample.label for sample in samples] == [n for n in made_run.classes for _ in range(4)]
    right = np.mean([sample.label == sample.choices[0].name for sample in samples])
    assert right == pytest.approx(summary.verdict.accuracy.value, abs=0.2)


def test_a_rare_class_is_among_the_samples_with_all_that_it_has(made_run):
    kept = np.flatnonzero((made_run.labels != 2) | (np.cumsum(made_run.labels == 2) <= 2))
    for name in ("labels", "images", "candidate", "baseline"):
        setattr(made_run, name, getattr(made_run, name)[kept])
    made_run.evaluate()
    made_run.write_predictions()
    summary = made_run.collect()
    labels = [summary.images[position].label for position in summary.inside.samples.images]
    assert len(labels) == 40
    assert labels.count("Pullover") == 2
    assert {labels.count(name) for name in made_run.classes} <= {2, 4, 5}


def test_the_feature_maps_come_block_by_block(made_run):
    found = made_run.collect().inside.feature_maps
    assert [entry.example_id for entry in found] == made_run.ids[:10]
    for entry in found:
        assert list(entry.blocks) == ["block1", "block2"]
        assert [(s.count, s.height) for s in entry.blocks.values()] == [(16, 14), (16, 7)]
        assert (entry.image.count, entry.image.height) == (1, 28)


def test_the_feature_maps_have_the_labels_of_their_images(made_run):
    labels = [entry.label for entry in made_run.collect().inside.feature_maps]
    assert labels == [made_run.classes[label] for label in made_run.labels[:10]]


def test_damaged_feature_maps_leave_the_samples(made_run):
    path = made_run.file("Trainer.model_run", features.FEATURE_MAPS_FILE)
    path.write_bytes(path.read_bytes()[:500])
    summary = made_run.collect()
    assert summary.inside.feature_maps == []
    assert summary.inside.samples.count == 40
    assert "feature_maps.npz is damaged" in summary.missing["inside.feature_maps"]
