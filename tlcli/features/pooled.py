"""Pooled features of many boundaries from one pass: a few kilobytes for each photo.

A probe asks how well the activations at each boundary tell the classes apart. It needs their means
over the image alone, so these are rows of their own in the store. One pass through the network
gives those of all boundaries. What the store has is not computed again, and where it has the
unpooled rows of a boundary, these are averaged, and higher boundaries computed from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlcli.features.extraction import RowReader, extract
from tlcli.features.open_store import open_store
from tlcli.images.loader import View

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
        readable = tuple(view for view in views if view.path not in report.unreadable)
        everything = np.arange(len(readable))
        rows = {
            name: RowReader(
                network, recipe, opened.rows, name, readable, sources=opened.sources
            ).read(everything)
            for name in boundaries
        }
    return PooledFeatures(readable, rows, report.images)
