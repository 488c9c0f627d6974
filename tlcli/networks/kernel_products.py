"""Kernel gradients of convolutions as products of matrices, where those are faster.

The gradient of a kernel is the product of the patches that it was laid on, a row each, and the
gradient of the output (Chellapilla, Puri and Simard, "High performance convolutional neural
networks for document processing", 2006). TensorFlow has kernels of its own for it. oneDNN's is up
to five times as slow in bfloat16 as the product on processors with AMX; elsewhere it depends on the
shapes. So both are timed for each shape, and what came out is kept for this kind of machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tlcli.networks.conv_gradients import (
    forward_convolutions,
    input_gradient,
    stand_ins,
    suits_forward,
)
from tlcli.networks.depthwise_gradients import wide_calls
from tlcli.networks.framework import keras, tf
from tlcli.system import console, signals
from tlcli.system.measured_speeds import (
    Speeds,
    add_speeds,
    choose_clock,
    machine_key,
    read_speeds,
)

#: The file in the cache folder with what was measured on this machine.
SPEEDS = "kernel_gradients.json"

#: To be raised where `measure_gain` changes: what it gave before does not count any more.
MEASUREMENT = 2

#: How many times as fast as TensorFlow's gradient the product must be for it to be used.
GAIN = 1.1

#: Multiplications below which a gradient takes a few milliseconds at most, and is not measured.
LEAST_WORK = 10**8

#: Bytes that the patches of a batch may take: they repeat each number as often as a kernel has
#: places.
MOST_BYTES = 2**27

#: Rounds of a measurement after one that compiles; the fastest of each kind counts.
_ROUNDS = 4


class Convolution(NamedTuple):
    """A convolution as the time of its kernel's gradient depends on it.

    Attributes:
        inputs, outputs: (photos, height, width, channels).
        size: height and width of the kernel.
        stride: the same in both directions.
        padding: as TensorFlow names it.
        dtype: that it computes in.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    size: tuple[int, int]
    stride: int
    padding: str
    dtype: str

    @property
    def work(self) -> int:
        """Multiplications."""
        return math.prod(self.outputs) * math.prod(self.size) * self.inputs[-1]

    @property
    def patch_bytes(self) -> int:
        """The size of all patches."""
        numbers = math.prod(self.outputs[:-1]) * math.prod(self.size) * self.inputs[-1]
        return numbers * int(tf.as_dtype(self.dtype).size)

    def __str__(self) -> str:
        sizes = ("x".join(map(str, each)) for each in (self.inputs, self.outputs, self.size))
        return " ".join([*sizes, str(self.stride), self.padding, self.dtype])


@contextmanager
def fast_gradients(
    layers: Iterable[Any], products: Collection[str], *, wide_depthwise: bool, pointwise: bool
) -> Iterator[None]:
    """Have functions that are traced in the block use the faster gradients of convolutions.

    `products` are the names of those layers whose kernel gradients are products of matrices; the
    others are as in `forward_convolutions`, to which `pointwise` is passed. With `wide_depthwise`
    depthwise ones are as in `depthwise_gradients`.
    """
    layers = list(layers)
    chosen = {
        layer: _product_convolution(
            layer, forward=pointwise and suits_forward(layer, pointwise=True)
        )
        for layer in layers
        if layer.name in products
    }
    wide = wide_calls(layers) if wide_depthwise else {}
    others = [layer for layer in layers if layer not in chosen]
    forward = forward_convolutions(others, pointwise=pointwise)
    with forward, stand_ins(chosen), stand_ins(wide, "call"):
        yield


def choose_products(layers: Iterable[Any], batch_size: int, cache: Path) -> tuple[str, ...]:
    """The names of the layers whose kernel gradients are faster as products on this machine.

    Shapes that are new to it are measured, some tenths of a second each. `cache` is the folder of
    `files.cache_folder`. On a GPU there are none.
    """
    if tf.config.list_logical_devices("GPU"):
        return ()
    shapes = {layer.name: _describe(layer, batch_size) for layer in layers if _is_suitable(layer)}
    shapes = {name: each for name, each in shapes.items() if _is_worth_it(each)}
    path, machine = cache / SPEEDS, machine_key(MEASUREMENT)
    known = read_speeds(path, _parse_speeds).get(machine, {})
    new = {each for each in shapes.values() if str(each) not in known}
    if new:
        measured: dict[str, float] = {}
        with console.waiting("timing the gradients of kernels ..."):
            for each in sorted(new):
                measured[str(each)] = round(measure_gain(each), 3)
                signals.raise_if_interrupted()
        known = add_speeds(path, _parse_speeds, machine, {**known, **measured})
    return tuple(name for name, each in shapes.items() if known[str(each)] >= GAIN)


