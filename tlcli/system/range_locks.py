"""Locks on a range of numbers: processes whose ranges do not overlap hold theirs side by side.

The lock is that of the system on these bytes of a file, which stays empty: bytes can be locked that
are not there. The system releases the locks of a process that is killed. A process must not open
the file for anything else, since closing it would release its locks.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tlcli.system import console, locks, signals

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

#: `struct flock` of Linux: type, whence, start, length, process.
_FLOCK = "hhqqi"


class NoRangeLocksError(Exception):
    """The system, or the file system, has no such locks."""


@contextmanager
def lock_range(path: Path, numbers: range, *, waiting: str) -> Iterator[None]:
    """Hold the lock on `numbers`, counted from 0, of the file at `path`, which is made.

    While another process holds a lock that overlaps, this waits, and a note names it; `waiting` is
    a few words on what it does. Raises `NoRangeLocksError` where there are no such locks, and
    `OSError` for a folder that cannot be written.
    """
    if fcntl is None:
        raise NoRangeLocksError
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(path, flags, 0o666)
    try:
        announced = False
        while not _try_lock(handle, numbers):
            if not announced:
                console.note(f"waiting for {_holder(handle, numbers)} ({waiting})")
                announced = True
            signals.raise_if_interrupted()
            time.sleep(locks.POLL_SECONDS)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int, numbers: range) -> bool:
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, len(numbers), numbers.start)
    except (BlockingIOError, PermissionError):  # systems use either number for a held lock
        return False
    except OSError as error:
        if locks.means_no_locks(error):
            raise NoRangeLocksError from error
        raise
    return True


def _holder(handle: int, numbers: range) -> str:
    """The process that holds a lock in the way, where the system says which it is."""
    if sys.platform == "linux":
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, numbers.start, len(numbers), 0)
        with suppress(OSError, struct.error):
            *_, process = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))
            if process > 0:
                return f"process {process}"
    return "another process"
