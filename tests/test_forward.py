"""The compiled forward pass: any number of rows in, a list of outputs."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.images.loader import BATCH_SIZE
from tlcli.networks.framework import keras
from tlcli.networks.network import compile_forward


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    low = keras.layers.Dense(5, activation="relu")(inputs)
    return keras.Model(inputs, [low, keras.layers.Dropout(0.5)(keras.layers.Dense(3)(low))])


@pytest.mark.parametrize("count", [1, BATCH_SIZE, 2 * BATCH_SIZE + 3])
def test_outputs_are_those_of_the_model_in_inference(model, count: int):
    x = np.random.default_rng(0).standard_normal((count, 6)).astype(np.float32)
    outputs = compile_forward(model, BATCH_SIZE)(x)
    for found, expected in zip(outputs, model(x, training=False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_row_does_not_depend_on_those_beside_it(model):
    x = np.random.default_rng(0).standard_normal((BATCH_SIZE + 5, 6)).astype(np.float32)
    run = compile_forward(keras.Model(model.input, model.outputs[0]), BATCH_SIZE)
    (together,) = run(x)
    alone = np.concatenate([run(x[i : i + 1])[0] for i in range(len(x))])
    np.testing.assert_array_equal(together, alone)
