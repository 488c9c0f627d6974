"""Addresses in the feature store: of a trunk, and of the rows of the views that training needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tlcli.data.dataset import Item
from tlcli.features.locations import RowKey
from tlcli.features.trunk_address import TrunkAddress
from tlcli.images import augment
from tlcli.images.decoder_identity import decoder_identity
from tlcli.images.loader import View
from tlcli.networks.boundaries import PIXELS
from tlcli.recipe.augment import Augment

if TYPE_CHECKING:
    from tlcli.networks.bases import PretrainedBase
    from tlcli.recipe.recipe import Recipe


#: How pooled rows are reduced: the mean over both image axes.
POOLING = "avg"

#: Stands for the base of pixels, which are the same for all.
ANY_BASE = "any"


def trunk_address(
    row: PretrainedBase, recipe: Recipe, boundary: str, weights: str, *, pooled: bool = False
) -> TrunkAddress:
    """The address of a base's trunk up to `boundary`: everything that decides its rows.

    `weights` is the checksum of its weights up to the boundary. With `pooled` the rows
    are means over space, one float32 number a channel. Pixels, which are whole numbers from 0 to
    255, depend on no network, and all bases share them.
    """
    description: dict[str, Any] = {
        "base": row.name,
        "boundary": boundary,
        "weights": weights,
        "image_size": list(recipe.base.image_size),
        "resize": recipe.base.resize,
        "decoder": decoder_identity(),
        "precision": recipe.policy,
    }
    if row.batch_norm_momentum is not None:
        description["batch_norm"] = "folded"  # see `folding`; rows had other last bits before
    if recipe.data.depth is not None:
        description["depth"] = recipe.data.depth
    shape = row.boundary(boundary).shape(*recipe.base.image_size)
    if boundary == PIXELS:
        description["base"] = ANY_BASE
        for key in ("weights", "precision", "batch_norm"):
            description.pop(key, None)
        return TrunkAddress(description, shape, "uint8")
    if pooled:
        description["pooling"] = POOLING
        return TrunkAddress(description, shape[-1:], "float32")
    return TrunkAddress(description, shape, stored_dtype(recipe))


def stored_dtype(recipe: Recipe) -> str:
    """What the numbers of a row are: half as long where that loses nothing.

    A trunk in mixed precision gives numbers of 16 bits, which float32 would only fill with zeros.
    """
    if recipe.features.dtype == "float32" and recipe.policy.startswith("mixed_"):
        return recipe.policy.removeprefix("mixed_")
    return recipe.features.dtype


def as_stored_before(address: TrunkAddress) -> TrunkAddress:
    """Where version 0.1.0 kept the same rows: it stored those of mixed precision as float32."""
    return replace(address, dtype="float32")


def row_key(settings: Augment, digest: str, number: int) -> RowKey:
    """The key of a view's row; that of an augmented one holds the address of the settings."""
    return (digest, f"{augment.compute_address(settings)}/{number}" if number else "0")


def views_of(items: Iterable[Item], settings: Augment, kept_views: int) -> list[View]:
    """What training on `items` needs: every photo, and the kept views of the training ones.

    Photos with the same bytes are the same view, and are listed once.
    """
    views: list[View] = []
    listed: dict[str, int] = {}  # how many views of a photo
    for item in items:
        first, count = listed.get(item.digest, 0), 1 + kept_views * (item.split == "train")
        if first < count:
            views += [View(item.file, item.digest, number) for number in range(first, count)]
            listed[item.digest] = count
    if settings.probability == 1:
        return views
    distinct: dict[tuple[str, int], View] = {}
    for view in without_unchanged(views, settings):
        distinct.setdefault((view.digest, view.number), view)
    return list(distinct.values())


def without_unchanged(views: list[View], settings: Augment) -> list[View]:
    """The views, with view 0 for each that `augment.probability` leaves as the photo is.

    Both show the same pixels, and so they share a row of the store.
    """
    if settings.probability == 1:
        return views
    digests, numbers = [view.digest for view in views], [view.number for view in views]
    changed = augment.mark_changed(settings, digests, numbers)
    return [
        view if is_changed else replace(view, number=0)
        for view, is_changed in zip(views, changed.tolist(), strict=True)
    ]
