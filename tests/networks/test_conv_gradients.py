"""The faster gradient of convolutions, against TensorFlow's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tlcli.networks.conv_gradients import forward_convolutions
from tlcli.networks.framework import keras, tf


@pytest.fixture(autouse=True)
def without_onednn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tlcli.networks.conv_gradients.has_onednn", lambda: False)


ROOT = Path(__file__).parents[2]


def gradients(model, x, *, fast: bool, pointwise: bool = False):
    def compute(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = tf.reduce_sum(model(values) ** 2)
        return tape.gradient(loss, [values, *[v.value for v in model.trainable_variables]])

    function = tf.function(compute)
    if fast:
        with forward_convolutions(model.layers, pointwise=pointwise):
            function.get_concrete_function(tf.TensorSpec(x.shape, x.dtype))
    return [values.numpy() for values in function(x)]


@pytest.mark.parametrize("kernel", [1, 3, (1, 7), (7, 1), 5])
@pytest.mark.parametrize("side", [2, 5, 9])
def test_the_gradients_are_tensorflows(kernel, side):
    layer = keras.layers.Conv2D(6, kernel, padding="same", activation="relu")
    x = tf.random.stateless_normal((3, side, side + 1, 4), seed=(1, 2))
    model = keras.Sequential([keras.Input(x.shape[1:]), layer, keras.layers.Conv2D(2, 1)])
    expected = gradients(model, x, fast=False)
    actual = gradients(model, x, fast=True)
    for right, value in zip(expected, actual, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-4, atol=1e-4 * np.abs(right).max())


def test_without_padding_a_kernel_of_one_place_is_like_one_with_it():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((5, 6, 4)),
            layers.Conv2D(6, 1, activation="relu"),
            layers.Conv2D(4, 1, strides=2),
            layers.Conv2D(3, 2),
        ]
    )
    x = tf.random.stateless_normal((3, 5, 6, 4), seed=(1, 2))
    expected = gradients(model, x, fast=False)
    actual = gradients(model, x, fast=True, pointwise=True)
    for right, value in zip(expected, actual, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-4, atol=1e-4 * np.abs(right).max())
    for pointwise in (False, True):
        with forward_convolutions(model.layers, pointwise=pointwise):
            changed = ["convolution_op" in vars(layer) for layer in model.layers]
            assert changed == [pointwise, False, False]


def test_layers_that_it_does_not_fit_and_saved_models_stay_as_they_are(tmp_path):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(4, 3, strides=2, padding="same"),
            layers.Conv2D(4, 3, padding="same"),
            layers.Conv2D(4, 2, padding="same"),
            layers.Conv2D(4, 3, padding="same", dilation_rate=2),
            layers.DepthwiseConv2D(3, padding="same"),
        ]
    )
    with forward_convolutions(model.layers):
        touched = ["convolution_op" in vars(layer) for layer in model.layers]
        assert touched == [False, True, False, False, False]
    assert not any("convolution_op" in vars(layer) for layer in model.layers)
    path = tmp_path / "model.keras"
    model.save(path)
    x = np.ones((1, 8, 8, 4), np.float32)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(loaded(x).numpy(), model(x).numpy())


@pytest.mark.parametrize("setting", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_where_tensorflow_has_onednn_its_own_gradients_are_left(setting: str):
    code = (
        "from tlcli.networks.framework import has_onednn, keras\n"
        "from tlcli.networks.conv_gradients import forward_convolutions\n"
        "layer = keras.layers.Conv2D(4, 3, padding='same')\n"
        "with forward_convolutions([layer]):\n"
        "    print(has_onednn(), 'convolution_op' in vars(layer))\n"
    )
    environ = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": setting, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert done.stdout.split() in (["False", "True"], ["True", "False"]), done.stderr
    if setting == "0":
        assert done.stdout.split() == ["False", "True"]
