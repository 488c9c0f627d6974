"""Folds of training photos for cross-validation, in which photos that belong together stay so."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Fold(NamedTuple):
    """Positions of photos: those to fit on, and those to judge on."""

    fitted: Array
    judged: Array


def make_folds(labels: Array, groups: Sequence[str], folds: int, seed: int) -> list[Fold]:
    """Stratified folds in which photos of one group stay together."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # of classes that are not in every fold
        warnings.simplefilter("ignore", UserWarning)
        parts = splitter.split(np.zeros((len(labels), 1)), labels, np.asarray(groups))
        return [Fold(fitted, judged) for fitted, judged in parts]


def smallest_class(labels: Array, groups: Array) -> int:
    """The fewest groups that a class has photos in."""
    return min(len(set(groups[labels == label])) for label in np.unique(labels))
