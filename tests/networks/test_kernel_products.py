"""Kernel gradients by products of matrices, against TensorFlow's own and plain Keras."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders.networks import thin_vgg16

from tlcli.networks import kernel_products
from tlcli.networks.bases import BASES
from tlcli.networks.framework import keras, tf
from tlcli.networks.kernel_products import (
    SPEEDS,
    Convolution,
    choose_products,
    fast_gradients,
    kernel_gradient,
    measure_gain,
)
from tlcli.networks.logits import cross_entropy
from tlcli.networks.network import Network, build_network
from tlcli.recipe.settings import Head
from tlcli.recipe.stage_settings import Optimizer
from tlcli.training.optimizers import make_optimizer

#: Height and width of the kernel, stride, padding.
KINDS = [
    ((1, 1), 1, "SAME"), ((1, 1), 1, "VALID"), ((1, 1), 2, "VALID"), ((3, 3), 1, "SAME"),
    ((3, 3), 1, "VALID"), ((3, 3), 2, "VALID"), ((1, 7), 1, "SAME"), ((7, 1), 1, "SAME"),
    ((1, 3), 1, "SAME"), ((2, 4), 1, "SAME"), ((5, 5), 3, "VALID"),
]  # fmt: skip


def relative(actual, expected) -> float:
    actual, expected = (np.asarray(tf.cast(each, tf.float64)) for each in (actual, expected))
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(("size", "stride", "padding"), KINDS)
@pytest.mark.parametrize("side", [7, 10])
def test_the_gradient_is_tensorflows(size, stride: int, padding: str, side: int):
    x = tf.random.stateless_normal((3, side, side + 1, 6), seed=(1, 2))
    shape = (*size, 6, 5)
    places = tf.nn.conv2d(x, tf.zeros(shape), stride, padding).shape
    upstream = tf.random.stateless_normal(places, seed=(3, 4))
    own = {
        dtype: tf.raw_ops.Conv2DBackpropFilter(
            input=tf.cast(x, dtype), filter_sizes=shape, out_backprop=tf.cast(upstream, dtype),
            strides=[1, stride, stride, 1], padding=padding,
        )
        for dtype in ("float32", "bfloat16")
    }  # fmt: skip
    assert relative(kernel_gradient(x, upstream, size, stride, padding), own["float32"]) < 1e-6
    half = [tf.cast(each, tf.bfloat16) for each in (x, upstream)]
    rounded = kernel_gradient(*half, size, stride, padding)
    assert rounded.dtype == tf.bfloat16
    error, plain_error = (
        relative(rounded, own["float32"]),
        relative(own["bfloat16"], own["float32"]),
    )
    assert error < max(1.2 * plain_error, 5e-3)


def build(precision: str = "float32") -> Network:
    with thin_vgg16():
        head = Head(hidden=(8,), dropout=0)
        return build_network(BASES["VGG16"], (64, 64), head, 3, seed=3, precision=precision)


def batches(network: Network):
    numbers = np.random.default_rng(0)
    shape = network.shape("block4_pool")
    for _ in range(6):
        x = numbers.normal(size=(8, *shape)).astype(np.float32)
        yield tf.constant(x), tf.constant(numbers.integers(0, 3, 8), tf.int32)


def test_a_tail_trains_as_plain_keras_trains_it():
    network = build()
    cut = "block4_pool"
    variables = network.freeze(cut, batch_norm="frozen", first=None)
    tail, head = network.tail(cut), network.head
    plain = keras.models.clone_model(keras.Model(tail.input, head(tail.output)))
    plain.set_weights([*tail.get_weights(), *head.get_weights()])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain.compile(keras.optimizers.Adam(1e-3), loss)
    optimizer = make_optimizer(Optimizer(name="adam"), 1e-3, "float32", fused=True)
    optimizer.build(variables)

    @tf.function
    def step(x, labels):
        with tf.GradientTape() as tape:
            total = tf.reduce_mean(cross_entropy(labels, head(tail(x), training=True), 0.0))
        optimizer.apply(tape.gradient(total, variables), variables)
        return total

    expected, actual = [], []
    names = {f"block5_conv{number}" for number in (1, 2, 3)}
    with fast_gradients(network.layers_above(cut), names, wide_depthwise=False, pointwise=False):
        assert names == {
            layer.name for layer in network.base.layers if "convolution_op" in vars(layer)
        }
        for x, labels in batches(network):
            actual.append(float(step(x, labels)))
            plain.reset_metrics()
            expected.append(float(plain.train_on_batch(x, labels)))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert not any("convolution_op" in vars(layer) for layer in network.base.layers)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Convolution]:
    """What is measured, where kernels of 3 x 3 gain from products and others do not."""
    asked: list[Convolution] = []

    def measure(convolution: Convolution) -> float:
        asked.append(convolution)
        return 1.5 if convolution.size == (3, 3) else 1.05

    monkeypatch.setattr(kernel_products, "measure_gain", measure)
    monkeypatch.setattr(kernel_products, "LEAST_WORK", 3 * 10**6)
    return asked


def layers_of(*kernels, filters: int = 64, **options) -> list:
    x = keras.Input((9, 9, 64))
    made = [
        keras.layers.Conv2D(filters, kernel, padding="same", name=f"c{number}", **options)
        for number, kernel in enumerate(kernels)
    ]
    for layer in made:
        layer(x)
    return made


def test_each_shape_is_measured_once_on_a_machine(measured, tmp_path: Path):
    layers = layers_of(3, (1, 7), 3, 1)  # the last has too little work
    assert choose_products(layers, 2, tmp_path) == ("c0", "c2")
    assert [each.size for each in measured] == [(1, 7), (3, 3)]
    assert choose_products(layers, 2, tmp_path) == ("c0", "c2")
    assert len(measured) == 2
    # Another size of batch, or another precision, is another shape.
    assert choose_products(layers[:1], 4, tmp_path) == ("c0",)
    assert choose_products(layers_of(3, dtype="mixed_bfloat16"), 2, tmp_path) == ("c0",)
    assert len(measured) == 4
    (gains,) = json.loads((tmp_path / SPEEDS).read_text()).values()
    assert gains["2x9x9x64 2x9x9x64 3x3 1 SAME float32"] == 1.5
    for damage in ("{", "[]", '{"a": {"b": "c"}}', '{"a": 1}'):
        (tmp_path / SPEEDS).write_text(damage)
        del measured[:]
        assert choose_products(layers, 2, tmp_path) == ("c0", "c2")
        assert len(measured) == 2


def test_what_another_command_measures_meanwhile_stays(tmp_path: Path, measured, monkeypatch):
    layers = layers_of(3, (1, 7))

    def measure(convolution: Convolution) -> float:
        monkeypatch.setattr(kernel_products, "measure_gain", lambda _: 1.0)
        choose_products(layers[1:], 2, tmp_path)
        return 1.5

    monkeypatch.setattr(kernel_products, "measure_gain", measure)
    assert choose_products(layers[:1], 2, tmp_path) == ("c0",)
    (gains,) = json.loads((tmp_path / SPEEDS).read_text()).values()
    assert sorted(gains.values()) == [1.0, 1.5]


def test_what_products_do_not_suit_is_not_measured(measured, tmp_path: Path, monkeypatch):
    for unsuitable in (
        layers_of(3, strides=2), layers_of(3, dilation_rate=2), layers_of(3, groups=2),
    ):  # fmt: skip
        assert choose_products(unsuitable, 2, tmp_path) == ()
    monkeypatch.setattr(kernel_products, "MOST_BYTES", 2 * 81 * 9 * 64 * 4 - 1)
    assert choose_products(layers_of(3), 2, tmp_path) == ()
    assert choose_products(layers_of(3, dtype="mixed_bfloat16"), 2, tmp_path) == ("c0",)
    assert len(measured) == 1


def test_both_gradients_are_timed():
    shape = (2, 4, 4, 8)
    assert 0 < measure_gain(Convolution(shape, shape, (3, 3), 1, "SAME", "float32")) < np.inf
