"""What was found in image files, remembered by content, so that a second check is instant.

One SQLite file in the cache folder: the hash of each file with the size and times of change it had,
and by that hash what decoding the file told. A copy of a photo, a renamed folder or another recipe
finds everything known. Two processes may share the file; where it cannot be used, nothing is
remembered and everything else works.
"""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import PIL

from tlcli.errors import Kind, Problem
from tlcli.images import decode, formats
from tlcli.system.files import is_damaged_database

FILE = "audit.sqlite"

#: Part of what is remembered, so that another way of looking looks again.
VERSION = 2

#: Seconds to wait for another process that writes.
_PATIENCE = 30.0

#: Seconds between two tries where SQLite does not wait by itself.
_PAUSE = 0.01

# What SQLite can hold; in nanoseconds, the year 2262. A file of another time is read every time.
_LARGEST = (1 << 63) - 1

#: Rows asked for or written at a time.
_CHUNK = 500

# What earlier versions remembered, in `looks` and `files`, is no use here, and takes room.
_TABLES = """
DROP TABLE IF EXISTS looks;
DROP TABLE IF EXISTS files;
CREATE TABLE IF NOT EXISTS hashes (
    path TEXT PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER, digest TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS looks2 (
    digest TEXT, way TEXT, message TEXT, hint TEXT, format TEXT, mode TEXT, width INTEGER,
    height INTEGER, flags INTEGER, thumbnail BLOB, kind TEXT, detail TEXT,
    PRIMARY KEY (digest, way)
) WITHOUT ROWID;
"""


class Inspection(NamedTuple):
    """What decoding a file told.

    Attributes:
        message, hint: why it cannot be decoded; empty where it can.
        format, mode: as in `decode.Facts`.
        width, height: of the upright image.
        flags: `TURNED`, `DEEP`, `TRANSPARENT`, `FLAT` and `CUT`, added up.
        thumbnail: the bytes of `near_duplicates.thumbnail`.
        kind, detail: as in `Problem`, where it cannot be decoded.
    """

    message: str = ""
    hint: str = ""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    flags: int = 0
    thumbnail: bytes = b""
    kind: Kind = ""
    detail: str = ""

    @classmethod
    def of(cls, problem: Problem) -> Inspection:
        """What a file that cannot be decoded told."""
        return cls(problem.message, problem.hint, kind=problem.kind, detail=problem.detail)

    def problem(self, path: Path) -> Problem:
        """Why the file at `path`, of this content, cannot be decoded."""
        said = (str(path), self.message, self.hint)
        return Problem(*said, kind=self.kind, detail=self.detail)


_COLUMNS = ", ".join(Inspection._fields)

#: EXIF turns it; more than 8 bits; see-through in places; all one colour; ends in one grey.
TURNED, DEEP, TRANSPARENT, FLAT, CUT = (1 << bit for bit in range(5))


def inspection_method() -> str:
    """How files are looked at here: what is found may differ with the decoder and its limits."""
    heif = importlib.util.find_spec("pillow_heif") is not None
    parts = (VERSION, decode.DECODER_VERSION, PIL.__version__, formats.pixel_limit(), int(heif))
    return "-".join(map(str, parts))


def load_unusable(folder: Path) -> dict[str, Inspection]:
    """What an earlier check has found of files that cannot be decoded, by hash."""
    if not (folder / FILE).exists():
        return {}
    with AuditCache(folder) as memory:
        return memory.unusable()


def cache_bytes(folder: Path) -> int:
    """Bytes of what is remembered in a cache folder; 0 where nothing is."""
    total = 0
    for end in ("", "-wal", "-shm"):
        with suppress(OSError):
            total += (folder / f"{FILE}{end}").stat().st_size
    return total


def prune_cache(folder: Path, *, everything: bool = False) -> tuple[int, int]:
    """Forget what was found in other ways of looking than those of this version and its settings.

    Returns the number of files forgotten, and the bytes that this has freed. What another command
    is busy with, or what cannot be written, stays.
    """
    before = cache_bytes(folder)
    if not before:
        return 0, 0
    with AuditCache(folder) as memory:
        forgotten = memory.forget(everything=everything)
    return forgotten, max(0, before - cache_bytes(folder))


