"""What computes the logits of photos: Keras with TensorFlow, or LiteRT without them.

LiteRT starts in a fraction of a second, where importing TensorFlow alone takes several.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from tlcli.system.machine import usable_processors
from tlcli.system.streams import native_stderr_held_back

Array = npt.NDArray[Any]

#: The names of the outputs of a file that has two.
LOGITS, FEATURES = "logits", "features"

#: The names of the engines.
EngineName = Literal["keras", "instant"]


class Engine(Protocol):
    """A network that is ready to answer."""

    @property
    def name(self) -> EngineName: ...

    def compute(self, pixels: Array) -> Array:
        """Raw RGB 0..255, (n, height, width, 3) -> what the network puts out, (n, outputs)."""
        ...


class FeatureEngine(Engine, Protocol):
    """An engine that also gives what the top of the base has found, if its network tells.

    Attributes:
        has_features: whether it does: the files of earlier versions have one output.
    """

    @property
    def has_features(self) -> bool: ...

    def compute_with_features(self, pixels: Array) -> tuple[Array, Array | None]:
        """What `compute` gives, and features, float32 (n, channels), of the same pass."""
        ...


def time_calls(engine: Engine, pixels: Array, calls: int) -> list[float]:
    """The seconds of each of so many calls, after one that is not counted."""
    engine.compute(pixels)
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        engine.compute(pixels)
        seconds.append(time.perf_counter() - start)
    return seconds


class KerasEngine:
    """A Keras model, compiled once for any number of photos, batch norm folded (`folding`).

    Args:
        model: takes raw RGB, shape (n, height, width, 3), with a known height and width.
        tensor: the tensor of the model that is put out, such as its logits.
        features: another one, which `compute_with_features` gives beside it.
    """

    name: EngineName = "keras"

    def __init__(self, model: Any, tensor: Any, features: Any = None) -> None:
        from tlcli.networks.folding import fold_batch_norm
        from tlcli.networks.framework import keras, tf

        pixels = model.inputs[0]
        self.has_features = features is not None
        outputs = [tensor, features] if self.has_features else tensor
        inner = fold_batch_norm(keras.Model(pixels, outputs))
        self._call = tf.function(
            lambda x: inner(x, training=False),
            input_signature=[tf.TensorSpec([None, *pixels.shape[1:]], tf.float32)],
        )

    def compute(self, pixels: Array) -> Array:
        """See `Engine`."""
        return self.compute_with_features(pixels)[0]

    def compute_with_features(self, pixels: Array) -> tuple[Array, Array | None]:
        """See `FeatureEngine`."""
        outputs = self._call(np.asarray(pixels, np.float32))
        if not self.has_features:
            return np.asarray(outputs), None
        return np.asarray(outputs[0]), np.asarray(outputs[1])


class LiteRTEngine:
    """A LiteRT file of one input, all float32, and of one output, or of that and `features`.

    Raises `ImportError` where the runtime is not installed, and `ValueError` where the file is not
    one, needs operations that the runtime does not have, or takes other pixels.

    Args:
        content: the file, or its path, which is then mapped into memory.
        size: height and width of the pixels that it must take.
    """

    name: EngineName = "instant"

    def __init__(self, content: bytes | Path, size: Sequence[int]) -> None:
        # Imported here, since it is not there on every platform.
        from ai_edge_litert.interpreter import Interpreter

        file = {"model_content": content} if isinstance(content, bytes) else {
            "model_path": str(content)
        }  # fmt: skip
        try:
            with native_stderr_held_back():
                self._interpreter = Interpreter(**file, num_threads=usable_processors())
            (self._input,) = self._interpreter.get_input_details()
            self._output, self._features = self._find_outputs()
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        if list(self._input["shape"][1:]) != [*size, 3]:
            shape = "x".join(map(str, self._input["shape"][1:]))
            raise ValueError(f"it takes photos of {shape}, not {size[0]}x{size[1]}x3")
        self._batch = 0

    @property
    def has_features(self) -> bool:
        """See `FeatureEngine`."""
        return self._features is not None

    def _find_outputs(self) -> tuple[int, int | None]:
        """The numbers of the tensors of the first output and of the features, if there are any."""
        outputs = self._interpreter.get_output_details()
        if len(outputs) == 1:
            return outputs[0]["index"], None
        (signature,) = self._interpreter.get_signature_list()
        by_name = self._interpreter.get_signature_runner(signature).get_output_details()
        others = by_name.keys() - {FEATURES}
        if len(by_name) != 2 or len(others) != 1:
            raise ValueError(f"it has the outputs {', '.join(sorted(by_name))}")
        return by_name[others.pop()]["index"], by_name[FEATURES]["index"]

    def compute(self, pixels: Array) -> Array:
        """See `Engine`."""
        return self.compute_with_features(pixels)[0]

    def compute_with_features(self, pixels: Array) -> tuple[Array, Array | None]:
        """See `FeatureEngine`."""
        pixels = np.ascontiguousarray(pixels, np.float32)
        if len(pixels) != self._batch:
            self._interpreter.resize_tensor_input(self._input["index"], pixels.shape, strict=True)
            with native_stderr_held_back():
                self._interpreter.allocate_tensors()
            self._batch = len(pixels)
        self._interpreter.set_tensor(self._input["index"], pixels)
        self._interpreter.invoke()
        values = np.asarray(self._interpreter.get_tensor(self._output))
        if self._features is None:
            return values, None
        return values, np.asarray(self._interpreter.get_tensor(self._features))
