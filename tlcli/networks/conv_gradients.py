"""Input gradients of convolutions by forward convolution, for processors without oneDNN.

Without oneDNN, TensorFlow computes the gradient of a convolution with respect to its input one
image at a time on a CPU, and reads the whole kernel again for each. For a stride of one it is the
convolution of the output's gradient with the kernel turned by half a turn and its two channel axes
exchanged (Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, section
4), and the forward convolution is fast. A kernel of a single place needs no padding for that. The
forward pass itself and the gradient of the kernel are TensorFlow's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tlcli.networks.framework import has_onednn, keras, tf


@contextmanager
def forward_convolutions(layers: Iterable[Any], *, pointwise: bool = False) -> Iterator[None]:
    """Have functions that are traced in the block use the faster gradient for `layers`.

    Only layers that it suits are changed, and not their classes or configurations, so that a model
    saved later consists of stock layers. Nothing changes on a GPU or where TensorFlow uses oneDNN,
    whose own gradients are faster still. Without `pointwise`, layers with a kernel of one place and
    without padding are as TensorFlow has them, as they were in version 0.1.0.
    """
    chosen = {layer: _convolve for layer in layers if suits_forward(layer, pointwise=pointwise)}
    with stand_ins(chosen):
        yield


def suits_forward(layer: Any, *, pointwise: bool) -> bool:
    """Whether this gradient of a layer is faster than TensorFlow's here."""
    if tf.config.list_logical_devices("GPU") or has_onednn():
        return False
    if not _is_plain(layer):
        return False
    is_pointwise = pointwise and tuple(layer.kernel_size) == (1, 1)
    return layer.padding == "same" or is_pointwise


@contextmanager
def stand_ins(
    operations: Mapping[Any, Callable[..., Any]], method: str = "convolution_op"
) -> Iterator[None]:
    """Have functions that are traced in the block use another method of each layer."""
    for layer, operation in operations.items():
        setattr(layer, method, operation)
    try:
        yield
    finally:
        for layer in operations:
            delattr(layer, method)


def _is_plain(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.data_format == "channels_last"
        and layer.groups == 1
        and set(layer.strides) == {1}
        and set(layer.dilation_rate) == {1}
        and all(side % 2 for side in layer.kernel_size)
    )


def input_gradient(kernel: Any, upstream: Any) -> Any:
    """The gradient of what a layer that `suits_forward` convolves, from that of its output."""
    rotated = tf.transpose(kernel[::-1, ::-1], [0, 1, 3, 2])
    return tf.nn.conv2d(upstream, rotated, strides=1, padding="SAME")


def _convolve(inputs: Any, kernel: Any) -> Any:
    """A stand-in for `Conv2D.convolution_op`: the convolution without the bias."""
    return _convolution(inputs, tf.convert_to_tensor(kernel))


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _convolution(x: Any, kernel: Any) -> Any:
    def gradient(upstream: Any) -> tuple[Any, Any]:
        kernel_gradient = tf.raw_ops.Conv2DBackpropFilter(
            input=x,
            filter_sizes=tf.shape(kernel),
            out_backprop=upstream,
            strides=[1, 1, 1, 1],
            padding="SAME",
        )
        return input_gradient(kernel, upstream), kernel_gradient

    return tf.nn.conv2d(x, kernel, strides=1, padding="SAME"), gradient
