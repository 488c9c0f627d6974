"""Extraction on Ray: workers on all nodes compute batches, and this process stores their rows.

Actors are used, not Ray Data: the batches are known, and the order in which they come back is no
matter, so that nothing is left for Ray Data to do but to bring pandas and PyArrow along. A few
batches for each worker are on their way at any time, so that memory does not grow with the photos.
One process writes the store, on its machine.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.cluster.ray_options import RayOptions
from tlcli.cluster.ray_pool import IN_FLIGHT, RayPool
from tlcli.cluster.ray_worker import Job, RayWorker
from tlcli.errors import Problem, TlcliError, reason
from tlcli.features.forward_pass import ComputedBatch, store_rows
from tlcli.features.passes import Pass
from tlcli.features.store import TrunkRows
from tlcli.images.loader import split_into_chunks
from tlcli.system import console
from tlcli.system.machine import usable_processors

if TYPE_CHECKING:
    from tlcli.networks.network import Network
    from tlcli.recipe.recipe import Recipe

#: The variable that says how many threads TensorFlow computes with, which can decide last bits.
_THREADS = "TF_NUM_INTRAOP_THREADS"


def check_ray() -> None:
    """Raise `TlcliError` where Ray is not installed; it is not imported, which takes a second."""
    if importlib.util.find_spec("ray") is None:
        hint = "install it with pip install 'tlcli[ray]'"
        raise TlcliError(Problem("", "Ray is not installed", hint))


def require_ray() -> Any:
    """The module `ray`; raises what `check_ray` does."""
    check_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    # Ray would print what its processes report to stdout, among the results; errors are raised.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    # As Ray is going to behave; until then it warns.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    return ray


@contextmanager
def ray_cluster(options: RayOptions) -> Iterator[RayExtractor]:
    """What computes passes on a cluster, until the block ends.

    Raises `TlcliError` where Ray is missing, or the cluster cannot be reached.
    """
    ray = require_ray()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with console.waiting("starting Ray ..." if options.address is None else "joining Ray ..."):
            ray.init(
                address=options.address or "local", include_dashboard=False, log_to_driver=False,
                logging_level=logging.ERROR, configure_logging=True,
                **({} if options.address else {"num_cpus": usable_processors()}),
            )  # fmt: skip
    except Exception as error:  # Ray raises errors of many kinds here
        where = f"--ray-address {options.address}" if options.address else "Ray"
        hint = "start a node with `ray start`, or leave --ray-address out for this machine alone"
        raise TlcliError(Problem(where, f"cannot be joined: {reason(error)}", hint)) from error
    finally:
        for number, handler in handlers.items():  # Ray has its own
            signal.signal(number, handler)
    try:
        yield RayExtractor(ray, options)
    finally:
        ray.shutdown()


class RayExtractor:
    """Computes passes of an extraction that start from photos, on the nodes of a cluster."""

    def __init__(self, ray: Any, options: RayOptions) -> None:
        self._ray, self._options, self._batch = ray, options, 1

    def run_pass(
        self, network: Network, recipe: Recipe, step: Pass, rows: Mapping[str, TrunkRows]
    ) -> Iterator[ComputedBatch]:
        """Compute and commit batch by batch, in the order in which they come back.

        Raises `TlcliError` where a node cannot compute the same rows, and for a batch that ends one
        worker after the other.
        """
        from tlcli.networks.network import forward_batch

        self._batch = forward_batch()
        job = Job(
            recipe,
            step.targets,
            bool(rows[step.targets[0]].pooling),
            {target: rows[target].description for target in step.targets},
            step.views[0].path,
        )
        pool = self._start(job, network, len(step.views))
        try:
            for views, computed in pool.compute([*split_into_chunks(step.views, self._batch)]):
                if computed.readable:
                    store_rows(recipe, step.targets, computed.readable, computed.rows, rows)
                yield ComputedBatch(len(views), computed.readable, np.empty(0), computed.errors)
        finally:
            pool.close()

    def _start(self, job: Job, network: Network, views: int) -> RayPool:
        threads = _thread_count()
        nodes = self._nodes()
        most = -(-views // self._batch)
        with_gpus = [(n["GPU"], n.get("CPU", 0.0)) for n in nodes if n.get("GPU", 0) >= 1]
        if with_gpus:
            count, gpus, processors = share_gpus(with_gpus, self._options.workers, most)
        else:
            sizes = [node["CPU"] for node in nodes if node.get("CPU")]
            count, processors = share_out(sizes, threads, self._options.workers)
            count, gpus = min(count, most), 0.0
        actor = self._ray.remote(RayWorker).options(
            num_cpus=processors, num_gpus=gpus, max_restarts=0,
            max_concurrency=IN_FLIGHT + 1, scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {_THREADS: str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}},
        )  # fmt: skip
        weights = self._ray.put(network.base.get_weights())
        console.note(
            f"Ray: {console.counted(count, 'worker')} of {console.counted(threads, 'thread')} on "
            f"{console.counted(len(nodes), 'node')}"
        )
        return RayPool(self._ray, lambda: actor.remote(job), weights, count)

    def _nodes(self) -> list[dict[str, float]]:
        """The resources of each node that lives."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]


def _thread_count() -> int:
    """The threads of a worker: as many as this process would have, so that rows have its bits."""
    named = os.environ.get(_THREADS, "")
    return int(named) if named.isdecimal() and int(named) else usable_processors()


def share_out(sizes: Sequence[float], threads: int, workers: int | None) -> tuple[int, float]:
    """How many workers nodes of some numbers of processors have, and the processors of each.

    A node with fewer processors than a worker has threads gets one where all nodes are as small;
    beside larger ones it gets none. `workers` is how many are asked for. Raises `TlcliError` where
    there are no processors.
    """
    if not sizes:
        raise TlcliError(Problem("Ray", "no node of the cluster has processors to give"))
    large = [size for size in sizes if size >= threads]
    each = float(threads if large else min(sizes))
    count = workers or (sum(int(size // threads) for size in large) if large else len(sizes))
    if workers:
        each = min(each, max(1.0, sum(sizes) // count))
        each = each if each * count <= sum(sizes) else sum(sizes) / count
    return count, each


def share_gpus(
    sizes: Sequence[tuple[float, float]], workers: int | None, most: int
) -> tuple[int, float, float]:
    """How many workers nodes with GPUs have, and the parts of a GPU and of a processor of each.

    `sizes` are the GPUs and processors of the nodes, `workers` is how many workers are asked for,
    and `most` how many have something to do. Where they are more than the GPUs, several share one;
    where they are more than the processors, too.
    """
    total = sum(int(gpus) for gpus, _ in sizes)
    count = min(workers or total, most)
    on_each = -(-count // total)
    processors = min(processors / (int(gpus) * on_each) for gpus, processors in sizes)
    return count, _rounded_down(1 / on_each), _rounded_down(min(1.0, processors))


def _rounded_down(part: float) -> float:
    """A part in the steps in which Ray counts, so that as many of them fit as were meant to."""
    return math.floor(part * 10_000) / 10_000
