"""The reader of ONNX files, against the `onnx` package where it is installed."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from tlcli.pretrained.onnx_weights import NotONNXError, ONNXGraph
from tlcli.pretrained.tensors import WeightedLayer

onnx = pytest.importorskip("onnx")

CHAIN = (
    WeightedLayer("c1", "conv2d", ((3, 3, 3, 4), (4,))),
    WeightedLayer("c2", "conv2d_1", ((1, 1, 4, 5), (5,))),
)
BRANCHED = (
    WeightedLayer("c1", "conv2d", ((1, 1, 3, 4),)),
    WeightedLayer("b1", "batch_normalization", ((4,), (4,), (4,), (4,))),
    WeightedLayer("d1", "depthwise_conv2d", ((3, 3, 4, 1),)),
)


def draw(layers: tuple[WeightedLayer, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(s, np.float32) for layer in layers for s in layer.shapes]


def model(
    layers: tuple[WeightedLayer, ...],
    values: list[np.ndarray],
    *,
    names: str = "m/{}_1/{}:0",
    floats: bool = False,
) -> bytes:
    """An ONNX model of layers, with the tensors named after them; `floats` packs them as such."""
    remaining = iter(values)
    nodes, initializers = [], []
    for layer in layers:
        inputs = [names.format(layer.name, n) for n in range(len(layer.shapes))]
        for name in inputs:
            value = next(remaining)
            if value.ndim == 4:
                depthwise = layer.kind == "depthwise_conv2d"
                value = value.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
            value = np.ascontiguousarray(value)
            initializers.append(
                onnx.helper.make_tensor(name, 1, value.shape, value.ravel())
                if floats
                else onnx.numpy_helper.from_array(value, name)
            )
        kind = "BatchNormalization" if layer.kind == "batch_normalization" else "Conv"
        nodes.append(onnx.helper.make_node(kind, ["x", *inputs], ["y"], name="n" * 300))
    graph = onnx.helper.make_graph(nodes, "g", [], [], initializers)
    return onnx.helper.make_model(graph).SerializeToString()


@pytest.mark.parametrize("floats", [True, False])
@pytest.mark.parametrize("names", ["m/{}/{}:0", "m/{}_1/{}:0", "w{1}{0}x"])
def test_a_chain_by_name_or_by_order(names: str, floats: bool):
    values = draw(CHAIN)
    tensors = ONNXGraph(model(CHAIN, values, names=names, floats=floats)).tensors(CHAIN)
    for actual, expected in zip(tensors, values, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_branches_go_by_name():
    values = draw(BRANCHED)
    tensors = ONNXGraph(model(BRANCHED, values)).tensors(BRANCHED)
    for actual, expected in zip(tensors, values, strict=True):
        np.testing.assert_array_equal(actual, expected)
    two = (BRANCHED[0], WeightedLayer("c2", "conv2d_1", ((1, 1, 3, 4),)))
    with pytest.raises(ValueError, match="order alone does not tell the branches of this base"):
        ONNXGraph(model(two, draw(two), names="w{1}{0}x")).tensors(two)


@pytest.mark.parametrize("second", ["right/{}/{}:0", "left/{}_1/{}:0"])
def test_copies_of_a_network(second: str):
    files = [
        onnx.load_from_string(model(CHAIN, values, names=names))
        for values, names in ((draw(CHAIN), "left/{}/{}:0"), (draw(CHAIN), second))
    ]
    files[0].graph.node.extend(files[1].graph.node)
    files[0].graph.initializer.extend(files[1].graph.initializer)
    graph = ONNXGraph(files[0].SerializeToString())
    first = second.format("c1", 0)
    assert [name for name, _ in graph.named_copies(CHAIN)] == ["left/c1/0:0", first]
    for actual, expected in zip(graph.tensors(CHAIN), draw(CHAIN), strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert ONNXGraph(model(CHAIN, draw(CHAIN))).named_copies(CHAIN) == []


@pytest.mark.parametrize(
    ("file_layers", "base_layers", "message"),
    [
        (CHAIN, CHAIN[:1], None),
        (CHAIN[:1], CHAIN, "it has 1 convolutions, the base has 2 layers with weights"),
        (CHAIN, BRANCHED, "its batch norm is folded into the convolutions"),
        (
            CHAIN,
            (WeightedLayer("c1", "conv2d", ((3, 3, 3, 9), (9,))),),
            r"layer c1 has the shape \(3, 3, 3, 4\), not \(3, 3, 3, 9\)",
        ),
        (CHAIN, (WeightedLayer("c1", "conv2d", ((3, 3, 3, 4),)),), "layer c1 has 2 tensors in it"),
        (
            CHAIN,
            (WeightedLayer("s", "separable_conv2d", ((1,),)),),
            "it is ONNX, and this base has layers that ONNX spells differently",
        ),
    ],
)
def test_what_does_not_match(
    file_layers: tuple[WeightedLayer, ...],
    base_layers: tuple[WeightedLayer, ...],
    message: str | None,
):
    graph = ONNXGraph(model(file_layers, draw(file_layers)))
    if message is None:
        assert len(graph.tensors(base_layers)) == 2
        return
    with pytest.raises(ValueError, match=message):
        graph.tensors(base_layers)


def _with_tensor(change: str) -> bytes:
    loaded = onnx.load_from_string(model(CHAIN, draw(CHAIN)))
    tensor = loaded.graph.initializer[0]
    if change == "outside":
        tensor.data_location = 1
        tensor.external_data.add(key="location", value="/etc/hostname")
    elif change == "double":
        tensor.data_type = 11
    elif change == "short":
        tensor.raw_data = tensor.raw_data[:-4]
    elif change == "huge":
        tensor.dims[0] = 2**40
    else:
        del loaded.graph.initializer[0]
    return loaded.SerializeToString()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("outside", "it keeps its tensors in other files"),
        ("double", "its tensor 'm/c1_1/0:0' is not float32"),
        ("short", "its tensor 'm/c1_1/0:0' is not float32"),
        ("huge", "its tensor 'm/c1_1/0:0' is not float32"),
        ("missing", "the tensor 'm/c1_1/0:0' of layer c1 is computed, not kept"),
    ],
)
def test_tensors_that_cannot_be_read(change: str, message: str):
    with pytest.raises(ValueError, match=message):
        ONNXGraph(_with_tensor(change)).tensors(CHAIN)


def test_broken_bytes_are_refused():
    whole = model(CHAIN, draw(CHAIN))
    for end in range(0, len(whole) - 1, 7):
        with pytest.raises(NotONNXError):
            ONNXGraph(whole[:end])
    generator = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[generator.integers(len(damaged))] = generator.integers(256)
        with contextlib.suppress(ValueError):
            ONNXGraph(bytes(damaged)).tensors(CHAIN)
