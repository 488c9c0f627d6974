"""A pass of an extraction on several devices: each has a copy of the network, and takes batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import numpy.typing as npt

from tlcli.networks.bases import BASES
from tlcli.networks.devices import choose_devices, knows_some_gpus, like_gpus
from tlcli.networks.framework import tf
from tlcli.networks.network import build_network
from tlcli.system.threads import WorkerPool, result_of

if TYPE_CHECKING:
    from tlcli.networks.network import Network
    from tlcli.recipe.recipe import Recipe

Array = npt.NDArray[Any]

#: The inputs of a batch -> its rows at each target.
Forward = Callable[[Array], Sequence[Array]]
Batch = TypeVar("Batch")


def extraction_devices(recipe: Recipe) -> list[str]:
    """The devices that compute features: those that the recipe names, or else all GPUs of a kind.

    A worker of several knows only those that its recipe names. Empty without a GPU, unless the
    recipe names devices.
    """
    named = "devices" in recipe.model_fields_set and not knows_some_gpus()
    return choose_devices(recipe.devices) if named else like_gpus()


def compile_copies(
    network: Network, recipe: Recipe, devices: Sequence[str], compiled: Callable[[Network], Forward]
) -> list[Forward]:
    """A forward pass on each device, with the weights of the network.

    `compiled` makes that of a network on the device in force.
    """
    return [_on_device(_copied(network, recipe, device), device, compiled) for device in devices]


def _copied(network: Network, recipe: Recipe, device: str) -> Network:
    with tf.device(device):
        copied = build_network(
            BASES[recipe.base.name], recipe.base.image_size, recipe.head, 2,
            seed=recipe.seed, precision=recipe.policy,
        )  # fmt: skip
        copied.base.set_weights(network.base.get_weights())
    return copied


def _on_device(network: Network, device: str, compiled: Callable[[Network], Forward]) -> Forward:
    with tf.device(device):
        forward = compiled(network)

    def run(inputs: Array) -> Sequence[Array]:
        with tf.device(device):
            return forward(inputs)

    return run


def compute_in_order(
    batches: Iterable[Batch],
    inputs: Callable[[Batch], Array | None],
    forwards: Sequence[Forward],
) -> Iterator[tuple[Batch, Sequence[Array]]]:
    """Each batch with its rows, in order; whichever device is free takes the next one.

    A batch without inputs has no rows. With one forward pass nothing is computed ahead.
    """
    free: SimpleQueue[Forward] = SimpleQueue()
    for forward in forwards:
        free.put(forward)

    def compute(batch: Batch) -> Sequence[Array]:
        if (given := inputs(batch)) is None:
            return ()
        forward = free.get()
        try:
            return forward(given)
        finally:
            free.put(forward)

    if len(forwards) == 1:
        yield from ((batch, compute(batch)) for batch in batches)
        return
    waiting: deque[tuple[Batch, Future[Sequence[Array]]]] = deque()
    with WorkerPool(len(forwards), "device") as pool:
        for batch in batches:
            waiting.append((batch, pool.submit(compute, batch)))
            if len(waiting) > len(forwards):
                first, future = waiting.popleft()
                yield first, result_of(future)
        for first, future in waiting:
            yield first, result_of(future)
