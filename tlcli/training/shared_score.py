"""Scoring photos in several processes: each takes a part, and all of them have the same result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.dataset import Item
from tlcli.training.batches import UNMIXED, Feed, Pick
from tlcli.training.mixing import Mix
from tlcli.training.replicas import Replicas
from tlcli.training.step import Means, Scorer

Array = npt.NDArray[Any]


def score(scorer: Scorer, feed: Feed, replicas: Replicas) -> Means:
    """The score of all photos of a feed, of which each process computes a part.

    What a stage decides follows from it, so that all processes must have the same bits.
    """
    group = replicas.group
    if group is None:
        return scorer.score(feed)
    part = scorer.score(_Part(feed, np.arange(group.number, len(feed.labels), group.count)))
    shares = (part.loss, part.accuracy, part.top_5 or 0.0)
    n, *totals = group.sum([part.n, *(part.n * share for share in shares)])
    loss, accuracy, top_5 = (total / max(n, 1) for total in totals)
    return Means(loss, accuracy, int(n), None if part.top_5 is None else top_5)


class _Part:
    """Some photos of a feed, which are scored as they are."""

    def __init__(self, feed: Feed, positions: Array) -> None:
        self.labels, self._feed, self._positions = feed.labels[positions], feed, positions
        self.items: Sequence[Item] = [feed.items[position] for position in positions]

    def views(self, seed: int, epoch: int) -> Array:
        """See `Feed`."""
        return self._feed.views(seed, epoch)[self._positions]

    def all_views(self, seed: int) -> list[Array]:
        """See `Feed`."""
        return [views[self._positions] for views in self._feed.all_views(seed)]

    def stream(
        self, picks: Iterable[Pick], mixes: Iterable[Mix | None] = UNMIXED
    ) -> Iterator[Array]:
        """See `Feed`."""
        return self._feed.stream(((self._positions[at], views) for at, views in picks), mixes)
