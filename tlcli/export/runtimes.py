"""The runtimes that read an exported model back, and what they need to be installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.export.records import PROBABILITIES, Format
from tlcli.networks.engine import FEATURES, EngineName, FeatureEngine, LiteRTEngine
from tlcli.system.machine import usable_processors

Array = npt.NDArray[Any]

#: The signature of a SavedModel that puts out features, too. Its others have one output, which
#: TensorFlow Serving answers as a plain list.
WITH_FEATURES = "with_features"

#: The packages that a format needs, and what installs them.
_NEEDED: dict[str, tuple[tuple[str, ...], str]] = {
    "litert": (("ai_edge_litert",), "ai-edge-litert"),
    "onnx": (("onnx", "onnxruntime", "tf2onnx"), "'tlcli[onnx]'"),
}


def require_runtime(form: Format) -> None:
    """Raise `RunError` where what writes and reads a format is not installed."""
    packages, installed_by = _NEEDED.get(form, ((), ""))
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        message = f"needs {', '.join(missing)}, not installed here"
        raise RunError(Problem(f"--format {form}", message, f"run `pip install {installed_by}`"))


class _Session:
    """A function of pixels as an engine: it gives probabilities, or these and features."""

    name: EngineName = "instant"

    def __init__(self, call: Any, *, has_features: bool) -> None:
        self._call, self.has_features = call, has_features

    def compute(self, pixels: Array) -> Array:
        """See `Engine`."""
        return self.compute_with_features(pixels)[0]

    def compute_with_features(self, pixels: Array) -> tuple[Array, Array | None]:
        """See `FeatureEngine`."""
        values = self._call(np.ascontiguousarray(pixels, np.float32))
        if not self.has_features:
            return np.asarray(values), None
        return np.asarray(values[0]), np.asarray(values[1])


def open_exported(
    form: Format, path: Path, size: tuple[int, int], layer: str | None = None
) -> FeatureEngine:
    """An exported model in its own runtime, as an engine that gives probabilities.

    With `layer`, the last one of the base, also the features that it was exported with. Raises
    `ValueError` or `RuntimeError` where the runtime does not accept it.
    """
    if form == "litert":
        return LiteRTEngine(path, size)
    if form == "onnx":
        return _open_onnx(path, has_features=layer is not None)
    from tlcli.networks.framework import tf

    if form == "keras":
        return _open_keras(path, layer)
    loaded = tf.saved_model.load(str(path))

    # Its functions live as long as it does, so it is asked for them each time.
    def call(x: Array) -> Any:
        name = "serving_default" if layer is None else WITH_FEATURES
        values = loaded.signatures[name](pixels=tf.constant(x))
        return values[PROBABILITIES] if layer is None else (values[PROBABILITIES], values[FEATURES])

    return _Session(call, has_features=layer is not None)


def _open_keras(path: Path, layer: str | None) -> FeatureEngine:
    from tlcli.networks.framework import keras, tf

    model = keras.saving.load_model(path, compile=False)
    if layer is not None:
        mean = keras.layers.GlobalAveragePooling2D(dtype="float32")
        features = mean(model.get_layer(layer).output)
        model = keras.Model(model.inputs[0], [model.outputs[0], features])
    call = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    return _Session(call, has_features=layer is not None)


def _open_onnx(path: Path, *, has_features: bool) -> FeatureEngine:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_processors()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has classes of its own, none of them public
        raise ValueError(f"onnxruntime refuses it: {error}") from error
    if has_features:
        both = [PROBABILITIES, FEATURES]
        return _Session(lambda x: session.run(both, {"pixels": x}), has_features=True)
    return _Session(lambda x: session.run([PROBABILITIES], {"pixels": x})[0], has_features=False)
