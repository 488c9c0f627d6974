"""Pooled features of many boundaries from one pass: a few kilobytes for each photo.

A probe asks how well the activations at each boundary tell the classes apart. It needs their means
over the image alone, so these are rows of their own in the store. One pass through the network
gives those of all boundaries. What the store has is not computed again, and where it has the
unpooled rows of a boundary, these are averaged instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem
from tlcli.features import disk_space
from tlcli.features.addresses import pooled_address, row_key
from tlcli.features.extraction import RowReader, check_unreadable
from tlcli.features.open_store import OpenedStore, open_store
from tlcli.features.store import TrunkRows
from tlcli.images import loader
from tlcli.images.loader import BATCH_SIZE, View
from tlcli.networks.network import compile_forward
from tlcli.system import console, files, locks, signals

if TYPE_CHECKING:
    from tlcli.networks.network import Network
    from tlcli.recipe.recipe import Recipe

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PooledFeatures:
    """The pooled features of photos at some boundaries.

    Attributes:
        views: the photos that could be read, in the order of the rows.
        rows: by boundary, float32, shape (n, channels).
        images: photos that went through the network from their pixels.
    """

    views: tuple[View, ...]
    rows: dict[str, Array]
    images: int


def pool_features(
    network: Network, recipe: Recipe, views: Sequence[View], boundaries: Sequence[str], cache: Path
) -> PooledFeatures:
    """The features of photos (view 0, each listed once), from the store where it has them.

    `cache` is the folder of `files.cache_folder`. Raises what `extraction.extract` raises.
    """
    with open_store(network, recipe, cache, []) as opened, ExitStack() as stack:
        folder = files.features_folder(cache)
        rows = {}
        for name in boundaries:
            address = pooled_address(network, recipe, name, opened.checksums[name])
            rows[name] = stack.enter_context(closing(TrunkRows(folder, address)))
        for trunk in sorted(rows.values(), key=lambda trunk: trunk.path):
            wait = locks.lock_folder(trunk.path, waiting="it probes the same network")
            stack.enter_context(wait)
        missing = {name: _missing(trunk, views) for name, trunk in rows.items()}
        for name in boundaries:
            _pool_stored(network, recipe, opened, name, rows[name], views, missing)
        unreadable, images = _pool_pixels(network, recipe, rows, views, missing)
        check_unreadable(unreadable, recipe)
        readable = tuple(view for view in views if view.path not in unreadable)
        keys = [row_key(recipe.augment, view.digest, 0) for view in readable]
        everything = np.arange(len(keys))
        return PooledFeatures(
            readable,
            {name: trunk.read(trunk.locate(keys), everything) for name, trunk in rows.items()},
            images,
        )


def _missing(trunk: TrunkRows, views: Sequence[View]) -> Array:
    """Which views have no sound row, bool (n,); damaged rows are forgotten."""
    keys = [(view.digest, "0") for view in views]
    locations = trunk.locate(keys)
    bad = np.zeros(len(keys), bool)
    damaged = trunk.damaged_at(locations, np.flatnonzero(locations.present))
    trunk.forget([keys[position] for position in damaged])
    bad[damaged] = True
    return bad | ~locations.present


def _pool_stored(
    network: Network,
    recipe: Recipe,
    opened: OpenedStore,
    boundary: str,
    pooled: TrunkRows,
    views: Sequence[View],
    missing: Mapping[str, Array],
) -> None:
    """Average the stored rows of a boundary, for all photos that have them and need it."""
    whole = opened.sources.get(boundary)
    if whole is None or not missing[boundary].any():
        return
    keys = [row_key(recipe.augment, view.digest, 0) for view in views]
    positions = np.flatnonzero(missing[boundary] & whole.locate(keys).present).tolist()
    chosen = [views[position] for position in positions]
    reader = RowReader(network, recipe, opened.all_rows, boundary, chosen, lock=False)
    for start in range(0, len(chosen), BATCH_SIZE):
        part = np.arange(start, min(start + BATCH_SIZE, len(chosen)))
        values = reader.read(part).astype(np.float32).mean(axis=(1, 2))
        pooled.append([keys[positions[i]] for i in part], values)
        signals.raise_if_interrupted()
    missing[boundary][positions] = False


def _pool_pixels(
    network: Network,
    recipe: Recipe,
    rows: Mapping[str, TrunkRows],
    views: Sequence[View],
    missing: Mapping[str, Array],
) -> tuple[dict[Path, Problem], int]:
    """Compute what is still missing from the photos; those that cannot be read, and how many."""
    targets = [name for name, lacks in missing.items() if lacks.any()]
    if not targets:
        return {}, 0
    lacking = np.any([missing[name] for name in targets], axis=0)
    chosen = [view for view, lacks in zip(views, lacking, strict=True) if lacks]
    needed = len(chosen) * sum(rows[name].row_bytes for name in targets)
    disk_space.check_missing_rows(rows[targets[0]].path.parent, needed)
    forward = compile_forward(network.pooled_trunk(targets), BATCH_SIZE)
    unreadable: dict[Path, Problem] = {}
    settings = loader.PixelSettings.from_recipe(recipe)
    with console.progress(len(chosen), "extracting") as bar:
        for batch in loader.load_batches(loader.split_into_chunks(chosen, BATCH_SIZE), settings):
            unreadable |= batch.errors
            if batch.readable:
                keys = [(view.digest, "0") for view in batch.readable]
                for name, values in zip(targets, forward(batch.pixels), strict=True):
                    rows[name].append(keys, values)
            bar.update(len(batch.views))
            signals.raise_if_interrupted()
    return unreadable, len(chosen) - len(unreadable)
