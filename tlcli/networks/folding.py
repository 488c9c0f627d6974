"""Batch norm folded into the convolutions below it, for passes that only run forward.

In inference mode batch norm is x * s + (beta - mean * s) with s = gamma / sqrt(variance + epsilon)
(Ioffe and Szegedy, "Batch Normalization", ICML 2015, algorithm 2). A convolution is linear in its
kernel. So s goes into the kernel, the rest becomes the bias, and the activations are read and
written once less. The last bits are others than without it: docs/performance.md has by how much,
and what is gained.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.networks.framework import keras, tf

Array = npt.NDArray[Any]
#: Types of Keras, which has no useful type hints.
Model = Any
Layer = Any

#: Convolutions that batch norm is folded into: the operation of each, whose last kernel is the one
#: with the outputs that batch norm scales.
_OPERATIONS: Mapping[Any, Callable[..., Any]] = {
    keras.layers.Conv2D: keras.ops.conv,
    keras.layers.DepthwiseConv2D: keras.ops.depthwise_conv,
    keras.layers.SeparableConv2D: keras.ops.separable_conv,
}


def fold_batch_norm(model: Any) -> Callable[..., Any]:
    """What gives the outputs of `model` in inference mode, with fewer operations.

    It is called as `model` is, and holds the weights of the convolutions that change as they are
    now. An output between a convolution and its batch norm is computed beside the folded one, so
    that the bits of the other outputs do not depend on it. What is no functional model of Keras
    comes back as it is, and so does a model without such batch norm.
    """
    norms = find_folded(model)
    if not norms:
        return model  # type: ignore[no-any-return]
    folded = {id(norm): _folded(model.get_layer(name), norm) for name, norm in norms.items()}
    below = {id(model.get_layer(name)): id(norm) for name, norm in norms.items()}
    outputs = {id(tensor._keras_history.operation) for tensor in model.outputs}

    def forward(x: Any, training: bool = False) -> Any:
        inputs: dict[int, Any] = {}

        def call(layer: Any, *arguments: Any, **options: Any) -> Any:
            if id(layer) in folded:
                return folded[id(layer)](inputs.pop(id(layer)))
            if id(layer) in below:
                inputs[below[id(layer)]] = arguments[0]
                if id(layer) not in outputs:
                    return None  # its batch norm alone reads this, and computes it
            if "training" in inspect.signature(layer.call).parameters:
                options["training"] = training
            return layer(*arguments, **options)

        # What `keras.models.clone_model` does with symbolic tensors, done with x itself: a clone
        # takes as long as compiling.
        return model._run_through_graph([x], operation_fn=lambda layer: layer, call_fn=call)

    return forward


def find_folded(model: Any) -> Mapping[str, Layer]:
    """The batch norm that `fold_batch_norm` folds, by the name of the convolution below it.

    That convolution has no activation of its own, and nothing else in the model reads what it
    gives.
    """
    depths = getattr(model, "_nodes_by_depth", {}) if isinstance(model, keras.Model) else {}
    nodes = [node for depth in depths.values() for node in depth]
    makers = {id(tensor): node.operation for node in nodes for tensor in node.outputs}
    readers = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    calls = Counter(id(node.operation) for node in nodes)
    folded = {}
    for node in nodes:
        norm = node.operation
        if type(norm) is not keras.layers.BatchNormalization or norm.axis not in (-1, 3):
            continue
        (tensor,) = node.input_tensors
        below: Any = makers.get(id(tensor))
        if (
            type(below) in _OPERATIONS
            and below.activation is keras.activations.linear
            and readers[id(tensor)] == calls[id(below)] == calls[id(norm)] == 1
        ):
            folded[below.name] = norm
    return folded


def _folded(layer: Layer, norm: Layer) -> Callable[[Any], Any]:
    """What batch norm makes of the outputs of a convolution, as one convolution with a bias.

    Its weights are in the precision that it computes in.
    """
    operation, dtype = _OPERATIONS[type(layer)], layer.compute_dtype
    *kernels, bias = (tf.cast(tf.constant(each), dtype) for each in _fold_weights(layer, norm))
    options = {
        "strides": tuple(layer.strides),
        "padding": layer.padding,
        "dilation_rate": tuple(layer.dilation_rate),
        "data_format": layer.data_format,
    }
    return lambda x: tf.nn.bias_add(operation(tf.cast(x, dtype), *kernels, **options), bias)


def _fold_weights(layer: Layer, norm: Layer) -> list[Array]:
    """The weights of a convolution with its batch norm inside, float32, the bias last."""
    *kernels, kernel = (np.asarray(weight, np.float64) for weight in layer.get_weights())
    bias: Any = 0.0
    if layer.use_bias:
        bias, kernel = kernel, kernels.pop()
    mean, variance = (
        np.asarray(moment, np.float64) for moment in (norm.moving_mean, norm.moving_variance)
    )
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * np.asarray(norm.gamma, np.float64)
    shift = np.asarray(norm.beta, np.float64) if norm.center else 0.0
    # A depthwise kernel, (h, w, channels, multiplier), has its outputs on the last two axes.
    outputs = kernel.shape[2:] if type(layer) is keras.layers.DepthwiseConv2D else (-1,)
    folded = [*kernels, kernel * scale.reshape(outputs), (bias - mean) * scale + shift]
    return [weight.astype(np.float32) for weight in folded]