def measure_gain(convolution: Convolution) -> float:
    """How many times as fast the product is as TensorFlow's own gradient of the kernel.

    Both take turns, and the fastest of some rounds counts, by the clock of `choose_clock`.
    """
    clock = choose_clock()
    generator = tf.random.Generator.from_seed(0)
    x, upstream = (
        tf.cast(generator.normal(shape), convolution.dtype)
        for shape in (convolution.inputs, convolution.outputs)
    )
    kinds = [tf.function(kind(convolution)) for kind in (_own_gradient, _product_gradient)]
    best = [math.inf, math.inf]
    for number in range(1 + _ROUNDS):
        for kind, gradient in enumerate(kinds):
            started = clock()
            gradient(x, upstream)
            if number:
                best[kind] = min(best[kind], clock() - started)
    return best[0] / best[1]


def _own_gradient(convolution: Convolution) -> Callable[[Any, Any], Any]:
    shape = (*convolution.size, convolution.inputs[-1], convolution.outputs[-1])
    strides = [1, convolution.stride, convolution.stride, 1]
    return lambda x, upstream: tf.raw_ops.Conv2DBackpropFilter(
        input=x, filter_sizes=shape, out_backprop=upstream, strides=strides,
        padding=convolution.padding,
    )  # fmt: skip


def _product_gradient(convolution: Convolution) -> Callable[[Any, Any], Any]:
    size, stride, padding = convolution.size, convolution.stride, convolution.padding
    return lambda x, upstream: kernel_gradient(x, upstream, size, stride, padding)


def kernel_gradient(x: Any, upstream: Any, size: tuple[int, int], stride: int, padding: str) -> Any:
    """The gradient of a kernel: (height, width, channels in, channels out).

    `x` is what it was laid on, (n, height, width, channels in), and `upstream` the gradient of the
    output. Padding is `VALID`, or `SAME` with a stride of 1.
    """
    inner, outer = x.shape[-1], upstream.shape[-1]
    patches = _patches(x, upstream.shape[1:3], size, stride, padding)
    rows = tf.reshape(patches, (-1, math.prod(size) * inner))
    product = tf.matmul(rows, tf.reshape(upstream, (-1, outer)), transpose_a=True)
    return tf.reshape(product, (*size, inner, outer))


def _patches(x: Any, places: Any, size: tuple[int, int], stride: int, padding: str) -> Any:
    """What a kernel sees at each of (height, width) places: (n, *places, *size flattened)."""
    height, width = size
    if padding == "SAME":
        before, after = ((height - 1) // 2, (width - 1) // 2), (height // 2, width // 2)
        x = tf.pad(x, [[0, 0], *zip(before, after, strict=True), [0, 0]])
    lengths = [(count - 1) * stride + 1 for count in places]
    parts = [
        x[:, top : top + lengths[0] : stride, left : left + lengths[1] : stride]
        for top in range(height)
        for left in range(width)
    ]
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=-1)


def _product_convolution(layer: Any, *, forward: bool) -> Callable[[Any, Any], Any]:
    """A stand-in for `Conv2D.convolution_op` of a layer: the convolution without the bias.

    With `forward`, the gradient of its input is that of `conv_gradients`.
    """
    size, stride, padding = layer.kernel_size, layer.strides[0], layer.padding.upper()

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(x: Any, kernel: Any) -> Any:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            of_kernel = kernel_gradient(x, upstream, size, stride, padding)
            if forward:
                return input_gradient(kernel, upstream), of_kernel
            of_input = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x),
                filter=kernel,
                out_backprop=upstream,
                strides=[1, stride, stride, 1],
                padding=padding,
            )
            return of_input, of_kernel

        return tf.nn.conv2d(x, kernel, stride, padding), gradient

    return lambda inputs, kernel: convolve(inputs, tf.convert_to_tensor(kernel))


def _is_suitable(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.data_format == "channels_last"
        and layer.compute_dtype in ("float32", "bfloat16")
        and layer.groups == 1
        and set(layer.dilation_rate) == {1}
        and len(set(layer.strides)) == 1
        and (layer.padding == "valid" or (layer.padding == "same" and layer.strides[0] == 1))
    )


def _is_worth_it(convolution: Convolution) -> bool:
    return convolution.work >= LEAST_WORK and convolution.patch_bytes <= MOST_BYTES


def _describe(layer: Any, batch_size: int) -> Convolution:
    return Convolution(
        (batch_size, *layer.input.shape[1:]), (batch_size, *layer.output.shape[1:]),
        tuple(layer.kernel_size), layer.strides[0], layer.padding.upper(), layer.compute_dtype,
    )  # fmt: skip


def _parse_speeds(value: Any) -> Speeds:
    return {
        str(machine): {str(key): float(gain) for key, gain in gains.items()}
        for machine, gains in value.items()
    }
