"""The stored rows of a head's photos, pooled once: what every trial of a head trains on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.splits import SplitName
from tlcli.features import addresses, extraction
from tlcli.features.open_store import open_store
from tlcli.networks.framework import keras, tf
from tlcli.networks.heads import POOL, Model, build_head
from tlcli.networks.network import compile_forward
from tlcli.pretrained.weights import describe_weights
from tlcli.recipe.recipe import Recipe
from tlcli.training.batches import StoredFeed
from tlcli.training.plan import Plan, without_unreadable
from tlcli.training.preparation import load_network, note_extraction
from tlcli.training.standardize import AT_ONCE, measure_moments

Array = npt.NDArray[Any]


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
    """Pools the rows of the store as heads ask for them; each kind of rows is pooled once.

    Attributes:
        plan: with the photos that could be read.
        passes: images that went through the trunk, since the store lacked their rows.
        weights: the record of the base's weights, as runs keep it.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.passes = plan, 0
        self._network = load_network(plan.recipe, plan.source, len(plan.index.classes))
        self.weights = describe_weights(self._network.base, plan.row, plan.source)
        self._pooled: dict[tuple[SplitName, str, int], PooledPhotos] = {}
        self._standardized: dict[tuple[SplitName, str, int], PooledPhotos] = {}
        self._fill()

    def _fill(self) -> None:
        """Compute the rows of the training and validation photos that the store lacks."""
        plan, top = self.plan, self.plan.row.top.name
        items = [item for item in plan.index.items if item.split != "test"]
        views = addresses.views_of(items, plan.recipe.augment, plan.recipe.augment.kept_views)
        with open_store(self._network, plan.recipe, plan.cache, [top]) as opened:
            self.weights["checksum"] = opened.checksums[top]
            report = extraction.extract(
                self._network, plan.recipe, views, opened.rows, opened.sources
            )
        self.passes = report.images
        self.plan = without_unreadable(plan, report.unreadable)
        note_extraction(report, len(views))

    def photos(self, recipe: Recipe, split: SplitName) -> PooledPhotos:
        """The photos of a split as the head of a recipe sees them."""
        views = recipe.augment.kept_views if split == "train" else 0
        key = (split, recipe.head.pooling, views)
        if key not in self._pooled:
            self._pooled[key] = self._pool(recipe, split, views)
        if not recipe.head.normalize:
            return self._pooled[key]
        # By the training photos in the views of this recipe, which decide about other photos, too.
        place = (split, recipe.head.pooling, recipe.augment.kept_views)
        if place not in self._standardized:
            self._standardized[place] = self._standardize(recipe, self._pooled[key])
        return self._standardized[place]

    def new_head(self, recipe: Recipe) -> Model:
        """The head that a run of this recipe begins with."""
        shape, classes = self._network.features.shape[1:], len(self.plan.index.classes)
        return build_head(shape, recipe.head, classes, seed=recipe.seed)

    def _standardize(self, recipe: Recipe, photos: PooledPhotos) -> PooledPhotos:
        plain = recipe.head.model_copy(update={"normalize": False})
        fitted = self.photos(recipe.model_copy(update={"head": plain}), "train").rows.numpy()
        moments = measure_moments(np.array_split(fitted, -(-len(fitted) // AT_ONCE)))
        rows = (photos.rows.numpy() - moments.mean) / moments.spread
        return replace(photos, rows=tf.constant(rows.astype(np.float32)))

    def _pool(self, recipe: Recipe, split: SplitName, views: int) -> PooledPhotos:
        top, items = self.plan.row.top.name, self.plan.index.of(split)
        head = self.new_head(recipe)
        pool = compile_forward(keras.Model(head.input, head.get_layer(POOL).output), AT_ONCE)
        numbers = np.arange((1 + views) * len(items))
        picks = [
            (part % len(items), part // len(items))
            for part in np.array_split(numbers, -(-len(numbers) // AT_ONCE))
        ]
        with open_store(self._network, recipe, self.plan.cache, [top]) as opened:
            feed = StoredFeed(self._network, recipe, opened.all_rows, top, items, views)
            rows = [pool(batch.astype(np.float32))[0] for batch in feed.stream(picks)]
        labels = np.tile(feed.labels, 1 + views)
        return PooledPhotos(feed, tf.constant(np.concatenate(rows)), tf.constant(labels))
