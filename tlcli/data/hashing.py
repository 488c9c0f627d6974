"""The content hashes of files: what identifies a photo, whatever its name and place."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from tlcli.errors import DataError, Problem, reason
from tlcli.system import console, object_stores
from tlcli.system.machine import usable_processors
from tlcli.system.threads import map_in_order

_CHUNK = 1 << 20

#: Files whose states are held at once, which bounds memory for any number of them.
_AT_ONCE = 10_000


#: Size, and times of the last change of contents and of the file's entry in nanoseconds.
FileState = tuple[int, int, int]


class DigestCache(Protocol):
    """Content hashes of files that have not changed since."""

    def digests(self, states: Mapping[Path, FileState]) -> dict[Path, str]:
        """The stored hashes of files that are in these states still."""

    def store_digests(self, digests: Mapping[Path, str], states: Mapping[Path, FileState]) -> None:
        """Store the hashes of files, with the states that they had before they were read."""


class Look(Protocol):
    """What looks at files while they are read; see `images.decode.HeaderCheck`."""

    def look(self, path: Path, begin: bytes, *, is_whole: bool) -> None:
        """Look at a file, given the bytes that it begins with; called by several threads."""


def hash_file(path: Path, look: Look | None = None) -> str:
    """Hex SHA-256 of a file's bytes. Raises DataError for a file that cannot be read."""
    sha = hashlib.sha256()
    try:
        with _opened(path) as stream:
            begin = chunk = stream.read(_CHUNK)
            while chunk:
                sha.update(chunk)
                chunk = stream.read(_CHUNK)
            is_whole = len(begin) < _CHUNK
    except OSError as error:
        raise DataError(unreadable_file(path, reason(error))) from error
    if look is not None:
        look.look(path, begin, is_whole=is_whole)
    return sha.hexdigest()


def _opened(path: Path) -> BinaryIO:
    """The bytes of a file, or of an object in a store. Raises OSError, and DataError for others."""
    if address := object_stores.store_address(path):
        return io.BytesIO(object_stores.read_object(address))
    if not stat.S_ISREG(mode := path.stat().st_mode):  # reading a pipe would wait for ever
        what = "is a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise DataError(unreadable_file(path, what))
    return path.open("rb")


def hash_files(
    paths: Sequence[Path], cache: DigestCache | None = None, look: Look | None = None
) -> tuple[list[str], dict[Path, Problem]]:
    """The hash of each file, read in threads, and what keeps some from being read.

    The hashes are in the order of `paths`, empty for files that cannot be read. `look` is shown
    every file that is read, and so none that `cache` knows.
    """
    every: list[str] = []
    unread: dict[Path, Problem] = {}
    with console.progress(len(paths), "reading photos", unit="photos") as progress:
        for start in range(0, len(paths), _AT_ONCE):
            some = [*paths[start : start + _AT_ONCE]]
            digests: dict[Path, str] = {}
            if cache is None:
                _hash_some(some, digests, unread, progress, look)
            else:
                _hash_unknown(some, cache, digests, unread, progress, look)
            every += [digests.get(path, "") for path in some]
    return every, unread


def _hash_unknown(
    paths: Sequence[Path],
    cache: DigestCache,
    digests: dict[Path, str],
    unread: dict[Path, Problem],
    progress: console.Progress,
    look: Look | None,
) -> None:
    """Add the hashes of files, of which a cache has some, and gets the others."""
    # Taken before the files are read, so that a change meanwhile is noticed next time.
    states = file_states(paths)
    known = cache.digests(states)
    digests |= known
    progress.update(len(known))
    new: dict[Path, str] = {}
    try:
        _hash_some([path for path in paths if path not in known], new, unread, progress, look)
    finally:  # after an interruption the next command need not read these files again
        cache.store_digests(new, states)
    digests |= new


def _hash_some(
    paths: Sequence[Path],
    digests: dict[Path, str],
    unread: dict[Path, Problem],
    progress: console.Progress,
    look: Look | None,
) -> None:
    def hash_or_problem(path: Path) -> str | Problem:
        try:
            return hash_file(path, look)
        except DataError as error:
            return error.problems[0]

    workers = min(16, 2 * usable_processors())
    with closing(map_in_order(hash_or_problem, paths, workers=workers)) as outcomes:
        for path, outcome in zip(paths, outcomes, strict=True):
            if isinstance(outcome, Problem):
                unread[path] = outcome
            else:
                digests[path] = outcome
            progress.update(1)


def file_states(paths: Iterable[Path]) -> dict[Path, FileState]:
    """The states of those files that exist."""
    states = {}
    for path in paths:
        with suppress(OSError, ValueError):
            status = os.stat(path)  # noqa: PTH116 - of many paths, quicker
            states[path] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return states


def unreadable_file(path: Path, what: str) -> Problem:
    """The problem of a file that cannot be read."""
    return Problem(str(path), f"cannot be read: {what}", "make it readable, or remove it")
