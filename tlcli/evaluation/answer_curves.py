"""What answers cost: right ones over a threshold, and precision over recall of each class.

The figures behind the charts of a report; nothing here needs matplotlib or TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ThresholdCurve:
    """What is left of the answers where only those of some probability count.

    Attributes:
        thresholds: the probabilities that answers have, from the lowest.
        answered: the share of photos with at least this probability.
        right: the share of these answers that are right.
    """

    thresholds: tuple[float, ...]
    answered: tuple[float, ...]
    right: tuple[float, ...]


@dataclass(frozen=True)
class ClassCurve:
    """Precision over recall of one class against all others, from the surest photo on.

    `average` is the average precision, as scikit-learn defines it.
    """

    name: str
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    average: float


@dataclass(frozen=True)
class AnswerCurves:
    """Both for the same photos; `classes` are those that have photos and are not alone."""

    n: int
    threshold: ThresholdCurve
    classes: tuple[ClassCurve, ...]


def answer_curves(probabilities: Array, labels: Array, classes: Sequence[str]) -> AnswerCurves:
    """The curves of probabilities (n, classes) of photos with these labels (n,), n above 0."""
    curves = [
        _class_curve(name, probabilities[:, number], labels == number)
        for number, name in enumerate(classes)
        if 0 < int((labels == number).sum()) < len(labels)
    ]
    return AnswerCurves(len(labels), _threshold_curve(probabilities, labels), tuple(curves))


def _threshold_curve(probabilities: Array, labels: Array) -> ThresholdCurve:
    confidence = probabilities.max(axis=1)
    counts, hits, values = _cumulative(confidence, probabilities.argmax(axis=1) == labels)
    shares = counts / len(labels), hits / counts
    answered, right = (tuple(map(float, share[::-1])) for share in shares)
    return ThresholdCurve(tuple(map(float, values[::-1])), answered, right)


def _class_curve(name: str, scores: Array, positive: Array) -> ClassCurve:
    counts, hits, _ = _cumulative(scores, positive)
    recall, precision = hits / hits[-1], hits / counts
    average = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    return ClassCurve(name, tuple(map(float, recall)), tuple(map(float, precision)), average)


def _cumulative(scores: Array, hit: Array) -> tuple[Array, Array, Array]:
    """For each score, from the highest: how many have at least it, how many of those hit."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(hit[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    return last + 1, hits[last], ranked[last]
