"""Gradients of depthwise convolutions in float32, where bfloat16 has no fast operation for them.

For a stride above one, oneDNN has none for the gradient of the input in bfloat16, and takes 12 to
100 times as long as in float32. That of a kernel larger than 3 x 3 takes 2 to 4 times as long
(docs/performance.md). The forward pass stays in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tlcli.networks.framework import keras, tf


def wide_calls(layers: Iterable[Any]) -> Mapping[Any, Callable[[Any], Any]]:
    """A stand-in for the `call` of each layer with a depthwise convolution that it suits."""
    return {layer: _wide_call(layer) for layer in layers if _is_slow(layer)}


def _is_slow(layer: Any) -> bool:
    return (
        type(layer) in (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
        and layer.compute_dtype == "bfloat16"
        and layer.data_format == "channels_last"
        and set(layer.dilation_rate) == {1}
        and len(set(layer.strides)) == 1
        and (layer.strides[0] > 1 or max(layer.kernel_size) > 3)
    )


def _wide_call(layer: Any) -> Callable[[Any], Any]:
    """What the layer computes, with gradients of the depthwise convolution in float32."""
    strides, padding = [1, *layer.strides, 1], layer.padding.upper()
    separable = type(layer) is keras.layers.SeparableConv2D

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(x: Any, kernel: Any) -> Any:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            upstream = tf.cast(upstream, tf.float32)
            of_input = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                input_sizes=tf.shape(x), filter=tf.cast(kernel, tf.float32),
                out_backprop=upstream, strides=strides, padding=padding,
            )  # fmt: skip
            of_kernel = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                input=tf.cast(x, tf.float32), filter_sizes=tf.shape(kernel),
                out_backprop=upstream, strides=strides, padding=padding,
            )  # fmt: skip
            return tf.cast(of_input, x.dtype), tf.cast(of_kernel, kernel.dtype)

        return tf.nn.depthwise_conv2d(x, kernel, strides, padding), gradient

    def call(inputs: Any) -> Any:
        kernel = layer.depthwise_kernel if separable else layer.kernel
        outputs = convolve(inputs, tf.convert_to_tensor(kernel))
        if separable:
            pointwise = tf.convert_to_tensor(layer.pointwise_kernel)
            outputs = tf.nn.conv2d(outputs, pointwise, 1, "VALID")
        if layer.use_bias:
            outputs += tf.convert_to_tensor(layer.bias)
        return outputs if layer.activation is None else layer.activation(outputs)

    return call
