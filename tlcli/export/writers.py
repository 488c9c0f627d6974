"""The model of a run, written in each format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.export.records import CARD, LABELS, PROBABILITIES, Format, Quantize
from tlcli.networks.conversion import convert_to_litert, freeze
from tlcli.networks.framework import keras, tf
from tlcli.system.appended_zip import append_members

Array = npt.NDArray[Any]


def write_model(
    form: Format,
    quantize: Quantize | None,
    model: Any,
    logits: Any,
    temperature: float | None,
    path: Path,
    *,
    resize: str,
    texts: dict[str, str],
    photos: Iterable[Array] = (),
    features: Any = None,
) -> None:
    """Write pixels -> calibrated probabilities, float32, shape (n, classes).

    Args:
        model, logits: a Keras model of pixels that computes in float32, and its logits.
        temperature: by which the logits are divided; None leaves them.
        resize: how the pixels are made, for the signature that takes encoded files.
        texts: the labels and the card, which go into the file itself.
        photos: pixels that int8 takes the ranges of the activations from.
        features: another tensor of the model, which is put out, too. In a SavedModel it has a
            signature of its own, and a Keras model has it inside.
    """
    if form == "keras":
        _calibrated(model, logits, temperature).save(path)
        return
    then = _probabilities(temperature)
    frozen = freeze(model, logits, name=PROBABILITIES, then=then, features=features)
    if form == "litert":
        content = convert_to_litert(frozen, quantize, photos)
        path.write_bytes(append_members(content, texts))
    elif form == "onnx":
        _write_onnx(frozen, quantize, path, texts, photos)
    else:
        from tlcli.export.saved_model import with_float16_weights, write_saved_model

        frozen = with_float16_weights(frozen) if quantize == "float16" else frozen
        assets = {name: path.parent / name for name in texts}
        write_saved_model(frozen, path, resize, assets)


def _probabilities(temperature: float | None) -> Callable[[Any], Any]:
    """Logits of a sigmoid, (n, 1), or of a softmax -> probabilities, (n, classes)."""

    def compute(logits: Any) -> Any:
        values = logits if temperature is None else logits / temperature
        if values.shape[-1] == 1:
            values = tf.concat([tf.zeros_like(values), values], axis=1)
        return tf.nn.softmax(values)

    return compute


def _calibrated(model: Any, logits: Any, temperature: float | None) -> Any:
    """The same as a Keras model of stock layers."""
    layers = keras.layers
    values = layers.Rescaling(1 / (temperature or 1), dtype="float32", name="temperature")(logits)
    if values.shape[-1] == 1:
        pair = layers.Dense(2, use_bias=False, name="both_classes")
        values = pair(values)
        pair.set_weights([np.array([[0.0, 1.0]], np.float32)])
    outputs = layers.Softmax(dtype="float32", name=PROBABILITIES)(values)
    return keras.Model(model.inputs[0], outputs, name=model.name)


def _write_onnx(
    frozen: Any,
    quantize: Quantize | None,
    path: Path,
    texts: dict[str, str],
    photos: Iterable[Array],
) -> None:
    import onnx

    from tlcli.networks.onnx_conversion import convert_to_onnx, store_weights_as_float16

    converted = convert_to_onnx(frozen)
    if quantize == "float16":
        store_weights_as_float16(converted)
    if quantize == "int8":
        converted = _quantized(converted, path, photos)
    onnx.helper.set_model_props(converted, {_prop(name): text for name, text in texts.items()})
    onnx.save(converted, str(path))


def _prop(name: str) -> str:
    """The key of a text in `metadata_props`."""
    return {LABELS: "labels", CARD: "tlcli"}[name]


def _quantized(converted: Any, path: Path, photos: Iterable[Array]) -> Any:
    """Weights and activations in 8 bits, by ONNX Runtime, a softmax at the end left in float32."""
    import logging

    import onnx
    from onnxruntime import quantization

    class Photos(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rows: Iterator[Array] = iter(photos)

        def get_next(self) -> dict[str, Array] | None:
            row = next(self.rows, None)
            return None if row is None else {"pixels": row[np.newaxis]}

    plain, small = path.with_suffix(".float32"), path.with_suffix(".int8")
    logger = logging.getLogger()
    before = logger.level
    try:
        logger.setLevel(logging.ERROR)  # it asks for a step before that changes nothing here
        onnx.save(converted, str(plain))
        quantization.quantize_static(
            str(plain),
            str(small),
            Photos(),
            per_channel=True,
            op_types_to_quantize=["Conv", "MatMul", "Gemm", "Add", "Relu", "Clip", "MaxPool"],
        )
        return onnx.load(str(small))
    finally:
        logger.setLevel(before)
        plain.unlink(missing_ok=True)
        small.unlink(missing_ok=True)
