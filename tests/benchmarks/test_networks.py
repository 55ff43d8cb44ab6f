"""What is compared does the same work: our layers in stock Keras, and our convolutions alone."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import convolutions, notebook_recipe, stock_network, trainings
from benchmarks.speed import StepClock
from components.trainer import model
from pipeline import config as configurations
from pipeline.profiles import PROFILES

SHAPE, CLASSES = (28, 28, 1), 10


@pytest.fixture(scope="module", params=list(PROFILES))
def config(request):
    return configurations.load_config(request.param, ["training.precision=float32"])


@pytest.fixture(scope="module")
def ours(config):
    return model.build_network(SHAPE, CLASSES, trainings.settings_of(config))


@pytest.fixture(scope="module")
def stock(config):
    settings = trainings.settings_of(config)
    filters = settings.whitening_filters(SHAPE[2])
    return stock_network.build(SHAPE, CLASSES, settings.widths, settings.dropout, filters)


def count(network, layer):
    return sum(isinstance(each, layer) for each in network.layers)


def test_stock_has_our_convolutions(config, ours, stock):
    first, *others = convolutions.of_network(ours)
    # A notebook's network learns the first one, which ours may have whiten.
    assert first.learns_kernel != config.training.whitening
    learnt = [dataclasses.replace(each, learns_kernel=True, learns_input=True) for each in others]
    first_learnt = dataclasses.replace(first, learns_kernel=True)
    assert convolutions.of_network(stock) == [first_learnt, *learnt]


def test_stock_has_as_many_parameters(config, ours, stock):
    fixed = ours.get_layer(model.WHITENING).count_params() if config.training.whitening else 0
    learnt = [
        sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
        for network in (ours, stock)
    ]
    assert learnt[0] + fixed == learnt[1]


def test_stock_has_our_other_layers(ours, stock):
    layers = keras.layers
    for kind in (layers.BatchNormalization, layers.ReLU, layers.MaxPooling2D, layers.Add):
        assert count(stock, kind) == count(ours, kind) > 0


def test_stock_normalises_before_it_pools_with_keras_own_layer(config, stock):
    whitening = ["Conv2D", "ReLU"] if config.training.whitening else []
    expected = [*whitening, "Conv2D", "BatchNormalization", "ReLU", "MaxPooling2D"]
    kinds = [type(layer).__name__ for layer in stock.layers[1 : 1 + len(expected)]]
    assert kinds == expected
    assert {layer.compute_dtype for layer in stock.layers} == {"float32"}


def test_the_forms_are_those_of_the_layers(config, ours):
    layers = [layer for layer in ours.layers if isinstance(layer, keras.layers.Conv2D)]
    forms = convolutions.of_network(ours)
    assert [form.image_shape for form in forms] == [layer.input.shape[1:] for layer in layers]
    assert [form.kernel_shape for form in forms] == [tuple(layer.kernel.shape) for layer in layers]
    fixed = 1 if config.training.whitening else 0
    learnt = [False] * fixed + [True] * (len(forms) - fixed)
    assert [form.learns_kernel for form in forms] == learnt
    assert [form.learns_input for form in forms] == [False, *learnt[:-1]]


def test_a_pass_computes_each_convolution_once_forward_and_backward(ours):
    forms = convolutions.of_network(ours)
    operands = [
        (
            tf.zeros((2, *form.image_shape)),
            tf.zeros(form.kernel_shape),
            tf.zeros((2, *form.image_shape[:2], form.kernel_shape[3])),
        )
        for form in forms
    ]
    step = tf.function(lambda *tensors: convolutions.training_step(forms, tensors))
    graph = step.get_concrete_function(*operands).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("Conv2D") == len(forms)
    learnt = [form for form in forms if form.learns_kernel]
    assert kinds.count("Conv2DBackpropFilter") == len(learnt)
    fed = [form for form in forms if form.learns_input]
    assert kinds.count("Conv2DBackpropInput") == len(fed)
    results = [tuple(result.shape) for result in step(*operands)]
    assert results[: len(forms)] == [tuple(gradient.shape) for _, _, gradient in operands]
    assert results[len(forms)] == forms[-1].kernel_shape
    # What comes last: the gradient of the first kernel that learns.
    assert results[-1] == learnt[0].kernel_shape


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_convolutions_are_timed_for_as_many_images_as_asked_for(precision):
    form = convolutions.Convolution((4, 4, 2), (3, 3, 2, 3), (1, 1), "SAME", True, True)
    pace = convolutions.measure([form], 8, precision, 20)
    assert pace.images == 24
    assert pace.images_per_second == pace.images / pace.seconds > 0


def test_the_clock_leaves_the_first_round_out():
    clock = StepClock(10)
    for _ in range(2):
        clock.on_epoch_begin(0)
        for batch in (3, 7):
            clock.on_train_batch_end(batch)
    assert clock.pace().images == 10 * (16 - 4)


class TestNotebookRecipe:
    """The baseline: what published notebooks train, and when it ends."""

    @pytest.fixture(scope="class")
    def images(self):
        random = np.random.default_rng(1)
        return notebook_recipe.Images(
            random.random((256, *SHAPE), dtype=np.float32), random.integers(0, CLASSES, 256)
        )

    @pytest.fixture
    def network(self):
        keras.utils.set_random_seed(1)
        return notebook_recipe.build(SHAPE, CLASSES)

    def test_it_has_five_regularised_convolutions(self, network):
        layers = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
        assert len(layers) == count(network, keras.layers.BatchNormalization) == 5
        assert all(layer.kernel_regularizer for layer in layers)
        assert count(network, keras.layers.Dropout) > 0
        assert isinstance(network.optimizer, keras.optimizers.Adam)

    @pytest.mark.slow
    def test_it_ends_as_soon_as_the_goal_is_reached(self, network, images):
        course = notebook_recipe.train(network, images, images, 0.0, 1000.0, seed=1)
        assert course.ended == "reached"
        # Of four steps, the first is looked at; the epoch's own validation follows.
        assert len(course.looks) == 2
        assert 0 < course.looks[0].seconds < course.looks[1].seconds <= course.seconds

    @pytest.mark.slow
    def test_it_ends_at_the_limit(self, network, images):
        course = notebook_recipe.train(network, images, images, 2.0, 1e-3, seed=1)
        assert course.ended == "limit"
        assert course.seconds > 1e-3
