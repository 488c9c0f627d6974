"""Ctrl-C and SIGTERM during long work: the first ends it after the current step, a second at once.

Long loops call `check` where it is safe to stop. What they have finished is on the disk by then, so
that a second signal, which gets the system's own treatment, loses nothing either.
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
_ignored = False  # nothing is left to stop


class Interrupted(KeyboardInterrupt):
    """Work that was asked to stop, at a point from which it can go on."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@contextmanager
def defer() -> Iterator[None]:
    """Let signals wait for the next `check`; a second one of a kind ends the process as usual.

    The end of the block is a check, too, unless it was said that the work is `done`.

    Signals that the process was started to ignore, as by nohup, stay ignored.
    """
    global _pending, _ignored
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {
        number: handler
        for number in _SIGNALS
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }

    def ask(number: int, frame: FrameType | None) -> None:
        global _pending
        _pending = number
        # Python runs handlers between its own steps, and one of the network can take long.
        signal.signal(number, signal.SIG_DFL)
        console.urgent("stopping after this step; the same signal again stops immediately")

    _pending, _ignored = None, False
    for number in before:
        signal.signal(number, ask)
    try:
        yield
        raise_if_interrupted()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _pending, _ignored = None, False


def raise_if_interrupted() -> None:
    """Raise `Interrupted` if a signal has come in time."""
    if _pending is not None and not _ignored:
        raise Interrupted(_pending)


def ignore_from_now_on() -> None:
    """From here on there is nothing that could be gone on with: a signal came too late."""
    global _ignored
    _ignored = True
