"""The workers of a pass on Ray, and the batches that are on their way to them.

Ray could start a worker that was lost again, but the new process would hold no network, and calls
on their way could reach it. So a worker is one process here: one that is lost is replaced by
another, and what it had is given to whoever has room.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tlcli.cluster.ray_worker import ComputedRows
from tlcli.errors import Problem, TlcliError
from tlcli.images.loader import AHEAD, View
from tlcli.system import console, signals

#: Batches of a worker that are on their way: one in the network, the others being decoded.
IN_FLIGHT = AHEAD

#: Workers that a batch may end that have it alone; and for each worker, how many may end before any
#: batch.
MOST_TRIES = 3

#: Seconds between two looks at signals; and until a note says that the cluster has no room.
_LOOK_SECONDS, _PATIENCE_SECONDS = 0.5, 30.0


@dataclass(eq=False)
class _Worker:
    """A process that computes, and what it is doing.

    Attributes:
        preparing: the reference of its preparation; None once it is ready.
        batches: the references of what it computes.
        is_reserved: whether what it computes must be alone with it.
        is_lost: whether its process, or its node, is known to have ended.
    """

    actor: Any
    preparing: Any
    batches: set[Any] = field(default_factory=set)
    is_reserved: bool = False
    is_lost: bool = False

    def has_room(self, batch: _SentBatch) -> bool:
        """Whether it can take a batch; one that was lost with a worker must be alone."""
        most = 1 if batch.was_lost else IN_FLIGHT
        return self.preparing is None and not self.is_reserved and len(self.batches) < most


@dataclass
class _SentBatch:
    """Views that are computed together.

    Attributes:
        was_lost: whether it was on its way to a worker that ended; which of several batches has
            ended it cannot be known.
        tries: how many workers have ended that had this batch alone.
    """

    views: Sequence[View]
    was_lost: bool = False
    tries: int = 0


class RayPool:
    """Workers that compute batches of views, in any order.

    Args:
        ray: the module.
        create: starts a process of `RayWorker`.
        weights: the reference of what each is prepared with.
        count: how many there are at a time.
    """

    def __init__(self, ray: Any, create: Callable[[], Any], weights: Any, count: int) -> None:
        self._ray, self._create, self._weights = ray, create, weights
        self._workers = [self._start() for _ in range(count)]
        self._lost_at_start = 0

    def compute(
        self, batches: Sequence[Sequence[View]]
    ) -> Iterator[tuple[Sequence[View], ComputedRows]]:
        """The rows of each batch; what a lost worker had is given to another.

        Raises `TlcliError` where a node cannot compute the same rows, for an error of a worker, for
        a batch that ends one worker after the other, and where none lives until it is ready.
        """
        waiting = deque(map(_SentBatch, batches))
        running: dict[Any, tuple[_Worker, _SentBatch]] = {}
        patience = _WaitForRoom()
        while waiting or running:
            for worker in sorted(self._workers, key=lambda worker: len(worker.batches)):
                while waiting and worker.has_room(waiting[0]):
                    batch = waiting.popleft()
                    worker.is_reserved = batch.was_lost
                    reference = worker.actor.compute.remote(batch.views)
                    running[reference] = (worker, batch)
                    worker.batches.add(reference)
            preparing = {w.preparing: w for w in self._workers if w.preparing is not None}
            patience.look(bool(running) or len(preparing) < len(self._workers))
            for reference in self._wait([*running, *preparing]):
                if reference in preparing:
                    self._finish_preparing(preparing[reference])
                    continue
                worker, batch = running.pop(reference)
                if (computed := self._result(worker, batch, reference)) is None:
                    waiting.appendleft(batch)
                else:
                    worker.batches.discard(reference)
                    worker.is_reserved = False
                    self._lost_at_start = 0
                    yield batch.views, computed

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            self._ray.kill(worker.actor)

    def _start(self) -> _Worker:
        actor = self._create()
        return _Worker(actor, actor.prepare.remote(self._weights))

    def _replace(self, lost: _Worker) -> None:
        """Start another worker in the place of one, which may only seem to have ended."""
        lost.is_lost = True
        self._ray.kill(lost.actor)
        self._workers[self._workers.index(lost)] = self._start()

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
        except self._ray.exceptions.RayActorError as error:
            if error.actor_init_failed:  # by an exception, which another one would raise again
                raise _failure(error) from error
            self._lose_at_start(worker, error)
        except self._ray.exceptions.RayError as error:
            self._lose_at_start(worker, error)
        else:
            if problems:
                raise TlcliError(problems)

    def _lose_at_start(self, worker: _Worker, error: Exception) -> None:
        self._lost_at_start += 1
        if self._lost_at_start >= MOST_TRIES * len(self._workers):
            what = f"{self._lost_at_start} workers have ended before they could compute: "
            hint = "is there memory for them? --ray-workers starts fewer"
            raise TlcliError(Problem("Ray", what + _first_line(error), hint)) from error
        console.warn(f"Ray: a worker was lost while it started ({_first_line(error)})")
        self._replace(worker)

    def _result(self, worker: _Worker, batch: _SentBatch, reference: Any) -> ComputedRows | None:
        """The rows of a batch; None where its worker was lost."""
        try:
            computed: ComputedRows = self._ray.get(reference)
            return computed
        except self._ray.exceptions.RayTaskError as error:
            raise _failure(error) from error
        except self._ray.exceptions.RayError as error:
            batch.tries += batch.was_lost
            batch.was_lost = True
            if batch.tries >= MOST_TRIES:
                first, last = batch.views[0].path, batch.views[-1].path
                what = f"the batch from {first} to {last} has ended {MOST_TRIES} workers: "
                raise TlcliError(Problem("Ray", what + _first_line(error))) from error
            if not worker.is_lost:
                batches = console.counted(len(worker.batches), "batch")
                console.warn(f"Ray: a worker was lost ({_first_line(error)}); {batches} repeated")
                self._replace(worker)
            return None


class _WaitForRoom:
    """Says once that workers wait for room on the cluster."""

    def __init__(self) -> None:
        self._until, self._said = time.monotonic() + _PATIENCE_SECONDS, False

    def look(self, has_workers: bool) -> None:
        if has_workers:
            self._until = time.monotonic() + _PATIENCE_SECONDS
        elif not self._said and time.monotonic() > self._until:
            console.note("waiting for Ray to start workers: are its processors in use?")
            self._said = True


def _failure(error: Exception) -> TlcliError:
    hint = "the log of the worker is in Ray's folder of logs, /tmp/ray/session_latest/logs"
    return TlcliError(Problem("Ray", f"a worker failed: {_last_line(error)}", hint))


def _first_line(error: Exception) -> str:
    return console.one_line(str(error).strip().split("\n")[0])


def _last_line(error: Exception) -> str:
    return console.one_line(str(error).strip().split("\n")[-1])
