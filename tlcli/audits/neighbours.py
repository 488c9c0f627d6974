"""The photos that are most like another one: what a person compares a suspect with.

Likeness is the cosine of raw features; standardised ones would hide what is common to all photos.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def nearest_photos(
    unit: Array, position: int, candidates: Array, count: int
) -> list[tuple[int, float]]:
    """The nearest of some photos, nearest first, each with its distance: 1 less the cosine.

    Args:
        unit: rows of length 1, (n, channels); see `networks.nearest.normalise`.
        position: of the photo whose neighbours are sought; it is none itself.
        candidates: positions of the photos to choose from.
        count: how many at most.
    """
    others = candidates[candidates != position]
    distances = 1 - unit[others] @ unit[position]
    nearest = np.argsort(distances, kind="stable")[:count]
    return [(int(others[i]), max(0.0, float(distances[i]))) for i in nearest]
