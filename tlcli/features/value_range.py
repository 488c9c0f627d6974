"""Which activations a row of the store may hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, StoreError

FLOAT16_MAX = 65_504.0


def check_range(values: npt.NDArray[Any], boundary: str, dtype: np.dtype[Any]) -> None:
    """Raise `StoreError` for activations that no row may hold."""
    largest = float(np.abs(values).max())
    if not math.isfinite(largest):
        message = f"the base's activations at '{boundary}' are not finite numbers"
        raise StoreError(Problem("base.weights", message, "name other weights"))
    if dtype == "float16" and largest > FLOAT16_MAX:
        message = f"an activation of {largest:,.0f} at '{boundary}' does not fit float16"
        raise StoreError(Problem("features.dtype", message, "use float32 for this base"))
