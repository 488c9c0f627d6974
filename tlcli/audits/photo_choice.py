"""Which photos to label: those that stand for many others, of what the labels leave open.

Photos are chosen one after another. Each is the one that adds most to how well the labelled and the
chosen photos stand for the unlabelled ones: the sum, over these, of the likeness to the nearest of
them (the facility location function; chosen greedily it comes within 1 - 1/e of the best choice,
Nemhauser, Wolsey, Fisher, Mathematical Programming 14, 1978). So the first ones are typical of what
is not labelled yet, which pays most while labels are few (Hacohen, Dekel, Weinshall, "Active
Learning on a Budget", ICML 2022), and no two are alike. Each unlabelled photo counts by how unsure
a classifier on the labels is of it, which takes over when labels are many; docs/suggest.md has what
either alone is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.networks.nearest import normalise

Array = npt.NDArray[Any]

#: The penalty of the classifier for each labelled photo, of standardised features.
PENALTY = 0.3

#: A photo's likeness to itself is 1, and falls to 1/e at the distance at which a photo typically
#: has so many others.
NEIGHBOURS = 20

#: How much more than in proportion unsure photos count, and what the surest ones count at least.
POWER, LEAST_WEIGHT = 2, 0.02

#: Photos that are compared with all others; more would not fit into memory.
MOST_COMPARED = 6_000

#: Rows of distances that are computed at once.
_BLOCK = 1_000

#: Photos of which at once is computed what they would add.
_LAZY = 256


@dataclass(frozen=True)
class ChosenPhoto:
    """A photo to label.

    Attributes:
        position: among the unlabelled photos.
        like: how many unlabelled photos it stands for: those that are nearer to it than to any
            photo that is labelled or was chosen before.
        classes: the two that the classifier finds likeliest, likeliest first.
        margin: by how much it scores the first higher, from 0 on.
        unsure: whether it stands out more by how unsure the classifier is of it than by how many
            photos it is like.
    """

    position: int
    like: int
    classes: tuple[int, int]
    margin: float
    unsure: bool


def choose_photos(
    labelled: Array, labels: Array, unlabelled: Array, count: int, *, power: float = POWER
) -> list[ChosenPhoto]:
    """The photos to label next, the most useful first.

    Args:
        labelled: pooled features of labelled photos, (n, channels).
        labels: the numbers of their classes, counted from 0, (n,), of two classes at least.
        unlabelled: pooled features of the others, (m, channels), `MOST_COMPARED` at most.
        count: how many; all of them if there are no more.
        power: 0 for typical photos alone.
    """
    scores = class_scores(labelled, labels, unlabelled)
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :2]
    first, second = np.take_along_axis(scores, ranked, axis=1).T
    margins = first - second
    weights = np.clip(1 - margins, LEAST_WEIGHT, 1) ** power
    units = normalise(unlabelled)
    scale = likeness_scale(units)
    covered = nearest_likeness(normalise(labelled), units, scale)
    likeness = _likeness(units, units, scale)
    picks, like = _choose(likeness, covered, weights, count)
    typical = _ranks(np.maximum(likeness - covered, 0).sum(axis=1))
    is_unsure = (_ranks(-margins) > typical) & (power > 0)
    return [
        ChosenPhoto(
            position=position,
            like=number,
            classes=(int(ranked[position, 0]), int(ranked[position, 1])),
            margin=float(margins[position]),
            unsure=bool(is_unsure[position]),
        )
        for position, number in zip(picks, like, strict=True)
    ]


def _ranks(values: Array) -> Array:
    """The place of each value among all, from 0 for the smallest."""
    return np.asarray(np.argsort(np.argsort(values, kind="stable"), kind="stable"))


def class_scores(labelled: Array, labels: Array, others: Array) -> Array:
    """What ridge regression on the classes' columns of 0 and 1 gives other photos, (m, classes).

    Features are standardised by the photos of both kinds: a few labelled ones say little of what
    varies. With n photos in 1,000 channels, the system of n equations is solved.
    """
    rows = np.concatenate([labelled, others]).astype(np.float64)
    deviation = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    fitted, n = rows[: len(labelled)], len(labelled)
    targets = np.eye(int(labels.max()) + 1)[labels]
    centre, share = fitted.mean(axis=0), targets.mean(axis=0)
    fitted = fitted - centre
    penalty = PENALTY * n
    if n < fitted.shape[1]:
        kernel = fitted @ fitted.T + penalty * np.eye(n)
        weights = fitted.T @ np.linalg.solve(kernel, targets - share)
    else:
        covariance = fitted.T @ fitted + penalty * np.eye(fitted.shape[1])
        weights = np.linalg.solve(covariance, fitted.T @ (targets - share))
    return np.asarray((rows[n:] - centre) @ weights + share)


def likeness_scale(units: Array) -> float:
    """The squared distance at which the likeness is 1/e: that of a typical photo's neighbours."""
    sample = units[:: -(-len(units) // _BLOCK)] if len(units) else units
    place = min(NEIGHBOURS, len(units) - 1)
    if place < 1:
        return 1.0
    distances = np.partition(_squared_distances(sample, units), place, axis=1)[:, place]
    return max(float(np.median(distances)), 1e-6)


def nearest_likeness(some: Array, units: Array, scale: float) -> Array:
    """The likeness of each of `units`, (m, channels), to the nearest of some rows; (m,)."""
    nearest = np.zeros(len(units), np.float32)
    for start in range(0, len(some), _BLOCK):
        block = _likeness(some[start : start + _BLOCK], units, scale)
        nearest = np.maximum(nearest, block.max(axis=0))
    return nearest


def _squared_distances(some: Array, units: Array) -> Array:
    return np.asarray(np.maximum(2 - 2 * (some @ units.T), 0))


def _likeness(some: Array, units: Array, scale: float) -> Array:
    distances = _squared_distances(some, units)
    distances /= -scale
    return np.asarray(np.exp(distances, out=distances), np.float32)


def _choose(
    likeness: Array, covered: Array, weights: Array, count: int
) -> tuple[list[int], list[int]]:
    """Positions in the order of the choice, and for how many photos each stands.

    `covered` is the likeness of each photo to the nearest labelled one.
    """
    covered, weights = covered.copy(), weights.astype(np.float32)
    free = np.ones(len(covered), bool)
    # What a photo would add can only become less, so most of it need not be computed again.
    bound = np.full(len(covered), np.inf)
    picks, like = [], []
    for _ in range(min(count, len(covered))):
        best = _most_added(likeness, covered, weights, bound, free)
        picks.append(best)
        like.append(int((likeness[best] > covered).sum()))
        free[best] = False
        np.maximum(covered, likeness[best], out=covered)
    return picks, like


def _most_added(likeness: Array, covered: Array, weights: Array, bound: Array, free: Array) -> int:
    """The free photo that adds most; `bound`, above what each adds, is lowered on the way.

    Of photos that add the same, the first. This is the lazy greedy algorithm (Minoux, 1978), in
    blocks.
    """
    best, most = -1, -np.inf
    order = np.argsort(-np.where(free, bound, -np.inf), kind="stable")
    for start in range(0, len(order), _LAZY):
        block = order[start : start + _LAZY]
        block = block[free[block]]
        if not len(block) or bound[block].max() < most:
            break
        bound[block] = np.maximum(likeness[block] - covered, 0) @ weights
        for position in np.sort(block).tolist():
            if bound[position] > most or (bound[position] == most and position < best):
                best, most = position, bound[position]
    return best
