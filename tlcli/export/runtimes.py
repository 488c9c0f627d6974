"""The runtimes that read an exported model back, and what they need to be installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.export.records import PROBABILITIES, Format
from tlcli.networks.engine import Engine, EngineName, LiteRTEngine
from tlcli.system.machine import usable_processors

Array = npt.NDArray[Any]

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
    """A function of pixels as an engine."""

    name: EngineName = "instant"

    def __init__(self, call: Any) -> None:
        self._call = call

    def compute(self, pixels: Array) -> Array:
        """See `Engine`."""
        return np.asarray(self._call(np.ascontiguousarray(pixels, np.float32)))


def open_exported(form: Format, path: Path, size: tuple[int, int]) -> Engine:
    """An exported model in its own runtime, as an engine that gives probabilities.

    Raises `ValueError` or `RuntimeError` where the runtime does not accept it.
    """
    if form == "litert":
        return LiteRTEngine(path, size)
    if form == "onnx":
        return _open_onnx(path)
    from tlcli.networks.framework import keras, tf

    if form == "keras":
        model = keras.saving.load_model(path, compile=False)
        return _Session(tf.function(lambda x: model(x, training=False), reduce_retracing=True))
    loaded = tf.saved_model.load(str(path))
    # Its functions live as long as it does, so it is asked for them each time.
    return _Session(
        lambda x: loaded.signatures["serving_default"](pixels=tf.constant(x))[PROBABILITIES]
    )


def _open_onnx(path: Path) -> Engine:
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
    return _Session(lambda x: session.run([PROBABILITIES], {"pixels": x})[0])
