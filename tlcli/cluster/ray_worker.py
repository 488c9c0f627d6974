"""The worker of an extraction on Ray: it holds the network, and computes batches of views.

It runs in a process of Ray, on any node of a cluster. Several threads call it at once: while one
batch is in the network, the photos of the next ones are read and decoded.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from tlcli.errors import Problem, TlcliError
from tlcli.images.loader import PixelSettings, View, load_batches
from tlcli.recipe.recipe import Recipe
from tlcli.system import object_stores
from tlcli.system.object_stores import store_address

Array = npt.NDArray[Any]

_SAME_PATH = "the photos must lie at the same path on every node, or in an object store"


@dataclass(frozen=True)
class Job:
    """What every worker of a pass computes.

    Attributes:
        recipe: with a precision that is decided.
        targets: the boundaries, from the lowest to the highest.
        pooled: whether rows are means over space.
        addresses: of the rows at each target, as they must come out on every node.
        example: a photo that every node must be able to read.
    """

    recipe: Recipe
    targets: tuple[str, ...]
    pooled: bool
    addresses: dict[str, dict[str, Any]]
    example: Path


@dataclass(frozen=True)
class ComputedRows:
    """The rows of a batch at each target, of the views that could be read; errors by photo."""

    readable: Sequence[View]
    rows: list[Array]
    errors: dict[Path, Problem]


class RayWorker:
    """One copy of the frozen part of the network."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._computing = threading.Lock()
        self._settings = PixelSettings.from_recipe(job.recipe)
        self._forward: Any = None

    def prepare(self, weights: list[Array]) -> list[Problem]:
        """Build the network with the weights of the base; what keeps it from computing the rows."""
        with self._computing:
            return self._check_photo() or self._build(weights)

    def compute(self, views: Sequence[View]) -> ComputedRows:
        """The rows of a batch.

        Raises `TlcliError` for a photo that this node cannot reach: the process that asks has read
        it for its hash.
        """
        (batch,) = load_batches([views], self._settings)
        for problem in batch.errors.values():
            if problem.kind == "no access":
                where = f"{problem.where} on {socket.gethostname()}"
                raise TlcliError(replace(problem, where=where, hint=_SAME_PATH))
        if not batch.readable:
            return ComputedRows([], [], batch.errors)
        with self._computing:
            rows = self._forward(batch.pixels)
        return ComputedRows(batch.readable, [*rows], batch.errors)

    def _check_photo(self) -> list[Problem]:
        path = self._job.example
        address = store_address(path)
        if object_stores.exists(address) if address else path.exists():
            return []
        where = f"{path} on {socket.gethostname()}"
        return [Problem(where, "no such file", _SAME_PATH)]

    def _build(self, weights: list[Array]) -> list[Problem]:
        from tlcli.features.forward_pass import compile_pass
        from tlcli.features.passes import Pass
        from tlcli.networks.bases import BASES
        from tlcli.networks.framework import tf
        from tlcli.networks.network import build_network

        job, recipe = self._job, self._job.recipe
        if recipe.deterministic:
            tf.config.experimental.enable_op_determinism()
        network = build_network(
            BASES[recipe.base.name], recipe.base.image_size, recipe.head, 2,
            seed=recipe.seed, precision=recipe.policy,
        )  # fmt: skip
        network.base.set_weights(weights)
        problems = _compare_addresses(network, job)
        self._forward = compile_pass(network, Pass(None, job.targets, []), pooled=job.pooled)
        return problems


def _compare_addresses(network: Any, job: Job) -> list[Problem]:
    """What would give the rows of this node another address than on the machine that asks."""
    from tlcli.features.addresses import trunk_address

    checksums = network.checksums(job.targets)
    problems = []
    for target in job.targets:
        address = trunk_address(
            network.row, job.recipe, target, checksums[target], pooled=job.pooled
        ).as_dict()
        asked = job.addresses[target]
        # How rows are kept is no matter: an earlier version of tlcli may have begun the store.
        keys = asked.keys() - {"dtype", "shape"}
        differing = sorted(key for key in keys if asked[key] != address.get(key))
        for key in differing:
            what = f"its rows would differ: {key} is {address.get(key)} there, {asked[key]} here"
            hint = "install the same versions of tlcli and of its libraries on every node"
            problems.append(Problem(socket.gethostname(), what, hint))
        if differing:
            break
    return problems
