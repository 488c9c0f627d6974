"""The forward pass of a model, compiled once for every number of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.framework import tf

Array = npt.NDArray[Any]


def compiled(model: Any, batch_size: int) -> Callable[[Any], list[Array]]:
    """The compiled forward pass of a model, in inference mode: rows in, a list of outputs.

    It runs in batches of `batch_size`, the last one filled up, so that there is one shape to
    compile for and a row does not depend on how many others are asked for with it.
    """
    call = tf.function(lambda x: model(x, training=False), reduce_retracing=True)

    def batch(x: Array) -> list[Array]:
        count = len(x)
        if count < batch_size:
            x = np.concatenate([x, np.zeros((batch_size - count, *x.shape[1:]), x.dtype)])
        outputs = call(tf.convert_to_tensor(x))
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        return [output.numpy()[:count] for output in outputs]

    def run(x: Any) -> list[Array]:
        rows = np.asarray(x)
        parts = [batch(rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]
        return (
            parts[0] if len(parts) == 1 else [np.concatenate(p) for p in zip(*parts, strict=True)]
        )

    return run
