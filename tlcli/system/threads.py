"""Map a function over many items in threads, only a few items ahead of the consumer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: The most items that are submitted ahead of the consumer, for each thread. `Executor.map` submits
#: all items at once, which costs more than a kilobyte for each.
MAX_AHEAD = 16


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Generator[Result, None, None]:
    """The result of `work` on each item, in the order of the items.

    An error of `work` is raised at the place of its result. Closing the generator, as Ctrl-C does,
    waits for the items that are being worked on, and drops those that have not begun.
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > MAX_AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
