"""Who uses a folder: a lock that any number of processes share, and that removing it takes alone.

The system's file lock on one file decides, so that a process that was killed uses nothing. What is
in the file names who came last. Where a system or file system has no such locks nothing is kept
from anybody.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from tlcli.system import locks
from tlcli.system.files import make_folder

try:
    import fcntl
except ImportError:  # not on Windows, where open files cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

#: The file that is locked; no user's.
IN_USE_FILE = ".in-use"


class SharedLock:
    """A share in the use of a folder, which is made if need be; until it is closed.

    Somebody who is removing the folder is waited for. Raises `OSError` where it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._handle: int | None = None
        while self._handle is None:
            make_folder(folder)
            with suppress(FileNotFoundError, BlockingIOError):  # it is being removed
                self._handle = _open_locked(folder / IN_USE_FILE, exclusive=False)
                return
            time.sleep(locks.POLL_SECONDS)

    def close(self) -> None:
        """Let go of it; once more does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


@contextmanager
def lock_exclusively(folder: Path) -> Iterator[None]:
    """Keep everybody else from a folder; raises `locks.LockHeldError` where somebody uses it."""
    path = folder / IN_USE_FILE
    try:
        handle = _open_locked(path, exclusive=True)
    except BlockingIOError:
        holder = locks.read_holder(path)
        # The last who came may have gone, and another one still be there.
        raise locks.LockHeldError(None if holder is None or holder.dead else holder) from None
    try:
        yield
    finally:
        os.close(handle)


def _open_locked(path: Path, *, exclusive: bool) -> int:
    """Open and lock the file; raises `BlockingIOError` where somebody is in the way, and
    `FileNotFoundError` where it was removed meanwhile."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except OSError as error:
                if not locks.means_no_locks(error):
                    raise
        if not _is_at(handle, path):
            raise FileNotFoundError(path)
        with suppress(OSError):  # the name is for people alone, and a full disk no reason to fail
            text = json.dumps(asdict(locks.this_process())).encode()
            os.ftruncate(handle, os.pwrite(handle, text, 0))
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
