"""One pass of an extraction: batch after batch through a part of the network, into the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem
from tlcli.features.addresses import row_key
from tlcli.features.device_passes import (
    Forward,
    compile_copies,
    compute_in_order,
    extraction_devices,
)
from tlcli.features.passes import Pass
from tlcli.features.store import TrunkRows
from tlcli.features.value_range import check_range
from tlcli.images import loader
from tlcli.images.loader import View
from tlcli.networks.boundaries import PIXELS
from tlcli.networks.network import compile_forward, forward_batch
from tlcli.system import console, signals

if TYPE_CHECKING:
    from tlcli.networks.network import Network
    from tlcli.recipe.recipe import Recipe

Array = npt.NDArray[Any]

#: The stored rows of some views at a boundary.
ReadStored = Callable[[str, Sequence[View]], Array]


class ComputedBatch(NamedTuple):
    """Views that go through the network together.

    Attributes:
        size: how many views were to be computed.
        readable: those of them whose inputs there are.
        inputs: pixels, or rows of a lower boundary.
        errors: why the other photos cannot be decoded.
    """

    size: int
    readable: Sequence[View]
    inputs: Array
    errors: dict[Path, Problem]


def run_pass(
    network: Network,
    recipe: Recipe,
    step: Pass,
    rows: Mapping[str, TrunkRows],
    read_stored: ReadStored,
) -> Iterator[ComputedBatch]:
    """Compute and commit batch by batch; yields each when its rows are in the store."""
    forwards = _compile(network, recipe, step, pooled=bool(rows[step.targets[0]].pooling))
    groups = loader.split_into_chunks(step.views, forward_batch())
    batches = (
        _from_rows(step.source, groups, read_stored)
        if step.source
        else _from_photos(recipe, groups)
    )

    def inputs(batch: ComputedBatch) -> Array | None:
        return batch.inputs if batch.readable else None

    for batch, computed in compute_in_order(batches, inputs, forwards):
        if batch.readable:
            store_rows(recipe, step.targets, batch.readable, computed, rows)
        signals.raise_if_interrupted()
        yield batch


def _compile(network: Network, recipe: Recipe, step: Pass, *, pooled: bool) -> list[Forward]:
    """A forward pass for each device that is worth the copy of the network that it takes."""
    devices = extraction_devices(recipe)[: -(-len(step.views) // forward_batch())]
    if devices in ([], ["/GPU:0"], ["/CPU:0"]):  # which TensorFlow takes by itself
        return [compile_pass(network, step, pooled=pooled)]
    console.note(f"extracting on {', '.join(devices)}")
    return compile_copies(
        network, recipe, devices, lambda copied: compile_pass(copied, step, pooled=pooled)
    )


def store_rows(
    recipe: Recipe,
    targets: Sequence[str],
    views: Sequence[View],
    computed: Sequence[Array],
    rows: Mapping[str, TrunkRows],
) -> None:
    """Commit what was computed of some views at each target."""
    keys = [row_key(recipe.augment, view.digest, view.number) for view in views]
    for target, values in zip(targets, computed, strict=True):
        check_range(values, target, rows[target].dtype)
        rows[target].append(keys, values)


def round_pixels(pixels: Array) -> Array:
    """Pixels 0..255, those of augmented views between two levels, as levels: uint8."""
    return np.rint(pixels).clip(0, 255).astype(np.uint8)


def compile_pass(network: Network, step: Pass, *, pooled: bool) -> Forward:
    """The inputs of a pass -> the rows of each of its targets."""
    source, targets = step.source, step.targets
    with_pixels = targets[0] == PIXELS and not pooled
    layers = targets[1:] if with_pixels else targets
    if not layers:
        return lambda inputs: [round_pixels(inputs)]
    if pooled:
        model = network.pooled(source, layers)
    else:
        model = network.between(source, layers) if source else network.trunk(layers)
    forward = compile_forward(model, forward_batch())
    if with_pixels:
        return lambda inputs: [round_pixels(inputs), *forward(inputs)]
    return forward


def _from_rows(
    boundary: str, groups: Iterable[Sequence[View]], read_stored: ReadStored
) -> Iterator[ComputedBatch]:
    for views in groups:
        rows = read_stored(boundary, views)
        if boundary == PIXELS:
            rows = rows.astype(np.float32)
        yield ComputedBatch(len(views), views, rows, {})


def _from_photos(recipe: Recipe, groups: Iterable[Sequence[View]]) -> Iterator[ComputedBatch]:
    for batch in loader.load_batches(groups, loader.PixelSettings.from_recipe(recipe)):
        yield ComputedBatch(len(batch.views), batch.readable, batch.pixels, batch.errors)
