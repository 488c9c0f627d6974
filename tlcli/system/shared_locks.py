"""Locks on folders in use: any number of processes use a folder, or one removes it.

A process that uses the folder holds a shared lock on one file in it, and a process that removes the
folder needs the exclusive one. The system releases the locks of a process that is killed. The file
names the process that locked it last. On systems and file systems without such locks nothing is
protected.
"""

from __future__ import annotations

import errno
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


class ReadLock:
    """A shared lock on a folder in which nothing changes, not even the name of the last holder.

    A folder that no process has locked before has no file to lock: it is not protected. Raises
    `FileNotFoundError` for a folder that another process is removing.

    Attributes:
        used_by: another process that has the folder locked now; None for nobody.
    """

    def __init__(self, folder: Path) -> None:
        self._handle: int | None = None
        self.used_by: str | None = None
        path = folder / IN_USE_FILE
        with suppress(FileNotFoundError):
            self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        if self._handle is None or fcntl is None:
            return
        try:
            if not _try_lock(self._handle, exclusive=True):
                self.used_by = str(_held_error(path))
            if not _try_lock(self._handle, exclusive=False):
                what = "another process is removing it"
                raise FileNotFoundError(errno.ENOENT, what, str(folder))
        except BaseException:
            self.close()
            raise

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
        raise _held_error(path) from None
    try:
        yield
    finally:
        os.close(handle)


def _held_error(path: Path) -> locks.LockHeldError:
    """The error that names who holds a lock.

    The file names the last of several users. If that process has ended, an earlier one is still
    there, and nobody knows its name.
    """
    holder = locks.read_holder(path)
    return locks.LockHeldError(None if holder is None or holder.is_dead else holder)


def _open_locked(path: Path, *, exclusive: bool) -> int:
    """Open and lock the file; returns its handle.

    Raises `BlockingIOError` if another process's lock excludes this one, and `FileNotFoundError` if
    the file was removed meanwhile.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        if not _try_lock(handle, exclusive=exclusive):
            raise BlockingIOError
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


def _try_lock(handle: int, *, exclusive: bool) -> bool:
    """Lock an open file, unless another process's lock excludes it; True without such locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # NFS locks exclusively only what is open for writing.
        if not (locks.means_no_locks(error) or error.errno == errno.EBADF):
            raise
    return True


def _is_at(handle: int, path: Path) -> bool:
    """Whether the file at a path is still the one that was opened."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
