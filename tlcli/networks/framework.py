"""TensorFlow and Keras, imported in one place and quietly.

Importing this module takes about five seconds, so it is imported only by modules that compute.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from tlcli.system import console
from tlcli.system.machine import has_quota, usable_processors
from tlcli.system.streams import native_stderr_held_back

# The libraries read these while they are imported. What the user has set stays, except the backend
# of Keras: the training loop is written for TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
# Otherwise the first process on a GPU would take all of its memory, and a second one would fail.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


# Packages that Keras imports if they are installed, for its plots and its scikit-learn wrappers,
# which tlcli never uses. They take three of the eight seconds of `import keras` on a slow machine.
_NOT_NEEDED = ("cv2", "matplotlib", "sklearn")


@contextmanager
def _optional_imports_skipped() -> Iterator[None]:
    """Make optional packages look missing while Keras is imported; later they can be imported."""
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None means "missing"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _use_quota_of_processors(tensorflow: Any) -> None:
    """Start no more threads than a container has a quota for; TensorFlow looks at affinity alone.

    Threads beyond the quota would use it up together, and then all stand still until the next
    period begins.
    """
    if not has_quota():
        return
    threading = tensorflow.config.threading
    for variable, set_threads in (
        ("TF_NUM_INTRAOP_THREADS", threading.set_intra_op_parallelism_threads),
        ("TF_NUM_INTEROP_THREADS", threading.set_inter_op_parallelism_threads),
    ):
        # Another program that imports tlcli may have set TensorFlow up already.
        with suppress(RuntimeError):
            if variable not in os.environ:
                set_threads(usable_processors())


if TYPE_CHECKING:
    keras: Any
    tf: Any
else:
    with (
        console.waiting("loading TensorFlow ..."),
        native_stderr_held_back(),
        _optional_imports_skipped(),
    ):
        import keras
        import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    _use_quota_of_processors(tf)
    # With a channels_first default in ~/.keras/keras.json, shapes would not be those of the tables.
    keras.config.set_image_data_format("channels_last")


def freeze_to_constants(function: Any) -> Any:
    """A concrete function with its variables as constants, and every inner function inlined.

    TensorFlow has it only in a module that is not part of its public interface.
    """
    from tensorflow.python.framework import convert_to_constants

    return convert_to_constants.convert_variables_to_constants_v2(
        function, aggressive_inlining=True
    )


def has_onednn() -> bool:
    """Whether TensorFlow computes convolutions with oneDNN.

    By default it does on suitable processors; TF_ENABLE_ONEDNN_OPTS can change that. There is no
    public function for it; if the private one is missing, the answer is no.
    """
    try:
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):
        return False


__all__ = ["freeze_to_constants", "has_onednn", "keras", "tf"]
