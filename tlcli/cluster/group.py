"""Workers that train one run together: what they tell each other beside TensorFlow's sums.

Worker 0 is the middle: the others talk to it, and it passes on what concerns all. A worker that
ends in any other way than the good one ends all of them, since TensorFlow's sums would wait for it:
the main thread may stand still in one, so that another thread ends the process.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from tlcli.cluster.addresses import Workers
from tlcli.cluster.link import (
    BYTES,
    END,
    SIGN,
    SIGN_SECONDS,
    STOP,
    VALUE,
    Link,
    LinkError,
    parse_value,
)
from tlcli.errors import Problem, RunError, TlcliError
from tlcli.system import console, signals

#: Seconds in which the main thread may end by itself once a worker is lost.
GRACE_SECONDS = 10.0

#: Seconds that the reason may come after the end of a connection, or of a sum.
REASON_SECONDS = 5.0

_RESUME = "give the command on every worker again: training goes on after the last whole epoch"

_Message = tuple[bytes, bytes] | None


class Group:
    """The workers of a run, as one of them sees the others.

    Leaving its `with` block by an exception tells the others why.

    Args:
        workers: all of them, and which this is.
        links: from worker 0 to each other one, or from another one to worker 0.
        server: the host and port at which TensorFlow of each worker is reached.
    """

    def __init__(self, workers: Workers, links: Mapping[int, Link], server: Sequence[str]) -> None:
        self.number, self.count, self.servers = workers.number, len(workers.addresses), (*server,)
        self._workers, self._links = workers, links
        self._inbox: dict[int, SimpleQueue[_Message]] = {other: SimpleQueue() for other in links}
        self._lost: str | None = None
        self._is_lost, self._left = threading.Event(), threading.Event()
        self._timer: threading.Timer | None = None
        self._state = threading.Lock()
        for other, link in links.items():
            threading.Thread(target=self._listen, args=(other, link), daemon=True).start()
        threading.Thread(target=self._give_signs, daemon=True).start()

    def name(self, number: int) -> str:
        """What messages call a worker."""
        return self._workers.name(number)

    def exchange(self, value: Any) -> list[Any]:
        """What each worker gives here, by its number; JSON must be able to say it."""
        if self.number:
            self._send(self._links[0], VALUE, json.dumps(value).encode())
            values: list[Any] = parse_value(self._take(0, VALUE))
            return values
        values = [value, *(parse_value(self._take(n, VALUE)) for n in range(1, self.count))]
        content = json.dumps(values).encode()
        for link in self._links.values():
            self._send(link, VALUE, content)
        return values

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """The sums of what each worker gives, the same bits on all of them."""
        return [sum(column) for column in zip(*self.exchange([*numbers]), strict=True)]

    def share(self, content: bytes | None) -> bytes:
        """What worker 0 gives, on all workers; the others give None."""
        if self.number:
            return self._take(0, BYTES)
        assert content is not None
        for link in self._links.values():
            self._send(link, BYTES, content)
        return content

    def agree(self, what: str, value: Any) -> None:
        """Raise `RunError` on all workers where one has another value than worker 0."""
        values = self.exchange(value)
        problems = [
            Problem(self.name(number), f"has {what} than worker 0", "all workers need the same")
            for number, other in enumerate(values)
            if other != values[0]
        ]
        if problems:
            raise RunError(problems)

    def finish(self) -> None:
        """The good end, for which the others wait until worker 0 has come to it.

        Afterwards no worker needs another one, whatever it does for itself.
        """
        if self.number:
            self._take(0, END)
        self._left.set()
        self._send_to_all(END)

    def lost(self, error: BaseException) -> RunError | None:
        """The error of the group that an error of TensorFlow stands for, if it is one."""
        if not type(error).__module__.startswith("tensorflow"):
            return None
        with signals.interruptible():
            return self._error() if self._is_lost.wait(REASON_SECONDS) else None

    def __enter__(self) -> Group:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with self._state:
            has_finished, already = self._left.is_set(), self._lost is not None
            self._left.set()
        if self._timer is not None:
            self._timer.cancel()
        if error is None and not has_finished:
            self._send_to_all(END)
        elif error is not None and not (has_finished or already):
            self._send_to_all(STOP, self._why(error).encode())
        for link in self._links.values():
            link.close()

    def _send_to_all(self, kind: bytes, content: bytes = b"") -> None:
        """Send what those that have ended need not hear."""
        for link in self._links.values():
            with suppress(LinkError):
                link.send(kind, content)

    def _why(self, error: BaseException) -> str:
        own = self.name(self.number)
        if isinstance(error, TlcliError) and error.problems:
            return f"{own} has stopped: {error.problems[0]}"
        if isinstance(error, KeyboardInterrupt):
            return f"{own} was stopped"
        return f"{own} has stopped: {type(error).__name__}"

    def _take(self, other: int, kind: bytes) -> bytes:
        with signals.interruptible():
            message = self._inbox[other].get()
        if message is None or message[0] != kind:
            raise self._error()
        return message[1]

    def _send(self, link: Link, kind: bytes, content: bytes) -> None:
        try:
            link.send(kind, content)
        except LinkError:
            self._is_lost.wait(REASON_SECONDS)
            raise self._error() from None

    def _error(self) -> RunError:
        return RunError(Problem("", self._lost or "the workers have lost each other", _RESUME))

    def _listen(self, other: int, link: Link) -> None:
        ended = False
        while not ended:
            try:
                kind, content = link.receive()
            except LinkError as error:
                if not self._left.is_set():
                    self._lose(f"{self.name(other)} has ended: {error}")
                return
            if kind == STOP:
                self._lose(content.decode("utf-8", "replace"))
                return
            ended = kind == END
            if kind != SIGN:
                self._inbox[other].put((kind, content))

    def _lose(self, why: str) -> None:
        """Have this process end, and the others that it knows."""
        with self._state:
            if self._lost is not None or self._left.is_set():
                return
            self._lost = console.one_line(why)
            self._is_lost.set()
            self._timer = threading.Timer(GRACE_SECONDS, self._end_process)
            self._timer.daemon = True
            self._timer.start()
        self._send_to_all(STOP, why.encode())
        for inbox in self._inbox.values():
            inbox.put(None)

    def _end_process(self) -> None:
        if not self._left.is_set():
            console.error(str(self._error()))
            os._exit(1)

    def _give_signs(self) -> None:
        while not self._left.wait(SIGN_SECONDS):
            for link in self._links.values():
                with suppress(LinkError):
                    link.give_sign()
