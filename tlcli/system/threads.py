"""Work on many things in threads, a few ahead of whoever takes the results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

#: Pieces of work that are handed out ahead, for each thread. `Executor.map` hands out all of them
#: at once, which costs more than a kilobyte for each.
AHEAD = 16


def in_order(
    work: Callable[[Given], Made], items: Iterable[Given], *, workers: int
) -> Generator[Made, None, None]:
    """The result of `work` on each item, in the order of the items.

    An error that `work` raises is raised where its result would be. Whoever stops listening, as
    after Ctrl-C, waits for the pieces that have begun and for no others.
    """
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
