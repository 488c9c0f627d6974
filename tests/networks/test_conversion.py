"""Networks outside of Keras: the frozen function and the LiteRT file, beside Keras itself."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from builders.networks import noise, spread_logits, stock_network

from tlcli.networks.conversion import compute_in_float32, convert_to_litert, freeze
from tlcli.networks.engine import KerasEngine, LiteRTEngine
from tlcli.networks.framework import keras, tf

SIDE = 32


@pytest.fixture(scope="module")
def small() -> keras.Model:
    """It with logits that differ."""
    return spread_logits(stock_network(), noise(16, SIDE, SIDE))


def logits_of(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """What Keras itself computes."""
    inner = keras.Model(model.inputs[0], model.layers[-1].input)
    return inner(pixels, training=False).numpy()


def answer(content: bytes, pixels: np.ndarray) -> np.ndarray:
    """What LiteRT's own interpreter answers to a batch."""
    interpreter = Interpreter(model_content=content)
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    (signature,) = interpreter.get_signature_list().values()
    assert signature == {"inputs": ["pixels"], "outputs": ["logits"]}
    interpreter.resize_tensor_input(taken["index"], pixels.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], pixels)
    interpreter.invoke()
    return interpreter.get_tensor(given["index"])


def test_a_frozen_function_has_no_variables_and_calls_no_function(small: keras.Model):
    """Not for grouped convolutions either, which Keras puts into functions of their own."""
    frozen = freeze(small, small.layers[-1].input)
    kinds = {operation.type for operation in frozen.graph.get_operations()}
    assert not {kind for kind in kinds if "Call" in kind or "Variable" in kind}
    assert not frozen.variables
    pixels = noise(3, SIDE, SIDE)
    np.testing.assert_allclose(frozen(tf.constant(pixels))[0], logits_of(small, pixels), atol=1e-5)


def test_functions_are_compiled_again_after_freezing(small: keras.Model):
    freeze(small)
    assert not tf.config.functions_run_eagerly()


def test_what_is_applied_to_the_tensor_is_in_the_function(small: keras.Model):
    pixels = noise(2, SIDE, SIDE)
    frozen = freeze(small, small.layers[-1].input, then=lambda x: tf.nn.softmax(x / 3.0))
    powers = np.exp(logits_of(small, pixels) / 3)
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(frozen(tf.constant(pixels))[0], expected, atol=1e-6)


@pytest.mark.parametrize("count", [1, 3])
def test_litert_answers_as_keras_does_for_any_number_of_photos(small: keras.Model, count: int):
    content = convert_to_litert(freeze(small, small.layers[-1].input))
    pixels = noise(count, SIDE, SIDE)
    np.testing.assert_allclose(answer(content, pixels), logits_of(small, pixels), atol=1e-5)


def test_features_beside_the_logits_leave_their_bits_alone(small: keras.Model):
    logits, pooled = small.layers[-1].input, small.layers[-3].output
    alone = convert_to_litert(freeze(small, logits))
    both = convert_to_litert(freeze(small, logits, features=pooled))
    pixels = noise(5, SIDE, SIDE)
    before, after = LiteRTEngine(alone, (SIDE, SIDE)), LiteRTEngine(both, (SIDE, SIDE))
    assert (before.has_features, after.has_features) == (False, True)
    values, features = after.compute_with_features(pixels)
    assert features is not None
    np.testing.assert_array_equal(values, before.compute(pixels))
    assert before.compute_with_features(pixels)[1] is None
    expected = keras.Model(small.inputs[0], pooled)(pixels, training=False).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-5)
    engine = KerasEngine(small, logits, pooled)
    values, features = engine.compute_with_features(pixels)
    assert features is not None
    np.testing.assert_array_equal(values, KerasEngine(small, logits).compute(pixels))
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_quantized_files_are_smaller_and_take_and_give_float32(small: keras.Model):
    frozen, pixels = freeze(small), noise(8, SIDE, SIDE)
    whole = convert_to_litert(frozen)
    expected = small(pixels, training=False).numpy()
    for quantize, share, tolerance in (("float16", 0.6, 1e-3), ("dynamic", 0.4, 0.1)):
        content = convert_to_litert(frozen, quantize)
        assert len(content) < share * len(whole)
        np.testing.assert_allclose(answer(content, pixels), expected, atol=tolerance)
    content = convert_to_litert(frozen, "int8", pixels)
    assert len(content) < 0.4 * len(whole)
    given = answer(content, pixels)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, expected, atol=0.1)
    # Not in 256 steps: whatever the logits are, the softmax of them is exact.
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-6)


def test_a_network_of_mixed_precision_is_converted_in_float32(small: keras.Model):
    mixed = stock_network("mixed_bfloat16")
    mixed.set_weights(small.get_weights())
    pixels = noise(2, SIDE, SIDE)
    expected = logits_of(small, pixels)
    assert np.abs(logits_of(mixed, pixels) - expected).max() > 1e-3
    content = convert_to_litert(freeze(compute_in_float32(mixed), mixed.layers[-1].input))
    np.testing.assert_allclose(answer(content, pixels), expected, atol=1e-5)
