"""TensorFlow and Keras, imported in one place and quietly.

Importing this module takes about five seconds, so it is imported only by modules that compute.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

# Read by the libraries while they are imported; what the user has set is respected,
# except the Keras backend: the training loop is written for TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"


@contextmanager
def _native_stderr_held() -> Iterator[None]:
    """Hold back what C++ code writes to file descriptor 2, and show it only after a failure.

    TensorFlow logs before its own log level is in force, so the level alone does not silence it.
    """
    try:
        saved = os.dup(2)
    except OSError:  # started without a stderr
        yield
        return
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


if TYPE_CHECKING:
    keras: Any
    tf: Any
else:
    with _native_stderr_held():
        import keras
        import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    # A channels_first default in ~/.keras/keras.json would build other graphs than the tables say.
    keras.config.set_image_data_format("channels_last")

__all__ = ["keras", "tf"]
