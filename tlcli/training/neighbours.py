"""The features of the photos of a run, by which it tells photos that are like none of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlcli.data.dataset import Item
from tlcli.data.findings import relative_name
from tlcli.features.store import TrunkRows
from tlcli.networks.network import compile_forward
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.neighbour_file import fit_neighbours, write_neighbours
from tlcli.system import signals
from tlcli.training.batches import Feed, LiveFeed, StoredFeed
from tlcli.training.plan import Plan
from tlcli.training.step import EVALUATION_BATCH

if TYPE_CHECKING:
    from tlcli.networks.network import Network

Array = npt.NDArray[Any]


def keep_neighbours(network: Network, plan: Plan, rows: Mapping[str, TrunkRows], run: Run) -> None:
    """Write the run's file of neighbours: of the network as training has left it.

    The photos as they are, without views, come from the store; only with live views do the training
    photos go through the trunk once more. The model of the run must have been saved.

    Args:
        rows: of the cut of the last stage, and of other boundaries at hand.
    """
    items = plan.index.of("train")
    labels = np.array([item.label for item in items])
    root = plan.recipe.data.root
    photos = [(relative_name(item.path, root), item.digest) for item in items]
    train, val = (
        _features(network, plan, rows, plan.index.of(split)) for split in ("train", "val")
    )
    model, rate = run.file(directory.MODEL), plan.recipe.unknown_rate
    content = fit_neighbours(model, train, labels, photos, val, rate)
    write_neighbours(run.file(directory.NEIGHBOURS), content)


def _features(
    network: Network, plan: Plan, rows: Mapping[str, TrunkRows], items: Sequence[Item]
) -> Array:
    """The means over space of what the base puts out for photos, float32 (n, channels)."""
    top, cut = network.row.top.name, plan.stages[-1].cut.name
    if not items:
        return np.empty((0, network.shape(top)[-1]), np.float32)
    live = items[0].split == "train" and plan.recipe.augment.views == "live"
    feed: Feed = (
        LiveFeed(network, plan.recipe, items, cut)
        if live
        else StoredFeed(network, plan.recipe, rows, cut, items)
    )
    forward = compile_forward(network.pooled(cut, [top]), EVALUATION_BATCH)
    starts = range(0, len(items), EVALUATION_BATCH)
    everything = np.arange(len(items))
    picks = [everything[start : start + EVALUATION_BATCH] for start in starts]
    parts = []
    for activations in feed.stream((pick, np.zeros(len(pick), int)) for pick in picks):
        (features,) = forward(np.asarray(activations, np.float32))  # pixels are stored as levels
        parts.append(features)
        signals.raise_if_interrupted()
    return np.concatenate(parts)
