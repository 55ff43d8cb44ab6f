"""The sides of the benchmark are asked about the same images, and each is measured as often."""

import dataclasses

import numpy as np
import pytest

from benchmarks import serving, trainings
from components.trainer import training


@pytest.fixture(scope="module")
def with_transform(inputs, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("transform"))
    trainings.write_transform_graph(inputs.schema, folder)
    return dataclasses.replace(inputs, transform_folder=folder)


@pytest.fixture
def trained_weights(monkeypatch):
    """Weights that tell images apart: an untrained network finds all classes alike."""
    untrained = training.build_classifier

    def build(*arguments):
        classifier = untrained(*arguments)
        random = np.random.default_rng(1)
        for variable in classifier.trainable_variables:
            variable.assign(random.normal(0, 0.1, variable.shape))
        return classifier

    monkeypatch.setattr(training, "build_classifier", build)


@pytest.mark.slow
@pytest.mark.usefixtures("trained_weights")
def test_all_sides_are_asked_about_the_same_images(with_transform, small_config):
    sides = serving.sides_of(with_transform, small_config, images=4)
    assert set(sides) == {serving.NETWORK, *serving.ENDPOINTS}
    expected = sides[serving.NETWORK](4)
    for side, ask in sides.items():
        answers = ask(4)
        # JPEG files have nearly the same pixels, and all others the same.
        distances = np.abs(answers[:, np.newaxis] - expected).sum(axis=-1)
        assert distances.argmin(axis=1).tolist() == [0, 1, 2, 3], side
        if side != serving.JPEG:
            np.testing.assert_allclose(answers, expected, atol=1e-5)
        assert len(ask(1)) == 1


@pytest.mark.slow
def test_each_side_takes_its_turn_in_each_round(with_transform, small_config):
    repeats = serving.measure_rounds(with_transform, small_config, 2, {1: 2, 3: 1})
    sides = [serving.NETWORK, *serving.ENDPOINTS]
    order = [(each["round"], each["batch"], each["side"]) for each in repeats]
    assert order == [(n, batch, side) for n in (1, 2) for batch in (1, 3) for side in sides]
    assert all(each["seconds"] > 0 for each in repeats)
