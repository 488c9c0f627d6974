"""SQLite files that other processes use: waiting for them in steps, so that a signal ends it.

SQLite itself waits inside of one call, in which Python can handle no signal.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from tlcli.system import signals

Result = TypeVar("Result")

#: Seconds to wait for another process that writes; and after a signal, when what was done by then
#: is stored.
BUSY_TIMEOUT, LAST_TIMEOUT = 30.0, 0.3

#: Seconds that SQLite waits in one call: the timeout of a connection. And between two calls, since
#: some statements do not wait at all.
STEP, _PAUSE = 0.2, 0.01


def call_when_free(work: Callable[[], Result], timeout: float = BUSY_TIMEOUT) -> Result:
    """Call `work` until no other process is in its way; it must have done nothing when one is.

    Returns what `work` does. Raises `sqlite3.OperationalError` when another process has been in the
    way for `timeout` seconds, and whatever else `work` raises.
    """
    stopped = isinstance(sys.exception(), KeyboardInterrupt)
    deadline = time.monotonic() + (LAST_TIMEOUT if stopped else timeout)
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        if not stopped:
            signals.raise_if_interrupted()
        time.sleep(_PAUSE)
