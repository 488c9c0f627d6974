"""The stored rows of a head's photos, pooled once: what every trial of a head trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.dataset import Index
from tlcli.data.splits import SplitName
from tlcli.features.open_store import OpenedStore
from tlcli.networks.framework import keras, tf
from tlcli.networks.network import POOL, Model, Network, build_head, compile_forward
from tlcli.recipe.recipe import Recipe
from tlcli.training.batches import StoredFeed

Array = npt.NDArray[Any]

#: Rows that are read and pooled at once.
POOLED_AT_ONCE = 64


@dataclass(frozen=True)
class PooledPhotos:
    """The photos of a split as pooled rows.

    Attributes:
        feed: which views the photos show in an epoch.
        rows: shape ((1 + views) * n, inputs): view 0 of every photo, then view 1, ...
        labels: of these rows.
    """

    feed: StoredFeed
    rows: Any
    labels: Any

    @property
    def n(self) -> int:
        """The number of photos."""
        return len(self.feed.labels)


class PooledRows:
    """Pools the rows of the store as heads ask for them; each kind of rows is pooled once."""

    def __init__(self, network: Network, opened: OpenedStore, index: Index) -> None:
        self._network, self._opened, self._index = network, opened, index
        self._pooled: dict[tuple[SplitName, str, int], PooledPhotos] = {}

    def photos(self, recipe: Recipe, split: SplitName) -> PooledPhotos:
        """The photos of a split as the head of a recipe sees them."""
        views = recipe.augment.kept_views if split == "train" else 0
        key = (split, recipe.head.pooling, views)
        if key not in self._pooled:
            self._pooled[key] = self._pool(recipe, split, views)
        return self._pooled[key]

    def new_head(self, recipe: Recipe, classes: int) -> Model:
        """The head that a run of this recipe begins with."""
        shape = self._network.base.output.shape[1:]
        return build_head(shape, recipe.head, classes, seed=recipe.seed)

    def _pool(self, recipe: Recipe, split: SplitName, views: int) -> PooledPhotos:
        top, items = self._network.row.top.name, self._index.of(split)
        feed = StoredFeed(self._network, recipe, self._opened.all_rows, top, items, views)
        head = self.new_head(recipe, classes=2)
        pool = compile_forward(keras.Model(head.input, head.get_layer(POOL).output), POOLED_AT_ONCE)
        numbers = np.arange((1 + views) * len(items))
        picks = [
            (part % len(items), part // len(items))
            for part in np.array_split(numbers, -(-len(numbers) // POOLED_AT_ONCE))
        ]
        rows = [pool(batch.astype(np.float32))[0] for batch in feed.stream(picks)]
        labels = np.tile(feed.labels, 1 + views)
        return PooledPhotos(feed, tf.constant(np.concatenate(rows)), tf.constant(labels))


def pooled_bytes(recipe: Recipe, shape: Sequence[int], photos: int) -> int:
    """Bytes of the pooled training rows of a head on a base with an output of this shape."""
    inputs = int(np.prod(shape)) if recipe.head.pooling == "flatten" else int(shape[-1])
    return 4 * inputs * photos * (1 + recipe.augment.kept_views)
