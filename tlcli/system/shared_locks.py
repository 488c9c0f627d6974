"""Locks on folders in use: any number of processes use a folder, or one removes it.

A process that uses the folder holds a shared lock on one file in it, and a process that removes the
folder needs the exclusive one. The system releases the locks of a process that is killed. The file
names the process that locked it last. On systems and file systems without such locks nothing is
protected.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from tlcli.system import locks, signals
from tlcli.system.files import make_folder

try:
    import fcntl
except ImportError:  # not on Windows, where open files cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

#: The file that is locked; it does not belong to the user.
IN_USE_FILE = ".in-use"


class SharedLock:
    """A shared lock on a folder, held until it is closed. A missing folder is made.

    While another process is removing the folder, this waits, and makes it anew. Raises `OSError`
    for a folder that cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._handle: int | None = None
        while self._handle is None:
            make_folder(folder)
            with suppress(FileNotFoundError, BlockingIOError):  # it is being removed
                self._handle = _open_locked(folder / IN_USE_FILE, exclusive=False)
                return
            signals.raise_if_interrupted()
            time.sleep(locks.POLL_SECONDS)

    def close(self) -> None:
        """Release the lock; calling it again does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


@contextmanager
def lock_exclusively(folder: Path) -> Iterator[None]:
    """Keep all other processes from using a folder; raises `locks.LockHeldError` if one uses it."""
    path = folder / IN_USE_FILE
    try:
        handle = _open_locked(path, exclusive=True)
    except BlockingIOError:
        holder = locks.read_holder(path)
        # The file names the last of several users. If that process has ended, an earlier one is
        # still there, and nobody knows its name.
        raise locks.LockHeldError(None if holder is None or holder.is_dead else holder) from None
    try:
        yield
    finally:
        os.close(handle)


def _open_locked(path: Path, *, exclusive: bool) -> int:
    """Open and lock the file; returns its handle.

    Raises `BlockingIOError` if another process's lock excludes this one, and `FileNotFoundError` if
    the file was removed meanwhile.
    """
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
        # Only people read the name, so a full disk is no reason to fail.
        with suppress(OSError):
            text = json.dumps(asdict(locks.this_process())).encode()
            os.lseek(handle, 0, os.SEEK_SET)
            os.ftruncate(handle, os.write(handle, text))
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_at(handle: int, path: Path) -> bool:
    """Whether the file at a path is still the one that was opened."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
