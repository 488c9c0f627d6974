"""The nearest of many rows of features, and how far is too far.

Photos of a kind that a network has not been trained on lie farther from its training photos than
other photos of their kinds do (Sun et al., "Out-of-Distribution Detection with Deep Nearest
Neighbors", ICML 2022). Features are compared by direction alone: distances are Euclidean between
rows of length 1, from 0 (the same direction) over 1.41 (nothing in common) to 2.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Where a smaller share of false alarms cannot be had, with few photos, so many are taken.
LARGEST_RATE = 0.1

#: Photos that are compared with all rows at once.
_BATCH = 64

#: Candidates beyond those that are asked for, since rounding may change their order.
_SPARE = 8


class Nearest(NamedTuple):
    """The nearest rows of some photos, nearest first.

    Attributes:
        distances: float32, shape (n, count).
        positions: of the rows, integers of the same shape.
    """

    distances: Array
    positions: Array


def normalise(features: Array) -> Array:
    """Rows, shape (n, channels), each divided by its length, float32; rows of zeros stay."""
    rows = np.asarray(features, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float32).tiny))


class NearestRows:
    """Rows of features, (rows, channels), among which the nearest are looked for, exactly."""

    def __init__(self, rows: Array) -> None:
        self._rows = normalise(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def search(self, features: Array, count: int) -> Nearest:
        """The `count` nearest rows, or all there are, of each row of features (n, channels).

        Of rows at the same distance the first comes first.
        """
        count = min(count, len(self._rows))
        normalised = normalise(features)
        starts = range(0, len(normalised), _BATCH)
        parts = [self._search(normalised[start : start + _BATCH], count) for start in starts]
        if not parts:
            return Nearest(np.empty((0, count), np.float32), np.empty((0, count), np.intp))
        return Nearest(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _search(self, features: Array, count: int) -> Nearest:
        # A product of matrices rounds otherwise for another number of photos. So it only finds
        # candidates, whose distances are computed for each photo by itself.
        similarity = features @ self._rows.T
        most = min(count + _SPARE, len(self._rows))
        candidates = np.argpartition(-similarity, most - 1, axis=1)[:, :most]
        candidates.sort(axis=1)
        distances = np.linalg.norm(features[:, None] - self._rows[candidates], axis=2)
        order = np.argsort(distances, axis=1, kind="stable")[:, :count]
        return Nearest(
            np.take_along_axis(distances, order, axis=1),
            np.take_along_axis(candidates, order, axis=1),
        )


class DistanceLimit(NamedTuple):
    """The distance beyond which a photo is unknown.

    Attributes:
        distance: the limit.
        rate: the share of photos like those it was chosen on that is expected beyond it.
    """

    distance: float
    rate: float


def choose_limit(distances: Array, rate: float) -> DistanceLimit | None:
    """The limit that lets at most a share `rate` of photos like these lie beyond it, on average.

    `distances` are those of photos that were not trained on, shape (n,). It is the quantile of
    split conformal prediction: with the limit at the r-th smallest of n distances, one more photo
    lies beyond it with a probability of (n + 1 - r) / (n + 1), whatever their distribution. Few
    photos allow no small share: then it is the largest distance, or None where even that would let
    more than `LARGEST_RATE` lie beyond it.
    """
    n = len(distances)
    rank = min(math.ceil((n + 1) * (1 - rate) - 1e-9), n)
    expected = (n + 1 - rank) / (n + 1)
    if n == 0 or expected > max(rate, LARGEST_RATE):
        return None
    return DistanceLimit(float(np.sort(distances)[rank - 1]), expected)


def thin_rows(labels: Array, most: int) -> Array:
    """The positions of at most `most` rows, in order, drawn evenly over the classes; (n,).

    A class that has fewer than its share keeps all.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    generator = np.random.default_rng(0)
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        rank[of_class] = generator.permutation(len(of_class))
    return np.sort(np.lexsort((generator.random(len(labels)), rank))[:most])