class AuditCache:
    """The memory of one command; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._way = inspection_method()
        self._here = ""
        self._stats: dict[str, tuple[int, int, int]] = {}
        self._base: sqlite3.Connection | None = None
        with suppress(OSError, sqlite3.Error):
            self._here = os.getcwd()  # noqa: PTH109
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._open(folder / FILE)
            except sqlite3.DatabaseError as error:
                if not is_damaged_database(error):
                    raise
                (folder / FILE).unlink()  # damaged: everything in it can be found again
                self._open(folder / FILE)

    def _open(self, path: Path) -> None:
        base = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        try:
            _switch_to_wal(base)
            base.execute("PRAGMA synchronous=NORMAL")
            base.executescript(_TABLES)
        except sqlite3.Error:
            base.close()
            raise
        self._base = base

    def __enter__(self) -> AuditCache:
        return self

    def __exit__(self, *_: object) -> None:
        if self._base is not None:
            self._base.close()

    def digests(self, paths: Sequence[Path]) -> dict[Path, str]:
        """The hashes of files that have had the same size and times of change ever since.

        The time of change of its contents can be set by anyone, as by `cp -p`; that of the file's
        entry cannot.
        """
        by_name = {}
        for path in paths:
            name = self._name(path)
            try:
                # Taken before the file is read, so that a change meanwhile is noticed next time.
                status = os.stat(name)  # noqa: PTH116 - of many paths, quicker
                # SQLite keeps text; the rare name that is none is read every time.
                name.isascii() or name.encode()
            except (OSError, ValueError):
                continue
            stat = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if max(stat) <= _LARGEST and min(stat) >= -_LARGEST:
                self._stats[name] = stat
                by_name[name] = path
        known = {}
        query = "SELECT path, digest, size, modified, changed FROM hashes WHERE path IN"
        for name, digest, *then in self._ask(query, list(by_name)):
            if self._stats[name] == tuple(then):
                known[by_name[name]] = digest
        return known

    def keep(self, digests: Mapping[Path, str]) -> None:
        """Remember the hashes of files that `digests` was asked for."""
        named = ((self._name(path), digest) for path, digest in digests.items())
        rows = ((name, *self._stats[name], digest) for name, digest in named if name in self._stats)
        self._tell("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", rows)

    def looks(self, digests: Iterable[str]) -> dict[str, Inspection]:
        """What is known of files with those hashes."""
        query = f"SELECT digest, {_COLUMNS} FROM looks2 WHERE way = ? AND digest IN"
        return {
            row[0]: Inspection._make(row[1:]) for row in self._ask(query, [*digests], self._way)
        }

    def unusable(self) -> dict[str, Inspection]:
        """What is known of files that cannot be decoded, by hash."""
        found = {}
        with self._forgiving() as base:
            if base is not None:
                query = f"SELECT digest, {_COLUMNS} FROM looks2 WHERE way = ? AND message <> ''"
                for digest, *told in base.execute(query, [self._way]):
                    found[digest] = Inspection._make(told)
        return found

    def keep_looks(self, looks: Mapping[str, Inspection]) -> None:
        """Remember what was found, by hash."""
        rows = ((digest, self._way, *look) for digest, look in looks.items())
        marks = ", ".join("?" * (2 + len(Inspection._fields)))
        self._tell(f"INSERT OR REPLACE INTO looks2 VALUES ({marks})", rows)

    def forget(self, *, everything: bool) -> int:
        """Drop looks of other ways, or all that is known; returns how many looks that were."""
        forgotten = 0
        with self._forgiving() as base:
            if base is not None:
                condition = "" if everything else "WHERE way <> ?"
                values = [] if everything else [self._way]
                forgotten = base.execute(f"DELETE FROM looks2 {condition}", values).rowcount
                if everything:
                    base.execute("DELETE FROM hashes")
                base.execute("VACUUM")
                base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return forgotten

    def _name(self, path: Path) -> str:
        # Strings, as of many paths they are ten times as fast.
        name = os.fspath(path)
        return name if os.path.isabs(name) else os.path.join(self._here, name)  # noqa: PTH117, PTH118

    def _ask(self, query: str, keys: list[str], *first: str) -> Iterator[tuple[Any, ...]]:
        with self._forgiving() as base:
            if base is None:
                return
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                marks = ",".join("?" * len(chunk))
                yield from base.execute(f"{query} ({marks})", [*first, *chunk])

    def _tell(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        with self._forgiving() as base:
            if base is not None:
                base.execute("BEGIN IMMEDIATE")
                base.executemany(statement, rows)
                base.execute("COMMIT")

    @contextmanager
    def _forgiving(self) -> Iterator[sqlite3.Connection | None]:
        """A damaged, locked or full memory is none: what it would save is computed instead."""
        try:
            yield self._base
        except (sqlite3.Error, UnicodeEncodeError):
            with suppress(sqlite3.Error):
                if self._base is not None:
                    self._base.close()
            self._base = None


def _switch_to_wal(base: sqlite3.Connection) -> None:
    """Let readers and a writer work at once; waits for others, as the statement itself does not."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            base.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)
