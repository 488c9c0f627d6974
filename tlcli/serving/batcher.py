"""One thread that computes for a model, and gathers what is asked of it into batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: What comes out for a photo.
Row = TypeVar("Row")


class Batcher(Generic[Row]):
    """Computes rows for pixels, in the order in which they were submitted.

    While the thread computes, what comes in waits and forms the next batch. A batch that is not
    full waits, for a moment, only as long as more photos are on their way.

    Args:
        compute: pixels (n, height, width, 3), n from 1 to `size` -> n rows. Only the thread of the
            batcher calls it.
        size: photos in a batch.
        wait: seconds that a batch waits for others at most.
        expected: how many photos are in the queue or on their way to it, this batch included.
        observe: called with the photos of a batch and the seconds that it took.
    """

    def __init__(
        self,
        compute: Callable[[Array], Sequence[Row]],
        *,
        size: int,
        wait: float,
        expected: Callable[[], int],
        observe: Callable[[int, float], None],
        name: str = "batcher",
    ) -> None:
        self._compute, self._size, self._wait = compute, size, wait
        self._expected, self._observe = expected, observe
        self._queue: SimpleQueue[tuple[Future[Row], Array] | None] = SimpleQueue()
        # A daemon, so that a computation that hangs does not keep the process from ending.
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, pixels: Array) -> Future[Row]:
        """Have the row of one photo computed, pixels (height, width, 3).

        A future that is cancelled before its batch begins costs nothing.
        """
        future: Future[Row] = Future()
        self._queue.put((future, pixels))
        return future

    def close(self) -> None:
        """End the thread once all that was submitted is computed."""
        self._queue.put(None)

    def _run(self) -> None:
        ended = False
        while not ended:
            first = self._queue.get()
            if first is None:
                return
            batch = [first]
            deadline = time.monotonic() + self._wait
            while len(batch) < self._size and not ended:
                try:
                    request = self._queue.get_nowait()
                except Empty:
                    left = deadline - time.monotonic()
                    if left <= 0 or self._expected() <= len(batch):
                        break
                    # In short steps, since those that were expected may have been given up.
                    try:
                        request = self._queue.get(timeout=min(left, 0.001))
                    except Empty:
                        continue
                if request is None:
                    ended = True
                else:
                    batch.append(request)
            self._answer(batch)
            del batch, first  # with their pixels, while the next request is waited for

    def _answer(self, batch: list[tuple[Future[Row], Array]]) -> None:
        wanted = [entry for entry in batch if entry[0].set_running_or_notify_cancel()]
        if not wanted:
            return
        started = time.perf_counter()
        try:
            rows = self._compute(np.stack([pixels for _, pixels in wanted]))
        except Exception as error:
            for future, _ in wanted:
                future.set_exception(error)
            return
        self._observe(len(wanted), time.perf_counter() - started)
        for (future, _), row in zip(wanted, rows, strict=True):
            future.set_result(row)
