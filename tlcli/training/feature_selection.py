"""Which features of several boundaries a head needs: by group lasso.

The weights of a feature to all outputs are one group, which the penalty sets to zero as a whole
(Yuan and Lin, "Model selection and estimation in regression with grouped variables", 2006). The
head is then fitted on the features that are left, as in "Head2Toe: Utilizing Intermediate
Representations for Better Transfer Learning" (Evci et al., ICML 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.system import signals

Array = npt.NDArray[Any]

#: Penalties to choose from, as shares of the least one that leaves no feature, strongest first.
SHARES = (0.5, 0.3, 0.2, 0.1, 0.05)

#: How far a slope may be from that of the optimum when a fit ends, beside the penalty; and how many
#: steps a fit may take.
_SETTLED, _STEPS = 0.01, 3000


@dataclass(frozen=True)
class Logistic:
    """A weighted logistic regression without its penalty.

    Attributes:
        x: the features of n rows, standardised, and a last one that is 1, (n, features + 1).
        truth: what each output should be, (n, outputs); two classes have one output.
        weights: what each row counts, (n, 1), 1 in all.
    """

    x: Array
    truth: Array
    weights: Array

    @classmethod
    def of(cls, features: Array, labels: Array, weights: Array) -> Logistic:
        """That of features (n, features), their labels (n,) and what rows count (n,)."""
        truth = np.eye(int(labels.max()) + 1)[labels]
        truth = truth[:, 1:] if truth.shape[1] == 2 else truth
        x = np.column_stack([features, np.ones(len(features))])
        return cls(x, truth, weights[:, None] / weights.sum())

    def among(self, features: Array) -> Logistic:
        """The same of some features, a mask of shape (features,)."""
        return Logistic(self.x[:, np.append(features, True)], self.truth, self.weights)

    def gradient(self, kernel: Array) -> Array:
        """Of the mean loss by a kernel (features + 1, outputs), the bias in its last row."""
        logits = self.x @ kernel
        if logits.shape[1] == 1:
            guesses = 0.5 * (1 + np.tanh(logits / 2))
        else:
            guesses = np.exp(logits - logits.max(axis=1, keepdims=True))
            guesses /= guesses.sum(axis=1, keepdims=True)
        return np.asarray(self.x.T @ ((guesses - self.truth) * self.weights))

    def without_features(self) -> Array:
        """The best kernel of those that leave all features out."""
        frequency = (self.truth * self.weights).sum(axis=0)
        alone = len(frequency) == 1
        bias = np.log(frequency / (1 - frequency)) if alone else np.log(frequency)
        return np.vstack([np.zeros((self.x.shape[1] - 1, len(bias))), bias])

    def curvature(self) -> float:
        """No less than the largest curvature of the loss, but for what power iteration lacks."""
        x, length = self.x * np.sqrt(self.weights), 0.0
        direction = np.ones(x.shape[1])
        for _ in range(30):
            direction = x.T @ (x @ direction)
            length = float(np.linalg.norm(direction))
            direction /= length
        return 1.05 * length * (0.25 if self.truth.shape[1] == 1 else 0.5)


def group_lasso(problem: Logistic, penalties: Sequence[float]) -> Iterator[Array]:
    """The kernel of the least penalised loss for each penalty, the strongest first.

    The penalty is so many times the sum over features of the length of their weights. Each fit
    begins at the one before, with the features whose gradient says that they may be needed
    (Tibshirani et al., "Strong rules for discarding predictors", 2012), and takes in those that are
    missed.
    """
    kernel = problem.without_features()
    before = strongest_penalty(problem)
    for penalty in penalties:
        slopes = _lengths(problem.gradient(kernel))
        candidates = (slopes >= 2 * penalty - before) | (_lengths(kernel) > 0)
        while True:
            some, rows = problem.among(candidates), np.append(candidates, True)
            kernel[rows] = _fit(some, penalty, kernel[rows])
            missed = (_lengths(problem.gradient(kernel)) > penalty) & ~candidates
            if not missed.any():
                break
            candidates |= missed
            signals.raise_if_interrupted()
        before = penalty
        yield kernel.copy()


def strongest_penalty(problem: Logistic) -> float:
    """The least penalty that leaves no feature."""
    return float(_lengths(problem.gradient(problem.without_features())).max())


def _fit(problem: Logistic, penalty: float, kernel: Array) -> Array:
    """Proximal gradient steps with momentum, which begins anew where the loss would rise (Beck and
    Teboulle, 2009; O'Donoghue and Candes, 2015)."""
    rate = 1 / problem.curvature()
    ahead, momentum = kernel, 1.0
    for _ in range(_STEPS):
        moved = ahead - rate * problem.gradient(ahead)
        lengths = _lengths(moved)[:, None]
        moved[:-1] *= np.maximum(1 - rate * penalty / np.maximum(lengths, 1e-300), 0)
        settled = _lengths(ahead - moved).max(initial=0) <= _SETTLED * penalty * rate
        step = moved - kernel
        if ((ahead - moved) * step).sum() > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = moved + (momentum - 1) / following * step
        kernel, momentum = moved, following
        if settled:
            break
    return kernel


def _lengths(kernel: Array) -> Array:
    """Of the weights of each feature; the bias has none."""
    return np.asarray(np.linalg.norm(kernel[:-1], axis=1))
