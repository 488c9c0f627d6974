"""The address of a trunk in the feature store: what decides its rows, and where they lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class TrunkAddress:
    """What the rows of a trunk are; two trunks that differ in any of it share no row.

    Attributes:
        description: what computes the rows; everything that could change a number in them. Where
            they are pooled over space, `pooling` says how; rows that are not have no such entry.
        shape: of one row.
        dtype: 'float32', 'float16' or 'bfloat16'; of pixels 'uint8'.
    """

    description: dict[str, Any]
    shape: Sequence[int]
    dtype: str

    @property
    def pooling(self) -> str | None:
        """How the two image axes are reduced in a row; None where they are not."""
        return self.description.get("pooling")

    def as_dict(self) -> dict[str, Any]:
        """The form that `trunk.json` holds."""
        return {**self.description, "shape": list(self.shape), "dtype": self.dtype}

    def folder(self, store: Path) -> Path:
        """The folder of the rows in a store, whether it exists or not."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        names = (self.description["base"], self.description["boundary"], self.pooling, digest)
        return store / "-".join(name for name in names if name)


def number_type(name: str) -> np.dtype[Any]:
    """The NumPy type of the numbers of a row, by its name in a `TrunkAddress`."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)
