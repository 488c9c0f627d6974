"""Locks between processes that end with their process and name their holder.

The lock is a file lock of the system, which is released when its process is killed. A second file
names the holder: process id, host and time. On a file system without locks the existence of that
second file is the lock; it does not count if its holder was a process of this host that has ended.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import filelock

from tlcli.system import console, signals
from tlcli.system.files import json_text, read_json, write_json

#: The lock's two files in the folder that it protects; neither belongs to the user.
LOCK_FILES = LOCK_FILE, HOLDER_FILE = ".lock", ".lock.json"

#: Seconds between two tries to get a lock that another process holds.
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class LockHolder:
    """The process that holds a lock; `since` is UTC in ISO 8601."""

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return console.one_line(f"process {self.pid} on {self.host}, since {self.since}")

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to have ended; of another host nothing is known."""
        # Windows has no signal 0: it would be a Ctrl-C for the other process.
        if self.host != socket.gethostname() or os.name == "nt":
            return False
        if not 0 < self.pid < 2**31:  # no system has such a process
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # it runs, and belongs to another user
            return False
        return False


class LockHeldError(Exception):
    """Another process holds the lock.

    Attributes:
        holder: that process, if it is known.
        file: the file whose existence is the lock, on a file system without locks.
    """

    def __init__(self, holder: LockHolder | None, file: Path | None = None) -> None:
        super().__init__(holder)
        self.holder, self.file = holder, file

    def __str__(self) -> str:
        text = str(self.holder or "another process")
        return text if self.file is None else f"{text} (if that has ended, remove {self.file})"


@contextmanager
def lock_folder(folder: Path, *, waiting: str | None = None) -> Iterator[LockHolder | None]:
    """Hold the lock of a folder; yields the last holder if its process ended without releasing it.

    With `waiting`, a few words on what the holder is doing, a held lock is waited for, and a note
    names its holder. Without, it raises `LockHeldError`. Raises `OSError` for a folder that cannot
    be written.
    """
    lock = filelock.FileLock(folder / LOCK_FILE, timeout=0, is_singleton=False)
    announced = False
    while True:
        try:
            by_system, previous = _acquire(lock, folder)
            break
        except LockHeldError as held:
            if waiting is None:
                raise
            if not announced:
                console.note(f"waiting for {held} ({waiting})")
                announced = True
            signals.raise_if_interrupted()
            time.sleep(POLL_SECONDS)
    try:
        if by_system:
            write_json(folder / HOLDER_FILE, asdict(this_process()))
        try:
            yield previous
        finally:
            with suppress(OSError):
                (folder / HOLDER_FILE).unlink()
    finally:
        if by_system:
            lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of a folder."""
    try:
        with filelock.FileLock(folder / LOCK_FILE, timeout=0, is_singleton=False):
            return False
    except filelock.Timeout:
        return True
    except (NotImplementedError, OSError):
        holder = read_holder(folder / HOLDER_FILE)
        return (folder / HOLDER_FILE).exists() and (holder is None or not holder.is_dead)


def remove_lock_files(folder: Path) -> None:
    """Remove the files of a lock; only its holder may call this."""
    for name in reversed(LOCK_FILES):
        with suppress(OSError):
            (folder / name).unlink()


def _acquire(lock: filelock.BaseFileLock, folder: Path) -> tuple[bool, LockHolder | None]:
    """Take the lock; whether it is one of the system, and the last holder if it did not release it.

    Without locks of the system the holder's file is the lock.
    """
    try:
        lock.acquire()
    except filelock.Timeout:
        raise LockHeldError(read_holder(folder / HOLDER_FILE)) from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and not means_no_locks(error):
            raise
        return False, _acquire_by_file(folder / HOLDER_FILE)
    return True, read_holder(folder / HOLDER_FILE)


def _acquire_by_file(path: Path) -> LockHolder | None:
    """Create the holder's file, as only one process can; returns the dead holder of an old one."""
    previous = None
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            break
        except FileExistsError:
            previous = read_holder(path)
            # None: the file is being written now, or cannot be read.
            if previous is None or not previous.is_dead:
                raise LockHeldError(previous, path) from None
            _remove_dead_holder(path, previous)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json_text(asdict(this_process())))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return previous


def _remove_dead_holder(path: Path, dead: LockHolder) -> None:
    """Remove the file of a dead holder, unless another process has put its own there meanwhile."""
    # Renamed first: only then is it sure which file is read, and removed.
    away = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        path.rename(away)
        if read_holder(away) != dead:
            away.rename(path)
        away.unlink(missing_ok=True)


def means_no_locks(error: OSError) -> bool:
    """Whether the error is that of a file system without locks."""
    return error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def this_process() -> LockHolder:
    """This process as a holder, from now on."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return LockHolder(os.getpid(), socket.gethostname(), now)


def read_holder(path: Path) -> LockHolder | None:
    """The holder that a file names, or None for a missing or damaged file."""
    try:
        values = read_json(path)
        pid, host, since = int(values["pid"]), str(values["host"]), str(values["since"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return LockHolder(pid, host, since)
