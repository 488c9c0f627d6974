"""Networks as ONNX models, read and answered by onnxruntime, beside Keras itself."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from builders.networks import noise, spread_logits, stock_network

from tlcli.networks.conversion import freeze
from tlcli.networks.framework import keras
from tlcli.networks.onnx_conversion import (
    convert_to_onnx,
    store_weights_as_float16,
    to_float16,
)

SIDE = 32


@pytest.fixture(scope="module")
def small() -> keras.Model:
    """A network with grouped convolutions and GELU, as ConvNeXt has, and logits that differ."""
    return spread_logits(stock_network(), noise(16, SIDE, SIDE))


@pytest.fixture(scope="module")
def converted(small: keras.Model) -> bytes:
    """It as ONNX."""
    return convert_to_onnx(freeze(small, name="probabilities")).SerializeToString()


def answer(content: bytes, pixels: np.ndarray) -> np.ndarray:
    """What onnxruntime answers to a batch."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (given,) = session.run(["probabilities"], {"pixels": pixels})
    return given


@pytest.mark.parametrize("count", [1, 3])
def test_onnxruntime_answers_as_keras_does_for_any_number_of_photos(
    small: keras.Model, converted: bytes, count: int
):
    pixels = noise(count, SIDE, SIDE)
    expected = small(pixels, training=False).numpy()
    np.testing.assert_allclose(answer(converted, pixels), expected, atol=1e-5)


def test_a_model_is_valid_and_names_its_input_and_output(converted: bytes):
    model = onnx.load_from_string(converted)
    onnx.checker.check_model(model)
    assert {node.domain for node in model.graph.node} == {""}
    for value, name, shape in (
        (*model.graph.input, "pixels", ["photos", SIDE, SIDE, 3]),
        (*model.graph.output, "probabilities", ["photos", 3]),
    ):
        assert value.name == name
        dims = value.type.tensor_type.shape.dim
        assert [dim.dim_param or dim.dim_value for dim in dims] == shape


def test_weights_in_half_precision_take_half_the_bytes(small: keras.Model, converted: bytes):
    model = onnx.load_from_string(converted)
    store_weights_as_float16(model)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    assert len(content) < 0.6 * len(converted)
    pixels = noise(4, SIDE, SIDE)
    difference = np.abs(answer(content, pixels) - small(pixels, training=False).numpy()).max()
    assert 0 < difference < 1e-2


def test_numbers_beyond_half_precision_stay_finite():
    given = to_float16(np.array([1e6, -1e6, 1.5], np.float32))
    assert given.dtype == np.float16
    assert given.tolist() == [65504.0, -65504.0, 1.5]
