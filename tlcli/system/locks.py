"""Locks between processes, which end with their process and say who holds them.

The system's file lock decides, so that a process that was killed holds nothing. A file beside it
names the holder: process id, host and time. Where a file system has no locks, that file decides
alone, and a holder on this host that no longer lives is recognised.
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

#: The lock's two files in the folder it stands for; neither is a user's.
LOCK_FILES = LOCK_FILE, HOLDER_FILE = ".lock", ".lock.json"

#: Seconds between two looks at a lock that somebody else holds.
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class LockHolder:
    """Who holds a lock; `since` is UTC in ISO 8601."""

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return console.one_line(f"process {self.pid} on {self.host}, since {self.since}")

    @property
    def dead(self) -> bool:
        """Whether it is known to live no more; of another host nothing is known."""
        if self.host != socket.gethostname():
            return False
        if not 0 < self.pid < 2**31:  # no system has such a process
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # somebody else's process
            return False
        return False


class LockHeldError(Exception):
    """Somebody else holds the lock.

    Attributes:
        file: what alone says so, where the file system has no locks.
    """

    def __init__(self, holder: LockHolder | None, file: Path | None = None) -> None:
        super().__init__(holder)
        self.holder, self.file = holder, file

    def __str__(self) -> str:
        text = str(self.holder or "another process")
        return text if self.file is None else f"{text} (if that has ended, remove {self.file})"


@contextmanager
def lock_folder(folder: Path, *, waiting: str | None = None) -> Iterator[LockHolder | None]:
    """Hold the lock of a folder; yields the holder that died while holding it, if one did.

    With `waiting`, which says for what, a held lock is waited for, and a note names its holder.
    Raises `Held` otherwise, and `OSError` where the folder cannot be written.
    """
    lock = filelock.FileLock(folder / LOCK_FILE, timeout=0, is_singleton=False)
    told = False
    while True:
        try:
            by_system, left = _acquire(lock, folder)
            break
        except LockHeldError as held:
            if waiting is None:
                raise
            if not told:
                console.note(f"waiting for {held} ({waiting})")
                told = True
            signals.raise_if_interrupted()
            time.sleep(POLL_SECONDS)
    try:
        if by_system:
            write_json(folder / HOLDER_FILE, asdict(this_process()))
        try:
            yield left
        finally:
            with suppress(OSError):
                (folder / HOLDER_FILE).unlink()
    finally:
        if by_system:
            lock.release()


def is_locked(folder: Path) -> bool:
    """Whether somebody holds the lock of a folder."""
    try:
        with filelock.FileLock(folder / LOCK_FILE, timeout=0, is_singleton=False):
            return False
    except filelock.Timeout:
        return True
    except (NotImplementedError, OSError):
        holder = read_holder(folder / HOLDER_FILE)
        return (folder / HOLDER_FILE).exists() and (holder is None or not holder.dead)


def remove_lock_files(folder: Path) -> None:
    """Remove what a lock leaves in a folder; only its holder may."""
    for name in reversed(LOCK_FILES):
        with suppress(OSError):
            (folder / name).unlink()


def _acquire(lock: filelock.BaseFileLock, folder: Path) -> tuple[bool, LockHolder | None]:
    """Take the lock: whether the system keeps it, and not the holder's file, and who left it."""
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
    """Make the holder's file, which only one process can, and return the dead one of before."""
    left = None
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            break
        except FileExistsError:
            left = read_holder(path)
            if left is None or not left.dead:  # None: it is being written, or nobody can tell
                raise LockHeldError(left, path) from None
            _remove_dead_holder(path, left)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json_text(asdict(this_process())))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return left


def _remove_dead_holder(path: Path, dead: LockHolder) -> None:
    """Remove the file of a dead holder, unless another process has put its own there by now."""
    away = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        path.rename(away)
        if read_holder(away) != dead:
            away.rename(path)
        away.unlink(missing_ok=True)


def means_no_locks(error: OSError) -> bool:
    """Whether a file system says that it has none."""
    return error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def this_process() -> LockHolder:
    """This process."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return LockHolder(os.getpid(), socket.gethostname(), now)


def read_holder(path: Path) -> LockHolder | None:
    """The holder that a file names, or None where it names none."""
    try:
        values = read_json(path)
        pid, host, since = int(values["pid"]), str(values["host"]), str(values["since"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return LockHolder(pid, host, since)
