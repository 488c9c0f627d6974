"""A network out of Keras: as a frozen function of pixels, and as the bytes of a LiteRT file.

Both compute in float32, take any number of photos at once, and have only operations that every
runtime has built in.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tlcli.networks.engine import FEATURES, LOGITS
from tlcli.networks.framework import freeze_to_constants, keras, tf
from tlcli.system.streams import native_stderr_held_back

Array = npt.NDArray[Any]
#: Types of Keras and TensorFlow, which have no useful type hints.
Model = Any
Tensor = Any
FrozenFunction = Any

#: What weights, and for int8 activations too, become in a file; None leaves them float32.
#: `dynamic` has int8 weights, and rounds activations while it runs.
Quantization = Literal["float16", "dynamic", "int8"]

#: The name of the input in every file.
PIXELS = "pixels"


def freeze(
    model: Model,
    tensor: Tensor = None,
    *,
    name: str = LOGITS,
    then: Callable[[Tensor], Tensor] | None = None,
    features: Tensor = None,
) -> FrozenFunction:
    """A function of pixels with the weights of a model inside, in inference mode.

    Args:
        model: takes raw RGB 0..255, float32, shape (n, height, width, 3), and computes in float32
            (`compute_in_float32`).
        tensor: what is put out, a tensor of the model; by default the model's own output.
        name: what the output is called.
        then: is applied to `tensor`, on TensorFlow's tensors.
        features: another tensor of the model, a second output under the name `FEATURES`.

    Returns:
        A concrete function, without variables and without calls of other functions, that takes
        `pixels` and returns a list with the outputs.
    """
    pixels = model.inputs[0]
    output = model.outputs[0] if tensor is None else tensor
    inner = keras.Model(pixels, output if features is None else [output, features])

    def compute(x: Tensor) -> list[Tensor]:
        values = inner(x, training=False)
        values, *others = [values] if features is None else values
        named = [tf.identity(values if then is None else then(values), name=name)]
        return named + [tf.identity(other, name=FEATURES) for other in others]

    signature = [tf.TensorSpec([None, *pixels.shape[1:]], tf.float32, name=PIXELS)]
    with _inner_functions_inlined():
        traced = tf.compat.v1.wrap_function(compute, signature)
    return freeze_to_constants(traced)


def name_output(frozen: FrozenFunction) -> Any:
    """A `tf.Module` whose function `serve` returns the outputs by name, as signatures do."""
    names = [output.op.name for output in frozen.outputs]
    holder = tf.Module()
    holder.serve = tf.function(
        lambda pixels: dict(zip(names, frozen(pixels), strict=True)),
        input_signature=[tf.TensorSpec(frozen.inputs[0].shape, tf.float32, name=PIXELS)],
    )
    return holder


def compute_in_float32(model: Model) -> Model:
    """The same model with every layer computing in the precision that its weights have."""
    for layer in model._flatten_layers(include_self=False):
        if layer.compute_dtype != "float32":
            layer.dtype_policy = "float32"
    return model


def copy_in_float32(model: Model) -> Model:
    """A copy with the same weights in which every layer computes in float32.

    Its layers, names and flags are those of a model that was built in float32.
    """

    def copied(layer: Any) -> Any:
        settings = layer.get_config()
        if isinstance(layer, keras.Layer):  # an operation of the graph may be none
            settings["dtype"] = "float32"
        return type(layer).from_config(settings)

    copy = keras.models.clone_model(model, clone_function=copied)
    copy.set_weights(model.get_weights())
    return copy


def compute_in_bfloat16(model: Model, layers: Collection[str]) -> Model:
    """The same model with these layers computing in bfloat16, and all others as their weights are.

    Weights stay float32, so that the model computes what it would if it had been built with
    `mixed_bfloat16` for these layers.
    """
    for layer in compute_in_float32(model)._flatten_layers(include_self=False):
        if layer.name in layers:
            layer.dtype_policy = "mixed_bfloat16"
    return model


@contextmanager
def _inner_functions_inlined() -> Iterator[None]:
    """Let functions inside of a traced one become part of it.

    Keras computes depthwise convolutions in a function that XLA must compile, which TensorFlow
    never inlines afterwards, and which other runtimes cannot call.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def convert_to_litert(
    frozen: FrozenFunction,
    quantize: Quantization | None = None,
    photos: Iterable[Array] = (),
) -> bytes:
    """The flatbuffer of a frozen function.

    Args:
        quantize: the form of the weights; input and output are float32 in each.
        photos: pixels, float32 (height, width, 3), from which `int8` takes the ranges of the
            activations.

    The converter raises what it raises where an operation is not among LiteRT's own; none falls
    back to those of TensorFlow.
    """
    holder = name_output(frozen)
    function = holder.serve.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], holder)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantize is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    with native_stderr_held_back():
        return (
            _convert_to_int8(converter, photos)
            if quantize == "int8"
            else bytes(converter.convert())
        )


def _convert_to_int8(converter: Any, photos: Iterable[Array]) -> bytes:
    """The flatbuffer with weights and activations in 8 bits, a softmax at its end left in float32.

    With 256 steps for a probability, a sure answer would be exactly 1 and all others 0.
    """
    rows = [pixels[np.newaxis] for pixels in photos]  # they are gone through more than once
    converter.representative_dataset = lambda: ([row] for row in rows)
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["SOFTMAX"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an interpreter that TensorFlow itself goes on using
        # The only public way to leave an operation out.
        quantizer = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=converter.representative_dataset,
            debug_options=options,
        )
        return bytes(quantizer.get_nondebug_quantized_model())
