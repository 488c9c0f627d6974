"""Batch norm inside convolutions: against Keras' own layers, one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.networks.bases import BASES
from tlcli.networks.folding import find_folded, fold_batch_norm
from tlcli.networks.framework import keras
from tlcli.networks.network import build_network, compile_forward, forward_batch
from tlcli.recipe.settings import Head

layers = keras.layers


def settle(model) -> None:
    """Statistics, scales and shifts as after a training."""
    random = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights(
                [random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()]
            )


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize(
    "convolution",
    [
        lambda: layers.Conv2D(4, 3, use_bias=False, name="below"),
        lambda: layers.Conv2D(6, 3, strides=2, padding="same", groups=3, name="below"),
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="below"),
        lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2, use_bias=False, name="below"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False, "epsilon": 0.1}])
def test_the_folded_model_computes_what_its_layers_compute(convolution, options):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    first = layers.Conv2D(3, 1, activation="tanh")(inputs)
    middle = layers.BatchNormalization(**options)(convolution()(first))
    model = keras.Model(inputs, layers.Dense(2)(middle))
    settle(model)
    if model.get_layer("below").use_bias:
        model.get_layer("below").bias.assign(pixels(6))
    folded = fold_batch_norm(model)
    assert list(find_folded(model)) == ["below"]
    x = pixels(3, 8, 8, 3)
    truth = model(x, training=False).numpy()
    np.testing.assert_allclose(folded(x, training=False), truth, rtol=1e-5, atol=1e-6)
    assert np.abs(truth).max() > 0.1


def test_what_is_no_convolution_alone_below_batch_norm_stays():
    inputs = keras.Input((8, 8, 3))
    active = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(inputs))
    read_twice = layers.Conv2D(4, 3)(inputs)
    twice = layers.Add()([layers.BatchNormalization()(read_twice), read_twice])
    first = layers.BatchNormalization()(inputs)
    outputs = [active, twice, first]
    model = keras.Model(inputs, outputs)
    assert not find_folded(model)
    assert fold_batch_norm(model) is model
    # Of a part that begins above the convolution nothing can be folded either.
    middle = layers.Conv2D(4, 3)(inputs)
    assert not find_folded(keras.Model(middle, layers.BatchNormalization()(middle)))

    def function(x, training):
        return x

    assert fold_batch_norm(function) is function


def test_an_output_below_batch_norm_is_that_of_the_convolution_and_changes_no_other():
    network = build_network(BASES["SmallResNet"], (32, 32), Head(), 2, seed=1)
    settle(network.base)
    top, size = network.row.top.name, forward_batch()
    assert network.row.boundary("stem_conv").folded
    x = 255 * np.abs(pixels(2, 32, 32, 3))
    (alone,) = compile_forward(network.trunk([top]), size)(x)
    below, beside = compile_forward(network.trunk(["stem_conv", top]), size)(x)
    np.testing.assert_array_equal(beside, alone)
    truth = network.trunk(["stem_conv", top])(x, training=False)
    np.testing.assert_allclose(below, truth[0], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(beside, truth[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "SmallResNet",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("MobileNetV2", "ResNet50")),
    ],
)
def test_the_folded_passes_of_bases_in_both_precisions(name: str):
    """bfloat16 is no further from float32 with batch norm inside than with layers of its own."""
    row, side = BASES[name], 64
    x = 255 * np.abs(pixels(4, side, side, 3))
    plain = build_network(row, (side, side), Head(), 2, seed=1)
    settle(plain.base)
    truth = plain.base(x, training=False).numpy()
    (folded,) = compile_forward(plain.base, forward_batch())(x)
    assert np.linalg.norm(folded - truth) < 1e-5 * np.linalg.norm(truth)
    mixed = build_network(row, (side, side), Head(), 2, seed=1, precision="mixed_bfloat16")
    mixed.base.set_weights(plain.base.get_weights())
    (rounded,) = compile_forward(mixed.base, forward_batch())(x)
    own = mixed.base(x, training=False)
    errors = [np.linalg.norm(np.asarray(values, np.float32) - truth) for values in (rounded, own)]
    assert errors[0] < 1.3 * errors[1]
