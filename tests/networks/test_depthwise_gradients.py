"""Gradients of depthwise convolutions in float32: the same outputs, and closer gradients."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlcli.networks.depthwise_gradients import wide_calls
from tlcli.networks.kernel_products import fast_gradients

Depthwise, Separable = keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D


def made(kind: type, **options):
    """A layer in bfloat16 and one in float32 with the same weights, not zero."""
    if kind is Separable:
        options["filters"] = 5
    layers = [kind(**options, padding="same", dtype=d) for d in ("mixed_bfloat16", "float32")]
    for layer in layers:
        layer.build((None, 9, 9, 4))
    random = np.random.default_rng(0)
    for variables in zip(*(layer.weights for layer in layers), strict=True):
        value = random.normal(0, 1, variables[0].shape).astype(np.float32)
        # Numbers that bfloat16 has, so that only its arithmetic rounds.
        for variable in variables:
            variable.assign(tf.cast(tf.cast(value, "bfloat16"), "float32"))
    return layers


def differentiate(layer):
    """Outputs, and the gradients of their sum of squares of the inputs and of each weight."""
    random = np.random.default_rng(1).normal(0, 1, (2, 9, 9, 4))
    x = tf.cast(tf.cast(random, "bfloat16"), layer.compute_dtype)

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x)
            total = tf.reduce_sum(tf.square(tf.cast(outputs, tf.float32)))
        return [outputs, *tape.gradient(total, [x, *layer.trainable_variables])]

    return [np.asarray(tf.cast(value, tf.float32)) for value in step(x)]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Depthwise, {"kernel_size": 3, "strides": 2, "use_bias": False}),
        (Depthwise, {"kernel_size": 5, "activation": "relu"}),
        (Separable, {"kernel_size": 5, "strides": 2}),
    ],
)
def test_outputs_stay_and_gradients_are_those_of_float32(kind, options):
    narrow, exact = made(kind, **options)
    plain, expected = differentiate(narrow), differentiate(exact)
    with fast_gradients([narrow], (), wide_depthwise=True, pointwise=True):
        assert "call" in vars(narrow)
        actual = differentiate(narrow)
    assert "call" not in vars(narrow)
    np.testing.assert_array_equal(actual[0], plain[0])
    for value, other, right in zip(actual, plain, expected, strict=True):
        scale = np.linalg.norm(right)
        assert np.linalg.norm(value - right) < 0.01 * scale
        assert np.linalg.norm(value - right) < 1.1 * np.linalg.norm(other - right)


def test_only_layers_that_bfloat16_slows_down_are_changed():
    slow, wide = made(Depthwise, kernel_size=3, strides=2)
    others = [
        wide,
        made(Depthwise, kernel_size=3)[0],
        made(Depthwise, kernel_size=5, dilation_rate=2)[0],
        keras.layers.Conv2D(4, 5, strides=2, dtype="mixed_bfloat16"),
    ]
    assert list(wide_calls([slow, *others])) == [slow]
    with fast_gradients([slow], (), wide_depthwise=False, pointwise=False):
        assert "call" not in vars(slow)
