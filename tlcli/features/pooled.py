"""Pooled features of many boundaries from one pass: a few kilobytes for each photo.

A probe asks how well the activations at each boundary tell the classes apart. It needs their means
over the image alone, so these are rows of their own in the store. One pass through the network
gives those of all boundaries. What the store has is not computed again, and where it has the
unpooled rows of a boundary, these are averaged, and higher boundaries computed from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlcli.features.addresses import row_key, trunk_address
from tlcli.features.extraction import RowReader, extract
from tlcli.features.open_store import open_store
from tlcli.features.store import TrunkRows
from tlcli.images.loader import View
from tlcli.networks.boundaries import PIXELS
from tlcli.system import files

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
    with open_store(network, recipe, cache, boundaries, pooled=True) as opened:
        report = extract(network, recipe, views, opened.rows, opened.sources)
        lost = set(map(str, report.unreadable))
        readable = tuple(view for view in views if view.file not in lost)
        everything = np.arange(len(readable))
        rows = {
            name: RowReader(
                network, recipe, opened.rows, name, readable, sources=opened.sources
            ).read(everything)
            for name in boundaries
        }
    return PooledFeatures(readable, rows, report.images)


def count_missing(
    network: Network, recipe: Recipe, views: Sequence[View], boundaries: Sequence[str], cache: Path
) -> dict[str, int]:
    """How many photos `pool_features` would send through the network from pixels, by boundary.

    Each number is that of a boundary alone. Nothing is computed, and the store stays as it is.
    """
    folder = files.features_folder(cache)
    keys = [row_key(recipe.augment, view.digest, view.number) for view in views]
    missing, from_lower = {}, np.zeros(len(keys), bool)
    with open_store(network, recipe, cache, (), pooled=True) as opened:
        for name, checksum in opened.checksums.items():
            usable = recipe.features.dtype == "float32" and name != PIXELS  # all is above pixels
            if name in opened.sources and usable:
                from_lower |= opened.sources[name].locate(keys).present
            if name not in boundaries:
                continue
            pooled = trunk_address(network.row, recipe, name, checksum, pooled=True)
            at_hand = from_lower
            if pooled.folder(folder).is_dir():
                with closing(TrunkRows(folder, pooled)) as rows:
                    at_hand = from_lower | rows.locate(keys).present
            missing[name] = int((~at_hand).sum())
    return missing
