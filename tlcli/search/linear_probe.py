"""How well features tell classes apart: cross-validated classifiers on stored rows.

The linear classifier is scikit-learn's logistic regression on standardised features. Its strength
of regularisation is chosen inside of each fold, on a part of that fold's training photos, so that
no photo has a say in the classifier that is judged on it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.folds import Fold, make_folds, smallest_class

Array = npt.NDArray[Any]

#: Folds, if every class has as many photos that may be apart.
FOLDS = 5

#: Inverse strengths of regularisation to choose from, as scikit-learn's `C`, strongest first.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

#: The part of a fold's training photos on which the strength is chosen.
_INNER_FOLDS = 4

#: Neighbours that vote.
NEIGHBOURS = 10

_MAX_STEPS = 300


def divide_again(labels: Array, groups: Sequence[str], fold: Fold, seed: int) -> Fold | None:
    """The photos that a fold is fitted on, divided to choose a strength on; None if too few."""
    names = np.asarray(groups)[fold.fitted]
    least = min(smallest_class(labels[fold.fitted], names), _INNER_FOLDS)
    if least < 2:
        return None
    part = make_folds(labels[fold.fitted], names.tolist(), least, seed)[0]
    fitted, judged = fold.fitted[part.fitted], fold.fitted[part.judged]
    return Fold(fitted, judged[np.isin(labels[judged], labels[fitted])])


def linear_answers(
    features: Array, labels: Array, folds: Sequence[Fold], inner: Sequence[Fold | None]
) -> Array:
    """The class that the linear classifier gives each photo, when it was not fitted on it, (n,).

    `inner` are the folds of `divide_again`, one for each fold.
    """
    answers = np.full(len(labels), -1)
    for fold, part in zip(folds, inner, strict=True):
        strength = choose_strength(features, labels, part)
        (model,) = fit_path(features[fold.fitted], labels[fold.fitted], [strength])
        answers[fold.judged] = model.answers(features[fold.judged])
    return answers


def choose_strength(features: Array, labels: Array, part: Fold | None) -> float:
    """The strength with the lowest log loss on a part of the photos; of ties the stronger.

    Where there is no such part, it is the middle one.
    """
    from sklearn.metrics import log_loss

    if part is None:
        return STRENGTHS[len(STRENGTHS) // 2]
    losses = []
    for model in fit_path(features[part.fitted], labels[part.fitted], STRENGTHS):
        probabilities = model.probabilities(features[part.judged])
        losses.append(log_loss(labels[part.judged], probabilities, labels=model.classes))
    return STRENGTHS[int(np.argmin(losses))]


@dataclass(frozen=True)
class LinearModel:
    """A fitted classifier: standardise, rotate, then logistic regression.

    The rotation is on the span of the photos that were fitted on, where they are fewer than the
    features. The penalty is the same in every direction, so that nothing outside of it has a weight
    and the classifier is the same, with a shorter way to it.
    """

    classes: Array
    _scaler: Any
    _rotation: Array | None
    _regression: Any

    def answers(self, features: Array) -> Array:
        """The class of each row, (n,)."""
        given: Array = self._regression.predict(self._rotated(features))
        return given

    def probabilities(self, features: Array) -> Array:
        """The probability of each class for each row, (n, classes)."""
        given: Array = self._regression.predict_proba(self._rotated(features))
        return given

    def _rotated(self, features: Array) -> Array:
        scaled: Array = self._scaler.transform(features)
        return scaled if self._rotation is None else scaled @ self._rotation


def fit_path(features: Array, labels: Array, strengths: Sequence[float]) -> Iterator[LinearModel]:
    """The classifier for each of the strengths, strongest first; each begins at the one before."""
    from sklearn import config_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    scaled = scaler.fit_transform(features)
    rotation = None
    if scaled.shape[0] < scaled.shape[1]:
        rotation = np.linalg.svd(scaled, full_matrices=False)[2].T
        scaled = scaled @ rotation
    start: tuple[Array, Array] | None = None
    for strength in strengths:
        regression = LogisticRegression(C=strength, max_iter=_MAX_STEPS, warm_start=True)
        if start is not None:
            regression.coef_, regression.intercept_ = start
        # With few photos, checks of parameters take a third of the time.
        with warnings.catch_warnings(), config_context(skip_parameter_validation=True):
            # Answers do not change any more long before the last digits of weights are settled.
            warnings.simplefilter("ignore", ConvergenceWarning)
            regression.fit(scaled, labels)
        start = regression.coef_.copy(), regression.intercept_.copy()
        yield LinearModel(regression.classes_, scaler, rotation, regression)


def neighbour_answers(features: Array, labels: Array, folds: Sequence[Fold]) -> Array:
    """The class that most of the nearest photos have, by the angle between raw features, (n,).

    Standardised features would hide what is common to all photos; see scikit-learn's
    `KNeighborsClassifier` for the vote. Of equally many votes the class of the lower number wins.
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    answers = np.full(len(labels), -1)
    classes = int(labels.max()) + 1
    for fold in folds:
        count = min(NEIGHBOURS, len(fold.fitted))
        likeness = unit[fold.judged] @ unit[fold.fitted].T
        nearest = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        votes = labels[fold.fitted][nearest]
        counts = np.stack([(votes == label).sum(axis=1) for label in range(classes)], axis=1)
        answers[fold.judged] = counts.argmax(axis=1)
    return answers


def thin_out(positions: Array, labels: Array, share: float, random: np.random.Generator) -> Array:
    """A random share of the positions of each class, two at least, in order."""
    kept = []
    for label in np.unique(labels[positions]):
        members = positions[labels[positions] == label]
        kept.append(random.permutation(members)[: max(2, round(share * len(members)))])
    return np.sort(np.concatenate(kept))


def learning_answers(
    features: Array,
    labels: Array,
    groups: Sequence[str],
    folds: Sequence[Fold],
    share: float,
    seed: int,
) -> tuple[Array, int]:
    """As `linear_answers`, with a share of each class to fit on; and the mean number of photos.

    Every class keeps two photos at least.
    """
    random = np.random.default_rng(seed)
    reduced = [Fold(thin_out(fold.fitted, labels, share, random), fold.judged) for fold in folds]
    inner = [divide_again(labels, groups, fold, seed) for fold in reduced]
    answers = linear_answers(features, labels, reduced, inner)
    return answers, round(np.mean([len(fold.fitted) for fold in reduced]))
