"""Where the rows of a plan are in the store: the address of a trunk, and the key of a view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.data.dataset import Item
from tlcli.features.store import RowKey, TrunkRows
from tlcli.images import augment, decode
from tlcli.images.loader import View
from tlcli.recipe.augment import Augment
from tlcli.system import files

if TYPE_CHECKING:
    from tlcli.networks.network import Network
    from tlcli.recipe.recipe import Recipe


def open_rows(
    network: Network, recipe: Recipe, boundary: str, folder: Path, *, weights: str
) -> TrunkRows:
    """The stored rows of one trunk, under the address of everything that computes them.

    `weights` is the checksum of the network's weights up to the boundary.
    """
    return TrunkRows(folder, *_trunk(network, recipe, boundary, weights))


def has_rows(
    network: Network, recipe: Recipe, boundary: str, folder: Path, *, weights: str
) -> bool:
    """Whether the store knows that trunk."""
    return TrunkRows.place(folder, *_trunk(network, recipe, boundary, weights)).is_dir()


def _trunk(
    network: Network, recipe: Recipe, boundary: str, weights: str
) -> tuple[dict[str, Any], tuple[int, ...], str]:
    """Description, shape of a row and number type of a trunk's rows."""
    description = {
        "base": network.row.name,
        "boundary": boundary,
        "weights": weights,
        "image_size": list(recipe.base.image_size),
        "resize": recipe.base.resize,
        "decoder": decode.DECODER_VERSION,
        "precision": recipe.precision,
    }
    return description, network.shape(boundary), recipe.features.dtype


def row_key(recipe: Recipe, digest: str, number: int) -> RowKey:
    """The key of a view's row; augmented ones carry the address of what made them."""
    return (digest, f"{augment.address(recipe.augment)}/{number}" if number else "0")


def views_of(items: Iterable[Item], settings: Augment, kept_views: int) -> list[View]:
    """What training on `items` needs: every photo, and the kept views of the training ones.

    Photos with the same bytes are the same view, and are listed once.
    """
    views = [
        View(item.path, item.digest, number)
        for item in items
        for number in range(1 + (kept_views if item.split == "train" else 0))
    ]
    wanted: dict[tuple[str, int], View] = {}
    for view in as_shown(views, settings):
        wanted.setdefault((view.digest, view.number), view)
    return list(wanted.values())


def as_shown(views: list[View], settings: Augment) -> list[View]:
    """The same views; one that `probability` leaves as its photo is view 0, and shares its row."""
    if settings.probability == 1:
        return views
    digests, numbers = [view.digest for view in views], [view.number for view in views]
    changed = augment.changes(settings, digests, numbers)
    return [
        view if other else replace(view, number=0)
        for view, other in zip(views, changed.tolist(), strict=True)
    ]


@dataclass(frozen=True)
class OpenedStore:
    """The rows that a run works with.

    Attributes:
        rows: of the boundaries that are asked for.
        sources: of others that the store has, to compute missing rows from.
        checksums: of the weights up to every boundary, as they were when the store was opened.
    """

    rows: dict[str, TrunkRows]
    sources: dict[str, TrunkRows]
    checksums: dict[str, str]

    @property
    def known(self) -> dict[str, TrunkRows]:
        """All rows at hand, by boundary."""
        return {**self.sources, **self.rows}


@contextmanager
def open_store(
    network: Network, recipe: Recipe, cache: Path, boundaries: Sequence[str]
) -> Iterator[OpenedStore]:
    """The stored rows of each boundary, and of others there may be, until the block ends.

    `cache` is the folder of `files.cache_folder`.
    """
    folder = files.features_folder(cache)
    every = network.checksums([boundary.name for boundary in network.row.boundaries])
    opened = OpenedStore({}, {}, every)
    with ExitStack() as stack:
        for name, checksum in every.items():
            kind = opened.rows if name in boundaries else opened.sources
            if name in boundaries or has_rows(network, recipe, name, folder, weights=checksum):
                kind[name] = open_rows(network, recipe, name, folder, weights=checksum)
                stack.callback(kind[name].close)
        yield opened
