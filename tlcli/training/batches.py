"""Where the activations of a training batch come from: the feature store, or the trunk itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from tlcli.data.dataset import Item
from tlcli.errors import DataError
from tlcli.features import addresses, extraction
from tlcli.features.forward_pass import round_pixels
from tlcli.features.store import TrunkRows
from tlcli.images import loader
from tlcli.images.loader import BATCH_SIZE, View
from tlcli.networks.boundaries import PIXELS
from tlcli.networks.network import compile_forward
from tlcli.system import stateless_random
from tlcli.training.mixing import Mix

if TYPE_CHECKING:
    from tlcli.networks.network import Network
    from tlcli.recipe.recipe import Recipe

Array = npt.NDArray[Any]
#: Positions in the feed's items, and for each the number of the view to take.
Pick = tuple[Array, Array]

#: No batch is mixed.
UNMIXED: Iterable[Mix | None] = repeat(None)


class Feed(Protocol):
    """Labelled photos that come as activations at a cut."""

    items: Sequence[Item]
    labels: Array

    def views(self, seed: int, epoch: int) -> Array:
        """The number of the view that each photo shows in an epoch of the run, shape (n,).

        Epochs count from 0, over all stages.
        """
        ...

    def all_views(self, seed: int) -> list[Array]:
        """The views that photos are measured by, each as from `views`: all that are stored, or one
        where each epoch has its own."""
        ...

    def stream(
        self, picks: Iterable[Pick], mixes: Iterable[Mix | None] = UNMIXED
    ) -> Iterator[Array]:
        """The activations of each pick, shape (len(pick), *row shape), mixed as `mixes` say."""
        ...


class StoredFeed:
    """Activations read from the store.

    Args:
        rows: of the cut, and of other boundaries at hand.
        kept_views: augmented views of each photo that the store has, beside the photo itself.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        rows: Mapping[str, TrunkRows],
        cut: str,
        items: Sequence[Item],
        kept_views: int = 0,
    ) -> None:
        self.items = items
        self.labels = np.array([item.label for item in items], np.int32)
        self._count, self._views = len(items), 1 + kept_views
        views = [
            View(item.file, item.digest, number) for number in range(self._views) for item in items
        ]
        shown = addresses.without_unchanged(views, recipe.augment)
        self._reader = extraction.RowReader(network, recipe, rows, cut, shown)

    def views(self, seed: int, epoch: int) -> Array:
        """Every photo shows each of its views once in as many epochs, in an order of its own.

        Such a round goes on from one stage into the next.
        """
        generator = stateless_random.make_generator("views", seed, epoch // self._views)
        orders = generator.random((self._count, self._views)).argsort(axis=1)
        return np.asarray(orders[:, epoch % self._views])

    def all_views(self, seed: int) -> list[Array]:
        """See `Feed`."""
        return [np.full(self._count, view) for view in range(self._views)]

    def stream(
        self, picks: Iterable[Pick], mixes: Iterable[Mix | None] = UNMIXED
    ) -> Iterator[Array]:
        """See `Feed`; activations are mixed."""
        for (positions, views), mix in zip(picks, mixes, strict=False):
            rows = self._reader.read(views * self._count + positions)
            yield mix.apply(rows) if mix else rows


class LiveFeed:
    """Activations computed from the photos as they are needed, with a new view in every epoch.

    At the boundary of the pixels these are levels, as in the store.
    """

    def __init__(self, network: Network, recipe: Recipe, items: Sequence[Item], cut: str) -> None:
        self.items = items
        self.labels = np.array([item.label for item in items], np.int32)
        self._recipe = recipe
        self._forward = None if cut == PIXELS else compile_forward(network.trunk([cut]), BATCH_SIZE)

    def views(self, seed: int, epoch: int) -> Array:
        """View `epoch + 1` of every photo: one that no other epoch shows."""
        return np.full(len(self.items), epoch + 1)

    def all_views(self, seed: int) -> list[Array]:
        """See `Feed`: those of the first epoch."""
        return [self.views(seed, 0)]

    def stream(
        self, picks: Iterable[Pick], mixes: Iterable[Mix | None] = UNMIXED
    ) -> Iterator[Array]:
        """See `Feed`; pixels are mixed. Raises `DataError` for a photo that cannot be decoded."""
        batches = (
            [
                View(self.items[position].file, self.items[position].digest, int(number))
                for position, number in zip(positions, views, strict=True)
            ]
            for positions, views in picks
        )
        for batch, mix in zip(
            loader.load_batches(batches, loader.PixelSettings.from_recipe(self._recipe)),
            mixes,
            strict=False,
        ):
            if batch.errors:
                raise DataError(batch.errors.values())
            pixels = batch.pixels if self._forward else round_pixels(batch.pixels)
            pixels = mix.apply(pixels) if mix else pixels
            yield self._forward(pixels)[0] if self._forward else pixels


def make_training_feed(
    network: Network,
    recipe: Recipe,
    rows: Mapping[str, TrunkRows],
    cut: str,
    items: Sequence[Item],
) -> Feed:
    """The training photos as a recipe shows them: live views, or those of the store."""
    if recipe.augment.views == "live":
        return LiveFeed(network, recipe, items, cut)
    return StoredFeed(network, recipe, rows, cut, items, recipe.augment.kept_views)
