"""The optimum of a head without hidden layers: regularised logistic regression on stored rows.

Such a loss is convex, so that there is one best head, which L-BFGS finds in seconds. How strong the
penalty is follows from cross-validation on the training photos. To begin fine-tuning with this head
keeps the features from being distorted while it is learned (Kumar et al., 2022). Of the features of
a multi-layer head, group lasso chooses: see `feature_selection`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlcli.data.folds import make_folds, smallest_class
from tlcli.data.photo_groups import group_photos
from tlcli.networks.boundaries import Boundary
from tlcli.networks.heads import LOGITS, NORMALIZED, Layer
from tlcli.networks.network import Network, Variable
from tlcli.networks.probabilities import TOP_K
from tlcli.recipe.recipe import Recipe
from tlcli.system import console, signals
from tlcli.system.machine import use_one_thread
from tlcli.training.batches import Feed, Pick
from tlcli.training.feature_selection import SHARES, Logistic, group_lasso, strongest_penalty
from tlcli.training.optimizers import Rate
from tlcli.training.stage_plan import StagePlan
from tlcli.training.standardize import Moments, measure_moments, pooled_batches
from tlcli.training.step import Means

Array = npt.NDArray[Any]

#: Inverse strengths of the penalty to choose from, as scikit-learn's `C`, strongest first. Features
#: are standardised, and losses summed over photos.
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)

#: Folds, if every class has as many photos that may be apart.
FOLDS = 5

#: Steps of L-BFGS, and the largest part of the gradient that ends them: in choosing, and at last.
_CHOOSING, _FINAL = (200, 1e-4), (5000, 1e-7)


@dataclass(frozen=True)
class Rows:
    """What is fitted: the rows of n photos in some views.

    Attributes:
        features: standardised, float64, shape (views, n, features).
        labels: of the photos, (n,).
        weights: what a photo counts, (n,).
    """

    features: Array
    labels: Array
    weights: Array

    def of(self, photos: Array) -> Rows:
        """Those of some photos, by their positions."""
        return Rows(self.features[:, photos], self.labels[photos], self.weights[photos])

    def only(self, kept: Array) -> Rows:
        """Some of the features, by a mask of shape (features,)."""
        return self if kept.all() else replace(self, features=self.features[..., kept])


class PenaltyChoice(NamedTuple):
    """What cross-validation has chosen.

    Attributes:
        strength: of the penalty on the head that is fitted, as scikit-learn's `C`.
        selections: which penalty of the group lasso chooses the features, counted from 1; 0 for
            none, so that all features stay.
    """

    strength: float
    selections: int


class Solver:
    """Trains a head in one epoch; see `loop.StageTrainer`."""

    averages = False

    def __init__(self, network: Network, planned: StagePlan, recipe: Recipe) -> None:
        self._network, self._planned, self._recipe = network, planned, recipe

    @property
    def state(self) -> list[Variable]:
        """Nothing: there is no second epoch."""
        return []

    def judged(self) -> AbstractContextManager[None]:
        """The weights are the optimum, and judged as they are."""
        return nullcontext()

    def last_rate(self, rate: Rate, epoch: int) -> float:
        """There is none."""
        return 0.0

    def train_epoch(
        self, feed: Feed, picks: list[Pick], rate: Rate, epoch: int, bar: console.Progress
    ) -> Means:
        """Give the head its best weights; the means are those over all rows."""
        rows, moments = self._read(feed)
        groups = group_photos(feed.items, {})
        tapped = self._recipe.tapped
        with use_one_thread():  # so that the bits do not depend on how many there are
            shares = SHARES if tapped else ()
            choice = choose_penalty(rows, groups, self._recipe.seed, shares)
            kept = [_all_features(rows), *select_features(rows, shares[: choice.selections])][-1]
            kernel, bias = fit(rows.only(kept), choice.strength)
        kernel = _among_all(kernel, kept)
        self._assign(kernel, bias, moments)
        bar.update(len(feed.labels))
        photos = console.counted(len(feed.labels), "photo")
        console.note(f"  penalty: C = {choice.strength:g}, by cross-validation on {photos}")
        if tapped:
            console.note(f"  features: {_describe_features(kept, tapped)}")
        return _means(rows, kernel, bias)

    def _read(self, feed: Feed) -> tuple[Rows, Moments]:
        """The rows of a feed, standardised by their moments, or by those of a head that does."""
        cut = self._planned.cut.name
        batches = list(pooled_batches(self._network, cut, feed, self._recipe.seed))
        moments = self._own_moments() or measure_moments(batches)
        features = (np.concatenate(batches).astype(np.float64) - moments.mean) / moments.spread
        labels = np.asarray(feed.labels)
        views = features.reshape(-1, len(labels), features.shape[-1])
        return Rows(views, labels, np.asarray(self._planned.class_weights)[labels]), moments

    def _own_moments(self) -> Moments | None:
        norm = self._norm
        if norm is None:
            return None
        mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
        return Moments(0, mean.astype(np.float64), variance.astype(np.float64))

    @property
    def _norm(self) -> Layer | None:
        layers = self._network.head.layers
        return next((layer for layer in layers if layer.name == NORMALIZED), None)

    def _assign(self, kernel: Array, bias: Array, moments: Moments) -> None:
        if self._norm is None:
            kernel = kernel / moments.spread[:, None]
            bias = bias - moments.mean @ kernel
        layer = self._network.head.get_layer(LOGITS)
        layer.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])


def choose_penalty(
    rows: Rows, groups: Sequence[str], seed: int, shares: Sequence[float] = ()
) -> PenaltyChoice:
    """The penalties with the lowest log loss on photos that were not fitted.

    All views of a photo are in its fold; judged is the photo itself. With `shares`, those of
    `feature_selection`, features are chosen in every fold by its own photos. Of ties it is the
    fewest features, then the stronger penalty. Where the photos of a class are too few for folds,
    both are in the middle.
    """
    least = min(smallest_class(rows.labels, np.asarray(groups)), FOLDS)
    if least < 2:
        return PenaltyChoice(STRENGTHS[len(STRENGTHS) // 2], (len(shares) + 1) // 2)
    losses = np.zeros((len(shares) + 1, len(STRENGTHS)))
    for fold in make_folds(rows.labels, groups, least, seed):
        fitted, labels = rows.of(fold.fitted), rows.labels[fold.judged]
        selected = [*select_features(fitted, shares), _all_features(rows)]
        for selection, kept in enumerate(selected):
            x, some = rows.features[0, fold.judged][:, kept], fitted.only(kept)
            for number, (kernel, bias) in enumerate(_fit_path(some, STRENGTHS, _CHOOSING)):
                losses[selection, number] += _log_losses(x @ kernel + bias, labels).sum()
                signals.raise_if_interrupted()
    best, number = divmod(int(np.argmin(losses)), len(STRENGTHS))
    return PenaltyChoice(STRENGTHS[number], best + 1 if best < len(shares) else 0)


def select_features(rows: Rows, shares: Sequence[float]) -> list[Array]:
    """The features that group lasso leaves at each share of its strongest penalty, as masks.

    It looks at the photos as they are, without views.
    """
    if not shares:
        return []
    problem = Logistic.of(rows.features[0], rows.labels, rows.weights)
    strongest = strongest_penalty(problem)
    kernels = group_lasso(problem, [share * strongest for share in shares])
    return [(kernel[:-1] != 0).any(axis=1) for kernel in kernels]


def _all_features(rows: Rows) -> Array:
    """All but those that do not vary, which standardising has made 0."""
    vary = np.asarray(rows.features.any(axis=(0, 1)))
    return vary if vary.any() else ~vary


def _among_all(kernel: Array, kept: Array) -> Array:
    """A kernel (kept features, outputs) with zeros for all others."""
    whole = np.zeros((len(kept), kernel.shape[1]))
    whole[kept] = kernel
    return whole


def _describe_features(kept: Array, tapped: Sequence[Boundary]) -> str:
    """How many features of each boundary are left."""
    ends = np.cumsum([boundary.channels for boundary in tapped])
    counts = [int(part.sum()) for part in np.split(kept, ends[:-1])]
    parts = [f"{b.name} {count:,}" for b, count in zip(tapped, counts, strict=True) if count]
    return f"{int(kept.sum()):,} of {len(kept):,} ({', '.join(parts)})"


def fit(rows: Rows, strength: float) -> tuple[Array, Array]:
    """Kernel and bias of the optimum for a strength."""
    ((kernel, bias),) = _fit_path(rows, [strength], _FINAL)
    return kernel, bias


def _fit_path(
    rows: Rows, strengths: Sequence[float], limits: tuple[int, float]
) -> Iterator[tuple[Array, Array]]:
    """Kernel and bias for each strength, strongest first; each begins at the one before.

    A photo counts as much in all its views together as it would alone.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    views, n, width = rows.features.shape
    x, labels = rows.features.reshape(views * n, width), np.tile(rows.labels, views)
    weights = np.tile(rows.weights / views, views)
    steps, tolerance = limits
    start: tuple[Array, Array] | None = None
    for strength in strengths:
        regression = LogisticRegression(C=strength, max_iter=steps, tol=tolerance, warm_start=True)
        if start is not None:
            regression.coef_, regression.intercept_ = start
        with warnings.catch_warnings():
            # What is judged does not change any more long before the last digits are settled.
            warnings.simplefilter("ignore", ConvergenceWarning)
            regression.fit(x, labels, weights)
        start = regression.coef_.copy(), regression.intercept_.copy()
        yield start[0].T, start[1]


def _log_losses(logits: Array, labels: Array) -> Array:
    """Cross-entropy of each row; `logits` are (n, 1) for two classes, else (n, classes)."""
    if logits.shape[1] == 1:
        return np.logaddexp(0, np.where(labels == 1, -logits[:, 0], logits[:, 0]))
    own = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return np.asarray(np.logaddexp.reduce(logits, axis=1) - own)


def _means(rows: Rows, kernel: Array, bias: Array) -> Means:
    """What an epoch would tell: the mean over all rows, losses by the weights of their photos."""
    views, n, width = rows.features.shape
    logits = rows.features.reshape(views * n, width) @ kernel + bias
    labels, weights = np.tile(rows.labels, views), np.tile(rows.weights, views)
    guesses = (logits[:, 0] > 0).astype(int) if logits.shape[1] == 1 else logits.argmax(axis=1)
    top_5 = None
    if logits.shape[1] > TOP_K:
        own = np.take_along_axis(logits, labels[:, None], axis=1)
        top_5 = float(((logits > own).sum(axis=1) < TOP_K).mean())
    loss = float((weights * _log_losses(logits, labels)).mean())
    return Means(loss, float((guesses == labels).mean()), len(labels), top_5)
