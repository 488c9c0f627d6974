"""Opening the feature store for a run: the rows it fills, and those it may compute from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.features.addresses import as_stored_before, trunk_address
from tlcli.features.store import TrunkRows
from tlcli.features.trunk_address import TrunkAddress
from tlcli.system import files

if TYPE_CHECKING:
    from tlcli.networks.network import Network
    from tlcli.recipe.recipe import Recipe


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
    def all_rows(self) -> dict[str, TrunkRows]:
        """The rows of both kinds, by boundary."""
        return {**self.sources, **self.rows}


@contextmanager
def open_store(
    network: Network,
    recipe: Recipe,
    cache: Path,
    boundaries: Sequence[str],
    *,
    pooled: bool = False,
) -> Iterator[OpenedStore]:
    """The stored rows of each boundary, and of others there may be, until the block ends.

    `cache` is the folder of `files.cache_folder`. With `pooled`, the rows are those that are means
    over space, and what they may be computed from are rows that are not, of any boundary.
    """
    folder = files.features_folder(cache)
    checksums = network.checksums([boundary.name for boundary in network.row.boundaries])
    rows, sources = {}, {}
    with ExitStack() as stack:
        for name, checksum in checksums.items():
            address = trunk_address(network, recipe, name, checksum)
            address = _present(address, recipe, folder)
            if name in boundaries:
                own = trunk_address(network, recipe, name, checksum, pooled=pooled)
                own = own if pooled else address
                rows[name] = stack.enter_context(closing(TrunkRows(folder, own)))
            if name in boundaries and not pooled:
                continue
            if address.folder(folder).is_dir():
                sources[name] = stack.enter_context(closing(TrunkRows(folder, address)))
        yield OpenedStore(rows, sources, checksums)


def _present(address: TrunkAddress, recipe: Recipe, store: Path) -> TrunkAddress:
    """The address of some rows, or the earlier one of the same rows where only that is there."""
    if address.dtype != recipe.features.dtype:
        earlier = as_stored_before(address)
        if earlier.folder(store).is_dir() and not address.folder(store).is_dir():
            return earlier
    return address
