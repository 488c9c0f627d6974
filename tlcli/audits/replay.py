"""What choosing photos gains, measured on photos that are labelled already.

Some of the labels are hidden and photos chosen among those, once as `photo_choice` does and several
times at random; classifiers fitted on both are judged on photos that neither could choose.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.audits.photo_choice import choose_photos, class_scores
from tlcli.data.folds import make_folds, smallest_class
from tlcli.evaluation.intervals import resampled_interval
from tlcli.system.stateless_random import make_generator

Array = npt.NDArray[Any]

#: Folds, beginnings in each, and random choices that the one is compared with.
FOLDS, BEGINNINGS, RANDOM = 5, 3, 5

#: How many times as many photos there are to choose from as are chosen, and the share of a fold's
#: photos that stay labelled at least.
POOL, LEAST_LABELLED = 4, 0.2


@dataclass(frozen=True)
class Replay:
    """Accuracies on photos that were judged alone, means over folds and beginnings.

    Attributes:
        labelled: photos with labels at the beginning.
        added: photos that were chosen.
        begin, chosen, random: accuracy with the labels of the beginning, with the chosen ones, and
            with as many at random.
        difference: of chosen and random, with its `interval`.
    """

    labelled: int
    added: int
    begin: float
    chosen: float
    random: float
    difference: float
    interval: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "labelled": self.labelled, "added": self.added, "begin": self.begin,
            "chosen": self.chosen, "random": self.random, "difference": self.difference,
            "interval": list(self.interval),
        }  # fmt: skip


def replay_choice(
    features: Array, labels: Array, groups: Sequence[str], count: int, seed: int
) -> Replay | None:
    """What choosing up to `count` photos would have gained; None where labels are too few.

    Args:
        features: pooled features of labelled photos, (n, channels).
        labels: numbers of classes, counted from 0, (n,), all of which occur.
        groups: the name of each photo's group, which stays together.
    """
    least = smallest_class(labels, np.asarray(groups))
    folds = make_folds(labels, groups, min(FOLDS, least), seed) if least > 1 else []
    classes = int(labels.max()) + 1
    scores: list[tuple[float, float, float]] = []
    sizes = []
    for number, fold in enumerate(folds):
        fitted = len(fold.fitted)
        added = min(count, int((1 - LEAST_LABELLED) * fitted / POOL))
        start = fitted - POOL * added
        if added < classes or start < 2 * classes:
            return None
        for beginning in range(BEGINNINGS):
            random = make_generator("suggest", seed, number, beginning)
            known = _begin(fold.fitted, labels, start, random)
            hidden = np.setdiff1d(fold.fitted, known)
            scores.append(_compare(features, labels, fold.judged, known, hidden, added, random))
            sizes.append((len(known), added))
    if len(scores) < 2:
        return None
    begin, chosen, random_ = (statistics.mean(values) for values in zip(*scores, strict=True))
    differences = [score[1] - score[2] for score in scores]
    return Replay(
        labelled=round(statistics.mean(known for known, _ in sizes)),
        added=round(statistics.mean(added for _, added in sizes)),
        begin=begin,
        chosen=chosen,
        random=random_,
        difference=chosen - random_,
        interval=resampled_interval(differences, 1 / len(folds)),
    )


def _begin(fitted: Array, labels: Array, count: int, random: np.random.Generator) -> Array:
    """So many of a fold's photos at random, one of each class at least."""
    order = random.permutation(fitted)
    first = [order[np.flatnonzero(labels[order] == label)[:1]] for label in np.unique(labels)]
    forced = np.concatenate(first)
    others = order[~np.isin(order, forced)]
    return np.sort(np.concatenate([forced, others[: max(0, count - len(forced))]]))


def _compare(
    features: Array, labels: Array, judged: Array, known: Array, hidden: Array, added: int,
    random: np.random.Generator,
) -> tuple[float, float, float]:  # fmt: skip
    """Accuracies with the known labels, with chosen ones more, and with random ones more."""

    def accuracy(fitted: Array) -> float:
        scores = class_scores(features[fitted], labels[fitted], features[judged])
        return float((scores.argmax(axis=1) == labels[judged]).mean())

    chosen = choose_photos(features[known], labels[known], features[hidden], added)
    picks = hidden[[photo.position for photo in chosen]]
    others = [random.choice(hidden, added, replace=False) for _ in range(RANDOM)]
    return (
        accuracy(known),
        accuracy(np.concatenate([known, picks])),
        statistics.mean(accuracy(np.concatenate([known, other])) for other in others),
    )
