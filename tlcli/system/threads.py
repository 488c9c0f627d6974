"""Work in threads that nobody has to wait for: pools of them, maps over many items, time limits.

`concurrent.futures` waits for what is running when a pool ends, and again when Python does. A file
on a network drive that does not answer would keep a command from ending, so the threads here are
daemons: they are left alone when a command is stopped, and end with the process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from tlcli.system import signals

Item = TypeVar("Item")
Result = TypeVar("Result")

#: The most items that are submitted ahead of the consumer, for each thread. `Executor.map` submits
#: all items at once, which costs more than a kilobyte for each.
MAX_AHEAD = 16

_Task = tuple["Future[Any]", Callable[[], Any]]


class WorkerPool:
    """At most `workers` threads that do what is submitted, in order.

    The end of its `with` block drops what has not begun, and does not wait for what has.
    """

    def __init__(self, workers: int, name: str = "worker") -> None:
        self._workers, self._name = workers, name
        self._threads: list[Thread] = []
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()

    def submit(self, work: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Have a thread call `work(item)`; `result_of` gives what it returns or raises."""
        future: Future[Result] = Future()
        self._tasks.put((future, lambda: work(item)))
        if len(self._threads) < self._workers:
            name = f"{self._name}-{len(self._threads)}"
            self._threads.append(_start(_do_all, self._tasks, name=name))
        return future

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what has not begun, and let the threads end."""
        while True:
            try:
                task = self._tasks.get_nowait()
            except Empty:
                break
            if task is not None:
                task[0].cancel()
        for _ in self._threads:
            self._tasks.put(None)


def result_of(future: Future[Result]) -> Result:
    """The result of submitted work, once there is one; the first signal ends the wait."""
    with signals.interruptible():
        return future.result()


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Generator[Result, None, None]:
    """The result of `work` on each item, in the order of the items.

    An error of `work` is raised at the place of its result. Closing the generator drops the items
    that have not begun; those that are being worked on are not waited for.
    """
    waiting: deque[Future[Result]] = deque()
    with WorkerPool(workers) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > MAX_AHEAD * workers:
                yield result_of(waiting.popleft())
        while waiting:
            yield result_of(waiting.popleft())


def call_within(
    seconds: float, work: Callable[[], Result], drop: Callable[[Result], object]
) -> Result:
    """The result of `work`; raises `TimeoutError` if there is none after some seconds.

    The first signal ends the wait. In both cases the work goes on in its thread; should it have a
    result in the end, `drop` is called with that.
    """
    future: Future[Result] = Future()

    def drop_late(late: Future[Result]) -> None:
        if late.exception() is None:
            drop(late.result())

    _start(_do, future, work, name="limited")
    try:
        with signals.interruptible():
            return future.result(seconds)
    except BaseException:
        future.add_done_callback(drop_late)
        raise


def _start(target: Callable[..., None], *arguments: object, name: str) -> Thread:
    thread = Thread(target=target, args=arguments, name=name, daemon=True)
    thread.start()
    return thread


def _do_all(tasks: SimpleQueue[_Task | None]) -> None:
    while (task := tasks.get()) is not None:
        _do(*task)
        del task  # with its result, which can be large, while the next task is waited for


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
        del future  # which the traceback would keep alive, in a circle
