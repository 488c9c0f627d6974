"""Opening the feature store for a run: the rows it fills, and those it may compute from.

`foresee_passes` says what there will be to compute, and leaves the store as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.features.addresses import as_stored_before, trunk_address
from tlcli.features.passes import PassPlan, computes_from_rows, plan_passes
from tlcli.features.store import TrunkRows
from tlcli.features.stored_keys import StoredKeys
from tlcli.features.trunk_address import TrunkAddress
from tlcli.images.loader import View
from tlcli.system import files

if TYPE_CHECKING:
    from tlcli.networks.bases import PretrainedBase
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
            address = trunk_address(network.row, recipe, name, checksum)
            address = _present(address, recipe, folder)
            if name in boundaries:
                own = trunk_address(network.row, recipe, name, checksum, pooled=pooled)
                own = own if pooled else address
                rows[name] = stack.enter_context(closing(TrunkRows(folder, own)))
            if name in boundaries and not pooled:
                continue
            if address.folder(folder).is_dir():
                sources[name] = stack.enter_context(closing(TrunkRows(folder, address)))
        yield OpenedStore(rows, sources, checksums)


def foresee_passes(
    row: PretrainedBase,
    recipe: Recipe,
    cache: Path,
    boundaries: Sequence[str],
    checksums: Mapping[str, str],
    views: Sequence[View],
) -> PassPlan:
    """What an extraction of `views` at `boundaries` would compute; nothing in the store changes.

    `checksums` are those of the weights up to every boundary, or up to those that are known: rows
    of others are taken for missing. TensorFlow is not needed.
    """
    folder = files.features_folder(cache)
    targets: dict[str, StoredKeys] = {name: StoredKeys(None) for name in boundaries}
    sources: dict[str, StoredKeys] = {}
    with ExitStack() as stack:
        for name, checksum in checksums.items():
            address = _present(trunk_address(row, recipe, name, checksum), recipe, folder)
            keys = stack.enter_context(closing(StoredKeys(address.folder(folder))))
            sources[name] = keys
            if name in targets:
                targets[name] = keys
        at_hand, from_rows = {**targets, **sources}, computes_from_rows(recipe)
        return plan_passes(
            views, recipe.augment, row.boundaries, targets, at_hand, from_rows=from_rows
        )


def _present(address: TrunkAddress, recipe: Recipe, store: Path) -> TrunkAddress:
    """The address of some rows, or the earlier one of the same rows where only that is there."""
    if address.dtype != recipe.features.dtype:
        earlier = as_stored_before(address)
        if earlier.folder(store).is_dir() and not address.folder(store).is_dir():
            return earlier
    return address
