"""The nearest of many rows of features, and how far is too far.

Photos of a kind that a network has not been trained on lie farther from its training photos than
other photos of their kinds do (Sun et al., "Out-of-Distribution Detection with Deep Nearest
Neighbors", ICML 2022). Features are compared by direction alone: distances are Euclidean between
rows of length 1, from 0 (the same direction) over 1.41 (nothing in common) to 2. Of rows of square
roots that is Hellinger's distance, in which few large features count less (Arandjelovic and
Zisserman, "Three Things Everyone Should Know to Improve Object Retrieval", CVPR 2012).
"""

from __future__ import annotations

import math
from functools import cache
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

#: Rows that are normalised at once, so that a block stays in the processor's cache.
_BLOCK = 512


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
    features = np.asarray(features)
    normalised = np.empty(features.shape, np.float32)
    for start in range(0, len(features), _BLOCK):
        rows = _as_float32(features[start : start + _BLOCK])
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        lengths = np.maximum(lengths, np.finfo(np.float32).tiny)
        np.divide(rows, lengths, out=normalised[start : start + _BLOCK])
    return normalised


def take_roots(features: Array) -> Array:
    """The square root of each feature, float32; those below 0 keep their sign."""
    rows = np.asarray(features, np.float32)
    return np.asarray(np.copysign(np.sqrt(np.abs(rows)), rows))


def _as_float32(rows: Array) -> Array:
    """The same numbers in float32; those of float16 from a table.

    NumPy converts them one after another, which takes longer than a comparison with all rows.
    """
    if rows.dtype != np.float16:
        return np.asarray(rows, np.float32)
    return np.take(_half_numbers(), np.ascontiguousarray(rows).view(np.uint16))


@cache
def _half_numbers() -> Array:
    """All numbers of float16 by their bits, in float32, shape (65536,)."""
    return np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)


class NearestRows:
    """Rows of features, (rows, channels), among which the nearest are looked for, exactly.

    With `rooted` they are square roots, as `take_roots` gives them; photos are compared by theirs.
    """

    def __init__(self, rows: Array, *, rooted: bool = False) -> None:
        self._rows, self._rooted = normalise(rows), rooted

    def __len__(self) -> int:
        return len(self._rows)

    def search(self, features: Array, count: int) -> Nearest:
        """The `count` nearest rows, or all there are, of each row of features (n, channels).

        Of rows at the same distance the first comes first.
        """
        count = min(count, len(self._rows))
        normalised = normalise(take_roots(features) if self._rooted else features)
        starts = range(0, len(normalised), _BATCH)
        parts = [self._search(normalised[start : start + _BATCH], count) for start in starts]
        if not parts:
            return Nearest(np.empty((0, count), np.float32), np.empty((0, count), np.intp))
        return Nearest(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _search(self, features: Array, count: int) -> Nearest:
        # A product of matrices rounds otherwise for another number of photos. So it only finds
        # candidates, whose distances are computed for each photo by itself.
        most = min(count + _SPARE, len(self._rows))
        similarity = features @ self._rows.T
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
