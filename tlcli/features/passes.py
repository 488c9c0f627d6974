"""What an extraction has to compute: the rows that the store lacks, and where each starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from tlcli.features.addresses import row_key
from tlcli.features.locations import Locations, RowKey
from tlcli.images.loader import View
from tlcli.networks.boundaries import PIXELS, Boundary
from tlcli.recipe.augment import Augment

if TYPE_CHECKING:
    from tlcli.recipe.recipe import Recipe


#: Views whose rows are looked up together, which bounds the memory of their keys.
_AT_ONCE = 100_000


class LocatedRows(Protocol):
    """Rows of a trunk that can be looked up."""

    def locate(self, keys: Sequence[RowKey]) -> Locations:
        """See `TrunkRows`."""
        ...


@dataclass(frozen=True)
class Pass:
    """Views that go through the same part of the network.

    Attributes:
        source: the boundary whose stored rows they start from; None for the photos.
        targets: the boundaries whose rows are computed, from the lowest to the highest.
    """

    source: str | None
    targets: tuple[str, ...]
    views: list[View]


@dataclass(frozen=True)
class PassPlan:
    """The passes of an extraction.

    Attributes:
        stored: rows that the store has already, for each boundary to fill.
    """

    passes: list[Pass]
    stored: dict[str, int]


def computes_from_rows(recipe: Recipe) -> bool:
    """Whether rows of a layer may be computed from stored rows of a lower one.

    Rounded rows give other bits than the photo, and rows must not depend on their history.
    """
    return recipe.features.dtype == "float32"


def plan_passes(
    views: Sequence[View],
    settings: Augment,
    boundaries: Iterable[Boundary],
    targets: Mapping[str, LocatedRows],
    sources: Mapping[str, LocatedRows],
    *,
    from_rows: bool,
) -> PassPlan:
    """The passes that compute the rows of `views` that `targets` lack.

    Args:
        boundaries: of the network, from the lowest to the highest.
        targets: the rows to fill, by boundary.
        sources: rows to compute from, those of targets among them unless they are pooled.
        from_rows: whether stored rows of layers may be computed from, those of boundaries that are
            `folded` left out. Those of pixels always may, where they are the photo itself: of
            augmented views they are rounded.
    """
    known = [each for each in boundaries if each.name in targets or each.name in sources]
    order = [each.name for each in known]
    usable_layers = {each.name for each in known if from_rows and not each.folded}
    filled = {name: _present(targets[name], views, settings) for name in order if name in targets}
    stored = {name: int(is_stored.sum()) for name, is_stored in filled.items()}
    if all(count == len(views) for count in stored.values()):
        return PassPlan([], stored)
    at_hand = {
        name: filled[name] if rows is targets.get(name) else _present(rows, views, settings)
        for name, rows in sources.items()
        if name in usable_layers or name == PIXELS
    }
    if PIXELS in at_hand:
        at_hand[PIXELS] = at_hand[PIXELS] & np.array([view.number == 0 for view in views])
    none = np.zeros(len(views), bool)
    lacking = np.stack([~filled.get(name, ~none) for name in order]).T
    usable = np.stack([at_hand.get(name, none) for name in order]).T
    by_way: dict[tuple[str | None, tuple[str, ...]], list[View]] = {}
    for view, is_lacking, is_usable in zip(views, lacking, usable, strict=True):
        missing = np.flatnonzero(is_lacking)
        if not len(missing):
            continue
        # The highest row at hand that is not above anything missing is nearest to all of it.
        below = np.flatnonzero(is_usable[: missing[0] + 1])
        source = order[below[-1]] if len(below) else None
        by_way.setdefault((source, tuple(order[i] for i in missing)), []).append(view)
    return PassPlan([Pass(*way, group) for way, group in by_way.items()], stored)


def _present(rows: LocatedRows, views: Sequence[View], settings: Augment) -> npt.NDArray[np.bool_]:
    """Which of some views have a row."""
    present = np.zeros(len(views), bool)
    for first in range(0, len(views), _AT_ONCE):
        some = views[first : first + _AT_ONCE]
        keys = [row_key(settings, view.digest, view.number) for view in some]
        present[first : first + len(some)] = rows.locate(keys).present
    return present
