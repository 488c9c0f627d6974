"""Averages of weights: over the steps of a stage, and over its best epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.networks.framework import tf
from tlcli.networks.network import Network, Variable

Array = npt.NDArray[Any]


class MovingAverage:
    """An exponential moving average of weights, updated after each step.

    It begins with a short memory, min(decay, (1 + steps) / (10 + steps)), as TensorFlow's
    `ExponentialMovingAverage` does with `num_updates`: the weights at the start of a stage would
    otherwise be remembered for 1 / (1 - decay) steps, which few stages have.

    Args:
        decay: the share of the average that a step keeps in the long run.
        weights: what is averaged: what trains, and the statistics of batch norm that does.
    """

    def __init__(self, decay: float, weights: Sequence[Variable]) -> None:
        self._decay, self._weights = decay, list(weights)
        self._averages = [tf.Variable(variable.value) for variable in weights]
        self._steps = tf.Variable(0, dtype=tf.int64)

    @property
    def variables(self) -> list[Variable]:
        """What it has to remember."""
        return [*self._averages, self._steps]

    def update(self) -> None:
        """Take in the weights after a step; part of the compiled step."""
        steps = tf.cast(self._steps, tf.float32)
        fresh = 1 - tf.minimum(self._decay, (1 + steps) / (10 + steps))
        for average, variable in zip(self._averages, self._weights, strict=True):
            average.assign_add(fresh * (variable.value - average))
        self._steps.assign_add(1)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the network the averages as its weights meanwhile."""
        kept = [variable.numpy() for variable in self._weights]
        for average, variable in zip(self._averages, self._weights, strict=True):
            variable.assign(average)
        try:
            yield
        finally:
            for variable, value in zip(self._weights, kept, strict=True):
                variable.assign(value)


def averaged_weights(network: Network, cut: str) -> list[Variable]:
    """The weights above a cut that a stage changes: see `MovingAverage`.

    Which layers train is what `Network.freeze` has set.
    """
    layers = [layer for layer in network.layers_above(cut) if layer.trainable]
    return [weight for layer in layers for weight in layer.weights] + list(network.head.weights)


def greedy_soup(
    candidates: Mapping[int, Sequence[Array]], is_no_worse: Callable[[list[Array]], bool]
) -> tuple[tuple[int, ...], list[Array]]:
    """The average of the best epochs, as far as each makes it no worse (Wortsman et al., 2022).

    `candidates` are weights by epoch, the best first, `is_no_worse` judges an average and remembers
    it if it is. Returns the epochs that went in, and the average of their weights.
    """
    (first, best), *others = candidates.items()
    chosen, kept = {first: best}, list(best)
    for epoch, weights in others:
        trial = mean_weights([*chosen.values(), weights])
        if is_no_worse(trial):
            chosen[epoch], kept = weights, trial
    return tuple(chosen), kept


def mean_weights(several: Sequence[Sequence[Array]]) -> list[Array]:
    """The mean of each weight, computed in float64."""
    return [
        np.mean([np.asarray(w, np.float64) for w in each], axis=0).astype(each[0].dtype)
        for each in zip(*several, strict=True)
    ]
