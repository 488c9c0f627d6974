"""Extraction on Ray: workers on all nodes compute batches, and this process stores their rows.

Actors are used, not Ray Data: the batches are known, and the order in which they come back is no
matter, so that nothing is left for Ray Data to do but to bring pandas and PyArrow along. A few
batches for each worker are on their way at any time, so that memory does not grow with the photos.
One process writes the store, on its machine.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.cluster.ray_options import RayOptions
from tlcli.cluster.ray_worker import ComputedRows, Job, RayWorker
from tlcli.errors import Problem, TlcliError, reason
from tlcli.features.forward_pass import ComputedBatch, store_rows
from tlcli.features.passes import Pass
from tlcli.features.store import TrunkRows
from tlcli.images.loader import AHEAD, View, split_into_chunks
from tlcli.system import console, signals
from tlcli.system.machine import usable_processors

if TYPE_CHECKING:
    from tlcli.networks.network import Network
    from tlcli.recipe.recipe import Recipe

#: Batches of a worker that are on their way: one in the network, the others being decoded.
IN_FLIGHT = AHEAD

#: Times that a batch may end its worker.
MOST_TRIES = 3

#: Seconds between two looks at signals; and until a note says that the cluster has no room.
_LOOK_SECONDS, _PATIENCE_SECONDS = 0.5, 30.0

#: The variable that says how many threads TensorFlow computes with, which can decide last bits.
_THREADS = "TF_NUM_INTRAOP_THREADS"


def require_ray() -> Any:
    """The module `ray`; raises `TlcliError` where it is not installed."""
    if importlib.util.find_spec("ray") is None:
        hint = "install it with pip install 'tlcli[ray]'"
        raise TlcliError(Problem("", "Ray is not installed", hint))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
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


@dataclass
class _Worker:
    """A worker, and what it is doing.

    Attributes:
        weights: the reference of what it is prepared with.
        preparing: the reference of its preparation; None once it is ready.
    """

    actor: Any
    weights: Any
    preparing: Any = None
    batches: set[Any] = field(default_factory=set)

    @property
    def has_room(self) -> bool:
        return self.preparing is None and len(self.batches) < IN_FLIGHT

    def prepare(self) -> None:
        """Have it build its network; anew where its process was lost, which Ray starts again."""
        self.preparing = self.actor.prepare.remote(self.weights)


@dataclass
class _SentBatch:
    """Views that are computed together, and how often that has failed."""

    views: Sequence[View]
    tries: int = 0


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
        workers = self._start(job, network, len(step.views))
        try:
            for views, computed in self._compute(workers, step.views):
                if computed.readable:
                    store_rows(recipe, step.targets, computed.readable, computed.rows, rows)
                yield ComputedBatch(len(views), computed.readable, np.empty(0), computed.errors)
        finally:
            for worker in workers:
                self._ray.kill(worker.actor)

    def _start(self, job: Job, network: Network, views: int) -> list[_Worker]:
        threads = int(os.environ.get(_THREADS) or usable_processors())
        count, processors, gpus = self._share_out(threads)
        count = min(count, -(-views // self._batch))
        actor = self._ray.remote(RayWorker).options(
            num_cpus=processors, num_gpus=gpus, max_restarts=-1, max_concurrency=IN_FLIGHT + 1,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {_THREADS: str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}},
        )  # fmt: skip
        weights = self._ray.put(network.base.get_weights())
        console.note(
            f"Ray: {console.counted(count, 'worker')} of {console.counted(threads, 'thread')} on "
            f"{console.counted(len(self._nodes()), 'node')}"
        )
        workers = [_Worker(actor.remote(job), weights) for _ in range(count)]
        for worker in workers:
            worker.prepare()
        return workers

    def _nodes(self) -> list[dict[str, float]]:
        """The resources of each node that lives."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _share_out(self, threads: int) -> tuple[int, float, float]:
        """How many workers, and the processors and GPUs of each.

        A worker has as many threads as this process would have, so that its rows have the same
        bits; a node that has fewer processors gets one worker.
        """
        nodes = self._nodes()
        processors = [node.get("CPU", 0) for node in nodes if node.get("CPU", 0)]
        if gpus := int(sum(node.get("GPU", 0) for node in nodes)):
            return self._options.workers or gpus, 1, 1
        if not processors:
            raise TlcliError(Problem("Ray", "no node of the cluster has processors to give"))
        each = min(threads, *processors)
        count = self._options.workers or sum(max(1, int(n // each)) for n in processors)
        if self._options.workers:
            each = min(each, max(1, sum(processors) // count))
            each = each if each * count <= sum(processors) else sum(processors) / count
        return count, each, 0

    def _compute(
        self, workers: list[_Worker], views: Sequence[View]
    ) -> Iterator[tuple[Sequence[View], ComputedRows]]:
        """The rows of each batch of the views; what a lost worker had is given to another."""
        waiting = deque(_SentBatch(chunk) for chunk in split_into_chunks(views, self._batch))
        running: dict[Any, tuple[_Worker, _SentBatch]] = {}
        patience = _WaitForRoom()
        while waiting or running:
            for worker in sorted(workers, key=lambda worker: len(worker.batches)):
                while waiting and worker.has_room:
                    batch = waiting.popleft()
                    reference = worker.actor.compute.remote(batch.views)
                    running[reference] = (worker, batch)
                    worker.batches.add(reference)
            preparing = {w.preparing: w for w in workers if w.preparing is not None}
            patience.look(bool(running) or len(preparing) < len(workers))
            for reference in self._wait([*running, *preparing]):
                if reference in preparing:
                    self._finish_preparing(preparing[reference])
                    continue
                worker, batch = running.pop(reference)
                worker.batches.discard(reference)
                if (computed := self._result(worker, batch, reference)) is None:
                    waiting.appendleft(batch)
                else:
                    yield batch.views, computed

    def _wait(self, references: list[Any]) -> list[Any]:
        """Those that are done, at least one."""
        while True:
            signals.raise_if_interrupted()
            done, _ = self._ray.wait(references, timeout=_LOOK_SECONDS)
            if done:
                return list(done)

    def _finish_preparing(self, worker: _Worker) -> None:
        reference, worker.preparing = worker.preparing, None
        try:
            problems = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise _failure(error) from error
        except self._ray.exceptions.RayError as error:
            if "creation task" in str(error):
                raise _failure(error) from error
            worker.prepare()  # its process was lost meanwhile
        else:
            if problems:
                raise TlcliError(problems)

    def _result(self, worker: _Worker, batch: _SentBatch, reference: Any) -> ComputedRows | None:
        """The rows of a batch; None where its worker was lost."""
        try:
            computed: ComputedRows = self._ray.get(reference)
            return computed
        except self._ray.exceptions.RayTaskError as error:
            raise _failure(error) from error
        except self._ray.exceptions.RayError as error:
            batch.tries += 1
            if batch.tries >= MOST_TRIES:
                first, last = batch.views[0].path, batch.views[-1].path
                what = f"the batch from {first} to {last} has ended {MOST_TRIES} workers: "
                raise TlcliError(Problem("Ray", what + _first_line(error))) from error
            if worker.preparing is None:
                console.warn(
                    f"Ray: a worker was lost ({_first_line(error)}); its batch is repeated"
                )
                worker.prepare()
            return None


class _WaitForRoom:
    """Says once that workers wait for room on the cluster."""

    def __init__(self) -> None:
        import time

        self._now = time.monotonic
        self._until, self._said = self._now() + _PATIENCE_SECONDS, False

    def look(self, has_workers: bool) -> None:
        if has_workers:
            self._until = self._now() + _PATIENCE_SECONDS
        elif not self._said and self._now() > self._until:
            console.note("waiting for Ray to start workers: are its processors in use?")
            self._said = True


def _failure(error: Exception) -> TlcliError:
    hint = "the log of the worker is in Ray's folder of logs, /tmp/ray/session_latest/logs"
    return TlcliError(Problem("Ray", f"a worker failed: {_last_line(error)}", hint))


def _first_line(error: Exception) -> str:
    return console.one_line(str(error).strip().split("\n")[0])


def _last_line(error: Exception) -> str:
    return console.one_line(str(error).strip().split("\n")[-1])
