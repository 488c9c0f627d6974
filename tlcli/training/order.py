"""Which photos an epoch shows, in which order and by which views.

All of it is drawn from (seed, stage, epoch) and nothing else, so that an epoch can be repeated by
itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.recipe.stage_settings import BALANCED
from tlcli.system import stateless_random
from tlcli.training.batches import Feed, Pick

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Position:
    """Where in the run a stage stands: its number, and the epochs that were trained before it."""

    number: int
    epochs_before: int


def draw_picks(
    feed: Feed, seed: int, position: Position, number: int, batch_size: int, sampler: str = ""
) -> Iterator[Pick]:
    """The batches of an epoch: positions in random order, and the view of each.

    With the sampler 'balanced' every class is shown equally often.
    """
    first = position.epochs_before + number
    if sampler == BALANCED:
        order, turns = balanced_order(seed, position.number, number, feed.labels)
    else:
        order = epoch_order(seed, position.number, number, len(feed.labels))
        turns = np.zeros(len(order), int)
    # A photo that is shown again shows the view of a later epoch.
    views = np.stack([feed.views(seed, first + turn) for turn in range(turns.max(initial=0) + 1)])
    for start in range(0, len(order), batch_size):
        batch = slice(start, start + batch_size)
        yield order[batch], views[turns[batch], order[batch]]


def epoch_order(seed: int, stage: int, epoch: int, count: int) -> Array:
    """The order in which an epoch shows its photos; stages and epochs count from 0."""
    return np.asarray(
        stateless_random.make_generator("order", seed, stage, epoch).permutation(count)
    )


def balanced_order(seed: int, stage: int, epoch: int, labels: Array) -> tuple[Array, Array]:
    """An order of as many photos as there are labels, equally many of each class.

    Returns their positions, and how often each of them was shown before in the epoch, both of shape
    (n,). No photo of a class is shown once more than another one of it before all were shown; which
    of them are is drawn in every epoch, and so is which classes get what is left over.
    """
    generator = stateless_random.make_generator("balanced", seed, stage, epoch)
    classes = np.unique(labels)
    shares = np.full(len(classes), len(labels) // len(classes))
    shares[generator.permutation(len(classes))[: len(labels) % len(classes)]] += 1
    positions, turns = [], []
    for label, share in zip(classes, shares, strict=True):
        members = generator.permutation(np.flatnonzero(labels == label))
        positions.append(np.resize(members, share))
        turns.append(np.arange(share) // len(members))
    order = generator.permutation(len(labels))
    return np.concatenate(positions)[order], np.concatenate(turns)[order]
