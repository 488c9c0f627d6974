"""The mean and the spread of the features that a head trains on, from the rows of the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.networks.framework import tf
from tlcli.networks.heads import NORMALIZED, POOL, add_head, copy_folded, set_moments
from tlcli.networks.network import Network, compile_forward, join
from tlcli.recipe.recipe import Recipe
from tlcli.system import signals
from tlcli.training.batches import Feed

Array = npt.NDArray[Any]

#: Rows that are read and pooled at once.
AT_ONCE = 64


@dataclass(frozen=True)
class Moments:
    """Of each feature: its mean and its variance over n rows, float64, shape (features,)."""

    n: int
    mean: Array
    variance: Array

    @property
    def spread(self) -> Array:
        """The standard deviation; 1 for a feature that does not vary."""
        return np.sqrt(np.where(self.variance > 0, self.variance, 1.0))


def measure_moments(batches: Iterable[Array]) -> Moments:
    """The moments of rows that come in batches of shape (n, features).

    Each batch is taken in by its own mean (Chan et al., 1979), in float64: sums of squares would
    lose the spread of features that are far from 0.
    """
    n, mean, squares = 0, np.zeros(1), np.zeros(1)
    for batch in batches:
        rows = np.asarray(batch, np.float64)
        own = rows.mean(axis=0)
        step, more = own - mean, len(rows)
        squares = squares + ((rows - own) ** 2).sum(axis=0) + step**2 * (n * more / (n + more))
        mean = mean + step * (more / (n + more))
        n += more
    return Moments(n, mean, squares / max(n, 1))


def pooled_batches(network: Network, cut: str, feed: Feed, seed: int) -> Iterator[Array]:
    """The pooled features of all photos of a feed, in all their views, (n, features) at a time.

    They are what the network computes from the activations at the cut, in inference mode.
    """
    tail, pool = network.tail(cut), network.head.get_layer(POOL)
    forward = compile_forward(lambda x, training: pool(tail(x, training=training)), AT_ONCE)
    n = len(feed.labels)
    for views in feed.all_views(seed):
        parts = np.array_split(np.arange(n), -(-n // AT_ONCE))
        for rows in feed.stream([(part, views[part]) for part in parts]):
            yield forward(tf.cast(rows, tail.inputs[0].dtype))[0]
            signals.raise_if_interrupted()


def standardize(network: Network, cut: str, feed: Feed, recipe: Recipe) -> None:
    """Have the head of a network, if it is one that does, standardise by these training photos.

    A head that goes on from another run has weights for features as they are.
    """
    if any(layer.name == NORMALIZED for layer in network.head.layers):
        moments = measure_moments(pooled_batches(network, cut, feed, recipe.seed))
        trained = recipe.start_from is not None
        set_moments(network.head, moments.mean, moments.variance, trained=trained)


def fold(network: Network, recipe: Recipe) -> Network:
    """The network as it is saved: with standardising as a part of the first dense layer."""
    if not recipe.head.normalize:
        return network
    plain = recipe.head.model_copy(update={"normalize": False})
    outputs = network.head.output.shape[-1]
    classes = 2 if outputs == 1 else outputs
    logits = add_head(network.features, plain, classes, seed=recipe.seed)
    folded = join(network.row, network.base, network.features, logits)
    copy_folded(network.head, folded.head)
    return folded
