"""Who may write rows of a trunk: processes of one machine, each of which has a range of the photos.

SQLite needs locks that network file systems do not all keep, so that two machines could damage an
index. On such a file system a process leaves its name in the store while it writes, and processes
of other machines refuse to write beside it: they fill stores of their own, and `merge` joins them.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from tlcli.errors import Problem, StoreError
from tlcli.features.shares import WHOLE, Share
from tlcli.system import file_systems, locks
from tlcli.system.files import make_folder, write_json
from tlcli.system.range_locks import NoRangeLocksError, lock_range

#: The file of a trunk that the locks of shares are on; it stays empty.
SHARES_FILE = ".shares"

#: What the name of a writer's file begins with, in the folder of the store.
WRITER_FILE = ".writer-"

#: Seconds between two signs of life of a writer, and after how many it counts as ended.
SIGN_SECONDS, DEAD_SECONDS = 30.0, 600.0

#: The files with the name of this process, in the stores that it writes to.
_NAMES: set[Path] = set()


@contextmanager
def lock_share(trunk: Path, share: Share, *, waiting: str) -> Iterator[None]:
    """Be the only process that computes rows of a share in the folder of a trunk.

    Processes with other shares go on beside it. Where the system has no locks for parts of a file,
    they take turns. `waiting` is a few words on what another process does that is waited for.
    """
    with ExitStack() as stack:
        if share == WHOLE:
            stack.enter_context(locks.lock_folder(trunk, waiting=waiting))
        try:
            lock = lock_range(trunk / SHARES_FILE, share.hashes, waiting=waiting)
            stack.enter_context(lock)
        except NoRangeLocksError:
            if share != WHOLE:
                stack.enter_context(locks.lock_folder(trunk, waiting=waiting))
        yield


@contextmanager
def one_machine(store: Path) -> Iterator[None]:
    """Raise `StoreError` where the store is on a network, and another machine writes to it.

    Inside a block for the same store another one does nothing.
    """
    own = store / f"{WRITER_FILE}{socket.gethostname()}-{os.getpid()}.json"
    kind = file_systems.network_type(store)
    if kind is None or own in _NAMES:
        yield
        return
    make_folder(store)
    ended = threading.Event()
    signs = threading.Thread(target=_give_signs, args=(own, ended), daemon=True)
    write_json(own, asdict(locks.this_process()))
    _NAMES.add(own)
    try:
        # After the own name is there: of two that begin at once, at least one sees the other.
        _refuse_other_machines(store, own, kind)
        signs.start()
        yield
    finally:
        ended.set()
        _NAMES.discard(own)
        own.unlink(missing_ok=True)


def _give_signs(own: Path, ended: threading.Event) -> None:
    while not ended.wait(SIGN_SECONDS):
        with suppress(OSError):
            os.utime(own)


def find_other_writer(store: Path) -> Problem | None:
    """What keeps this machine from reading a store on a network: another one writes to it.

    SQLite's locks may not reach there, so that half a commit could be read. Nothing is changed.
    """
    if (kind := file_systems.network_type(store)) is None:
        return None
    for path, holder, age in _names_of_others(store, time.time()):
        if age <= DEAD_SECONDS:
            what = f"{holder} writes to it, and on {kind} it cannot be read meanwhile"
            hint = f"wait until that has ended (if it has, remove {path})"
            return Problem(str(store), what, hint)
    return None


def _refuse_other_machines(store: Path, own: Path, kind: str) -> None:
    now = own.stat().st_mtime  # by the clock of the file server, as all the others are
    for path, holder, age in _names_of_others(store, now):
        if age > DEAD_SECONDS:
            path.unlink(missing_ok=True)
            continue
        what = f"{holder} writes to it, and on {kind} only one machine may"
        hint = (
            "name a store of this machine with --cache-dir, and join them with `tlcli cache "
            f"merge` (if that process has ended, remove {path})"
        )
        raise StoreError(Problem(str(store), what, hint))


def _names_of_others(store: Path, now: float) -> Iterator[tuple[Path, locks.LockHolder, float]]:
    """The names that other machines have left in a store, and the seconds since their last sign."""
    for path in store.glob(f"{WRITER_FILE}*.json"):
        holder = locks.read_holder(path)
        if holder is None or holder.host == socket.gethostname():
            continue
        with suppress(FileNotFoundError):  # it has just ended
            yield path, holder, now - path.stat().st_mtime
