"""The optimizer: orthogonal steps for convolution kernels, AdamW's for all else."""

import dataclasses
import math

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies

from components.trainer.model import build_network
from components.trainer.optimizer import ConvolutionMuon, build_optimizer

# Five Newton-Schulz steps bring the singular values near 1, not to it: the polynomial's own
# fluctuation is 0.68 to 1.13 (Jordan et al. 2024), to which bfloat16 adds its rounding.
LEAST_SINGULAR_VALUE, LARGEST_SINGULAR_VALUE = 0.5, 1.3
RATE = 0.5


def drawn(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def step_of(optimizer, shape, gradient):
    """What one step takes off a weight, divided by the rate."""
    variable = keras.Variable(np.zeros(shape, np.float32))
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return -keras.ops.convert_to_numpy(variable) / RATE


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_is_that_of_keras_and_averages_weights(settings, decay):
    chosen = dataclasses.replace(settings, optimizer="adam", weight_decay=decay, ema_momentum=0.9)
    found = build_optimizer(chosen)
    assert type(found) is keras.optimizers.AdamW
    assert (found.use_ema, found.ema_momentum) == (True, 0.9)
    adam = keras.optimizers.Adam(settings.learning_rate)
    one = keras.optimizers.AdamW(settings.learning_rate, weight_decay=decay)
    gradient, shape = drawn((3, 3, 4, 8)), (3, 3, 4, 8)
    expected = step_of(one if decay else adam, shape, gradient)
    np.testing.assert_allclose(step_of(found, shape, gradient), expected, rtol=1e-5)


def test_muon_is_the_optimizer_that_is_not_asked_for(settings):
    found = build_optimizer(settings)
    assert type(found) is ConvolutionMuon
    assert found.weight_decay == found.adam_weight_decay == settings.weight_decay


def undecayed(**options):
    return ConvolutionMuon(RATE, weight_decay=0.0, adam_weight_decay=0.0, **options)


@strategies.composite
def kernel_shapes(draw):
    """Of kernels that, as a matrix, have more than twice as many rows as columns."""
    size, inputs = draw(strategies.sampled_from([2, 3, 5])), draw(strategies.integers(1, 24))
    outputs = draw(strategies.integers(1, max(size * size * inputs // 2 - 1, 1)))
    return (size, size, inputs, min(outputs, 64))


@hypothesis.settings(max_examples=25)
@hypothesis.given(kernel_shapes(), strategies.integers(0, 2**31))
def test_the_step_of_a_kernel_is_nearly_orthogonal(shape, seed):
    step = step_of(undecayed(), shape, drawn(shape, seed)).reshape(-1, shape[-1])
    unscaled = step / (0.2 * math.sqrt(max(step.shape)))
    singular_values = np.linalg.svd(unscaled, compute_uv=False)
    assert singular_values.min() > LEAST_SINGULAR_VALUE
    assert singular_values.max() < LARGEST_SINGULAR_VALUE


@pytest.mark.parametrize("shape", [(3, 3, 1, 4), (3, 3, 8, 16), (5, 5, 3, 7)])
def test_the_step_goes_where_the_nearest_orthogonal_matrix_goes(shape):
    gradient = drawn(shape)
    left, _, right = np.linalg.svd(gradient.reshape(-1, shape[-1]), full_matrices=False)
    nearest = (left @ right).ravel()
    step = step_of(undecayed(), shape, gradient).ravel()
    cosine = step @ nearest / (np.linalg.norm(step) * np.linalg.norm(nearest))
    assert cosine > 0.97


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_step_of_a_kernel_has_a_size_of_its_own(factor):
    """As large as AdamW's, 0.2 in the root mean square, whatever the size of the gradient."""
    shape = (3, 3, 8, 16)
    step = step_of(undecayed(), shape, factor * drawn(shape))
    size = math.sqrt(np.square(step).mean())
    assert LEAST_SINGULAR_VALUE < size / 0.2 < LARGEST_SINGULAR_VALUE


def test_a_kernel_loses_its_share_and_nothing_else_loses_it_too():
    kernel, bias = keras.Variable(drawn((3, 3, 2, 4))), keras.Variable(drawn((4,)))
    before = [keras.ops.convert_to_numpy(variable).copy() for variable in (kernel, bias)]
    optimizer = ConvolutionMuon(RATE, weight_decay=0.1, adam_weight_decay=0.0)
    optimizer.apply([keras.ops.zeros_like(kernel), keras.ops.zeros_like(bias)], [kernel, bias])
    np.testing.assert_allclose(kernel, before[0] * (1 - 0.1 * RATE), rtol=1e-6)
    np.testing.assert_array_equal(bias, before[1])


# What is no kernel, and kernels with fewer rows than columns.
OTHER_SHAPES = [(), (5,), (7, 3), (3, 7), (2, 3, 4), (1, 1, 3, 4), (3, 3, 1, 10)]


@pytest.mark.parametrize("shape", OTHER_SHAPES, ids=str)
def test_all_else_takes_the_steps_of_adamw(shape):
    decay = 0.1
    chosen = {
        "ours": ConvolutionMuon(RATE, weight_decay=0.0, adam_weight_decay=decay),
        "adamw": keras.optimizers.AdamW(RATE, weight_decay=decay),
    }
    weights = {}
    for name, optimizer in chosen.items():
        variable = keras.Variable(drawn(shape))
        for step in range(4):
            gradient = keras.ops.convert_to_tensor(drawn(shape, seed=step + 1))
            optimizer.apply([gradient], [variable])
        weights[name] = keras.ops.convert_to_numpy(variable)
    np.testing.assert_array_equal(weights["ours"], weights["adamw"])


def test_which_weights_of_the_network_count_as_matrices(settings):
    network = build_network((8, 8, 1), 3, dataclasses.replace(settings, widths=(12, 6)))
    optimizer = undecayed()
    optimizer.build(network.trainable_variables)
    pairs = zip(network.trainable_variables, optimizer.adam_velocities, strict=True)
    orthogonal = {variable.path.split("/")[-2] for variable, velocity in pairs if velocity is None}
    assert orthogonal == {"block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"}
    # Without whitening, block1_conv1 sees one channel through nine pixels: fewer rows than columns.
    plain = build_network(
        (8, 8, 1), 3, dataclasses.replace(settings, widths=(12, 6), whitening=False)
    )
    optimizer = undecayed()
    optimizer.build(plain.trainable_variables)
    kernel = plain.get_layer("block1_conv1").kernel
    assert optimizer.adam_velocities[optimizer._get_variable_index(kernel)] is not None


def compiled(settings, **options):
    """A network of one stage, whose steps do not depend on chance."""
    keras.utils.set_random_seed(1)
    chosen = dataclasses.replace(settings, widths=(4,), dropout=0.0, whitening=False)
    network = build_network((8, 8, 1), 3, chosen)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    optimizer = ConvolutionMuon(0.01, weight_decay=0.1, adam_weight_decay=0.05)
    network.compile(optimizer, loss, jit_compile=False, **options)
    return network


def fitted(network, epochs=1):
    images, labels = np.abs(drawn((12, 8, 8, 1))), np.eye(3, dtype=np.float32)[np.arange(12) % 3]
    history = network.fit(
        images, labels, batch_size=6, epochs=epochs, shuffle=False, verbose=0
    ).history
    return history["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_trains_the_network_in_a_graph(settings, precision):
    chosen = dataclasses.replace(settings, precision=precision)
    losses = fitted(compiled(chosen, steps_per_execution=2), epochs=15)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] - 0.1


def test_a_graph_takes_the_same_steps_as_python(settings):
    networks = [compiled(settings, run_eagerly=eagerly) for eagerly in (False, True)]
    before = networks[0].get_weights()
    for network in networks:
        fitted(network)
    for ours, theirs in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    for new, old in zip(networks[0].get_weights(), before, strict=True):
        assert np.abs(new - old).max() > 5e-3


def test_it_is_itself_after_saving_and_loading(settings, tmp_path):
    network = compiled(settings)
    fitted(network)
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert type(loaded) is ConvolutionMuon
    assert loaded.get_config() == network.optimizer.get_config()
    assert loaded.adam_weight_decay == 0.05
    for ours, theirs in zip(loaded.variables, network.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
