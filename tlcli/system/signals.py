"""Ctrl-C and SIGTERM during long work: the first ends it after the current step, a second at once.

Long loops call `raise_if_interrupted` where it is safe to stop. What they have finished is on the
disk by then, so that a second signal, which ends the process at once, loses nothing either.

A wait is no step: nothing is gained by waiting to its end. What may wait for long (for the network,
for another process, for a file that a thread reads) does so in `interruptible`, where the first
signal ends it at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tlcli.system import console

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

_pending: int | None = None
_blocks = 0  # of `defer` that are entered
_ignored = False  # the work is complete: nothing is left to stop
_waiting = False  # nothing is being done: there is no step to finish


class Interrupted(KeyboardInterrupt):
    """A signal has ended the work, at a point from which it can be resumed."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@contextmanager
def defer() -> Iterator[None]:
    """Have signals in the block wait until `raise_if_interrupted` is called.

    A second signal of the same kind ends the process, as usual.

    Its beginning and its end call it too, so that no signal is lost, unless `ignore_from_now_on`
    was called. In a block inside of another that says of the inner one alone that it is complete:
    a signal that came afterwards waits for the outer one. Signals that the process was started to
    ignore, as by nohup, stay ignored.
    """
    global _pending, _ignored, _blocks
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    raise_if_interrupted()
    before = {
        number: handler
        for number in _SIGNALS
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }

    def remember(number: int, frame: FrameType | None) -> None:
        global _pending
        _pending = number
        # A handler in Python would run only between two steps of Python, and a step of the network
        # can take long. The system's own handler ends the process at once.
        signal.signal(number, signal.SIG_DFL)
        if _waiting:
            raise_if_interrupted()
        console.urgent("stopping after this step; the same signal again stops immediately")

    outer, _blocks = _ignored, _blocks + 1
    for number in before:
        signal.signal(number, remember)
    try:
        yield
        raise_if_interrupted()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _ignored, _blocks = outer, _blocks - 1
        if not _blocks:
            _pending = None


@contextmanager
def interruptible() -> Iterator[None]:
    """Have a signal raise `Interrupted` at once in this block, also within `defer`.

    For waits, and for work that can be dropped anywhere. Outside of `defer` a signal does what it
    does by default, which is no less.
    """
    global _waiting
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone
        return
    before, _waiting = _waiting, True
    try:
        raise_if_interrupted()
        yield
    finally:
        _waiting = before


def raise_if_interrupted() -> None:
    """Raise `Interrupted` if a signal has arrived and the work is not complete."""
    if _pending is not None and not _ignored:
        raise Interrupted(_pending)


def ignore_from_now_on() -> None:
    """Ignore signals until the end of the block: the work is complete, with nothing to resume."""
    global _ignored
    _ignored = True
