"""A frozen function as an ONNX model. Needs the extra `onnx`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tlcli.networks.conversion import FrozenFunction

#: The version of ONNX's operations: onnxruntime has had it since 1.12, as has onnxruntime-web.
OPSET = 17

#: What the first dimension, the number of photos, is called.
BATCH = "photos"

#: Tensors of fewer numbers stay float32: they are no weight worth the loss of digits.
SMALL_TENSOR = 256

#: An ONNX model, or a part of one; the package has no type hints that help.
OnnxModel = Any


def convert_to_onnx(frozen: FrozenFunction) -> OnnxModel:
    """The ONNX model of a frozen function, with the names of its input and outputs.

    An operation that tf2onnx does not know stays in the model under TensorFlow's name, so that
    onnxruntime refuses to load it: only reading a model back shows that it is sound.
    """
    (pixels,), outputs = frozen.inputs, frozen.outputs
    names = {tensor.name: tensor.op.name for tensor in (pixels, *outputs)}
    with _quiet_tf2onnx():
        import tf2onnx

        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(),
            input_names=[pixels.name],
            output_names=[output.name for output in outputs],
            tensors_to_rename=names,
            opset=OPSET,
            custom_op_handlers={"Erfc": (_complement_of_erf, [])},
        )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    return model


def store_weights_as_float16(model: OnnxModel) -> None:
    """Store the weights of a model in half the bytes; it goes on computing in float32.

    A runtime turns them back once, when it loads the model, so that it needs no arithmetic of half
    precision, which processors rarely have.
    """
    import onnx

    large = [tensor for tensor in model.graph.initializer if _is_large(tensor)]
    casts = []
    for tensor in large:
        values = onnx.numpy_helper.to_array(tensor)
        name = f"{tensor.name}__float16"
        cast = onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT)
        casts.append(cast)
        tensor.CopyFrom(onnx.numpy_helper.from_array(to_float16(values), name))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def to_float16(values: Any) -> Any:
    """The nearest numbers of half precision; those beyond its range become its largest."""
    limit = np.finfo(np.float16).max
    return np.clip(values, -limit, limit).astype(np.float16)


def _is_large(tensor: Any) -> bool:
    import onnx

    numbers = int(np.prod(tensor.dims))
    return tensor.data_type == onnx.TensorProto.FLOAT and numbers >= SMALL_TENSOR


def _complement_of_erf(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """erfc(x), which ONNX lacks, as 1 - erf(x); GELU multiplies it with nothing that is large."""
    node.type = "Erf"
    unit = graph.make_const(f"{name}__one", np.array(1, np.float32)).output[0]
    users = graph.find_output_consumers(node.output[0])
    complement = graph.make_node("Sub", [unit, node.output[0]], name=f"{name}__complement")
    graph.replace_all_inputs(node.output[0], complement.output[0], ops=users)


@contextmanager
def _quiet_tf2onnx() -> Iterator[None]:
    """Keep tf2onnx's log, and its warnings of what NumPy is about to change, from the user."""
    logger = logging.getLogger("tf2onnx")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
