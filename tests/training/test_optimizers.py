"""Learning rates step by step, and optimizers as asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tlcli.networks.framework import keras, tf
from tlcli.recipe.stage_settings import Optimizer, Stage
from tlcli.training.optimizers import Rate, make_optimizer

STEPS = 4


def rate(**settings) -> Rate:
    return Rate(Stage(name="s", epochs=10, learning_rate=0.1, **settings), STEPS)


def test_constant_is_constant():
    constant = rate()
    assert constant.constant
    assert {constant.at(epoch, step) for epoch in range(10) for step in range(STEPS)} == {0.1}


def test_cosine_falls_from_the_rate_to_nothing():
    cosine = rate(schedule="cosine")
    assert cosine.at(0, 0) == pytest.approx(0.1)
    assert cosine.at(5, 0) == pytest.approx(0.05)
    assert cosine.at(9, 3) == pytest.approx(0.05 * (1 + math.cos(math.pi * 39 / 40)))
    values = [cosine.at(epoch, step) for epoch in range(10) for step in range(STEPS)]
    assert values == sorted(values, reverse=True)


def test_exponential_decays_by_its_factor_each_epoch():
    exponential = rate(schedule={"name": "exponential", "decay": 0.5})
    assert [exponential.at(epoch, 0) for epoch in range(3)] == pytest.approx([0.1, 0.05, 0.025])
    assert exponential.at(0, 2) == pytest.approx(0.1 * 0.5**0.5)


def test_inverse_time_is_keras_schedule_of_that_name():
    """Which is what the optimizers of Keras 2 did with their argument `decay`."""
    inverse = rate(schedule={"name": "inverse_time", "decay": 0.01})
    keras_own = keras.optimizers.schedules.InverseTimeDecay(0.1, decay_steps=1, decay_rate=0.01)
    values = [inverse.at(epoch, step) for epoch in range(10) for step in range(STEPS)]
    assert not inverse.constant
    assert values == pytest.approx([float(keras_own(step)) for step in range(10 * STEPS)])
    with pytest.raises(ValueError, match="inverse_time needs a decay: "):
        rate(schedule="inverse_time")


def test_warm_up_rises_from_the_first_step_and_delays_the_fall():
    warm = rate(schedule={"name": "cosine", "warmup_epochs": 2})
    rising = [warm.at(epoch, step) for epoch in range(2) for step in range(STEPS)]
    assert rising == pytest.approx([0.1 * (i + 1) / 9 for i in range(8)])
    assert warm.at(2, 0) == pytest.approx(0.1)
    assert warm.at(6, 0) == pytest.approx(0.05)


def test_plateau_reduces_after_patience_epochs_without_gain():
    plateau = rate(schedule={"name": "plateau", "patience": 2, "factor": 0.1})
    rates = []
    for val_loss in (1.0, 0.9, 0.95, 0.91, 0.92, 0.93, 0.5):
        rates.append(plateau.at(0, 0))
        plateau.end_epoch(val_loss)
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001])


@pytest.mark.parametrize(
    ("settings", "expected", "config"),
    [
        ({"name": "adam"}, keras.optimizers.Adam, {}),
        ({"name": "rmsprop", "momentum": 0.5}, keras.optimizers.RMSprop, {"momentum": 0.5}),
        (
            {"name": "sgd", "momentum": 0.9, "nesterov": True},
            keras.optimizers.SGD,
            {"momentum": 0.9, "nesterov": True},
        ),
        ({"name": "adamw", "weight_decay": 0.02}, keras.optimizers.AdamW, {"weight_decay": 0.02}),
    ],
)
def test_optimizers_are_keras_own(settings, expected, config):
    made = make_optimizer(Optimizer(**settings), 0.01, "float32")
    assert type(made) is expected
    assert float(made.learning_rate) == pytest.approx(0.01)
    assert {name: made.get_config()[name] for name in config} == config


def test_weight_decay_leaves_biases_alone():
    layer = keras.layers.Dense(3, name="d")
    layer.build((None, 4))
    layer.bias.assign(np.ones(3, np.float32))
    before = layer.kernel.numpy()
    made = make_optimizer(Optimizer(name="adamw", weight_decay=0.5), 0.1, "float32")
    zeros = [np.zeros(v.shape, np.float32) for v in layer.trainable_variables]
    made.apply([keras.ops.convert_to_tensor(z) for z in zeros], layer.trainable_variables)
    np.testing.assert_array_equal(layer.bias.numpy(), np.ones(3))
    np.testing.assert_allclose(layer.kernel.numpy(), before * 0.95, rtol=1e-5)


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("factor", [None, 0.25], ids=["one rate", "rates"])
def test_fused_updates_are_those_of_keras(name: str, clip_norm: float | None, factor: float | None):
    """Over 50 steps, with a rate that changes; and the moments that a checkpoint holds."""
    settings = Optimizer(name=name, weight_decay=0.1 if name == "adamw" else None)

    def train(fused: bool) -> list[np.ndarray]:
        numbers = np.random.default_rng(0)
        start = numbers.normal(size=(5, 7)).astype(np.float32)
        variables = [keras.Variable(start, name=name) for name in ("kernel", "bias")]
        factors = [] if factor is None else [*zip(variables, (factor, 1.0), strict=True)]
        made = make_optimizer(
            settings, 0.01, "float32", clip_norm=clip_norm, factors=factors, fused=fused
        )
        made.build(variables)
        step = tf.function(lambda gradient: made.apply([gradient, 2 * gradient], variables))
        for number in range(50):
            made.learning_rate = 0.01 / (1 + number % 3)
            step(tf.constant(numbers.normal(size=(5, 7)), tf.float32))
        assert not np.allclose(variables[0].numpy(), start, atol=1e-3)
        return [v.numpy() for v in (*variables, *made.variables)]

    for expected, actual in zip(train(False), train(True), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_float16_training_scales_its_loss():
    made = make_optimizer(Optimizer(name="adam"), 0.01, "mixed_float16")
    assert isinstance(made, keras.optimizers.LossScaleOptimizer)
