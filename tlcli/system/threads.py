"""Work on many things in threads, a few ahead of whoever takes the results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Pieces of work that are handed out ahead, for each thread. `Executor.map` hands out all of them
#: at once, which costs more than a kilobyte for each.
MAX_AHEAD = 16


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Generator[Result, None, None]:
    """The result of `work` on each item, in the order of the items.

    An error that `work` raises is raised where its result would be. Whoever stops listening, as
    after Ctrl-C, waits for the pieces that have begun and for no others.
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
