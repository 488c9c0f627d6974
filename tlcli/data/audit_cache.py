"""The results of decoding image files, stored by content, so that a second check is instant.

One SQLite file in the cache folder: the hash of each file with its size and times of change, and
the result of decoding by that hash. So it serves a copy of a photo, a renamed folder and another
recipe as well. Two processes may share the file; where it cannot be used, nothing is stored and
everything else works.
"""

from __future__ import annotations

import importlib.util
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import PIL

from tlcli.data.hashing import FileState
from tlcli.errors import Kind, Problem
from tlcli.images import decode, formats
from tlcli.images.bit_depth import Depth
from tlcli.system import database
from tlcli.system.database import call_when_free
from tlcli.system.files import is_damaged_database

FILE = "audit.sqlite"

#: Stored with every result, so that a later version that inspects otherwise does so again.
VERSION = 3

# The largest number that SQLite holds; in nanoseconds, the year 2262.
_LARGEST = (1 << 63) - 1

#: Rows queried or written at a time.
_CHUNK = 500

# Earlier versions stored their results in `looks` and `files`, which are of no use any more.
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


# Between the method of an inspection and the bits that deep photos use, where a recipe gives them.
_DEPTH = "-depth-"


class Inspection(NamedTuple):
    """The result of decoding a file.

    Attributes:
        message, hint: why it cannot be decoded; empty where it can.
        format, mode: as in `decode.Facts`.
        width, height: of the upright image.
        flags: `TURNED`, `DEEP`, `TRANSPARENT`, `FLAT`, `CUT` and `DARK`, added up.
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
    def of_unusable(cls, problem: Problem) -> Inspection:
        """The result for a file that cannot be decoded."""
        return cls(problem.message, problem.hint, kind=problem.kind, detail=problem.detail)

    def problem(self, path: Path) -> Problem:
        """Why the file at `path`, of this content, cannot be decoded."""
        return Problem(str(path), self.message, self.hint, kind=self.kind, detail=self.detail)


_COLUMNS = ", ".join(Inspection._fields)

#: EXIF turns it; more than 8 bits; see-through in places; all one colour; ends in one grey; has no
#: value in the brighter three quarters of its range.
TURNED, DEEP, TRANSPARENT, FLAT, CUT, DARK = (1 << bit for bit in range(6))


def inspection_method(depth: Depth | None = None) -> str:
    """What results depend on beside the file: the version of the decoder, its limits, and the bits
    that deep photos use."""
    heif = importlib.util.find_spec("pillow_heif") is not None
    parts = (VERSION, decode.DECODER_VERSION, PIL.__version__, formats.pixel_limit(), int(heif))
    return "-".join(map(str, parts)) + (f"{_DEPTH}{depth}" if depth is not None else "")


def load_unusable(folder: Path, depth: Depth | None = None) -> dict[str, Inspection]:
    """The results of earlier checks for files that cannot be decoded, by hash."""
    if not (folder / FILE).exists():
        return {}
    with AuditCache(folder, depth) as cache:
        return cache.unusable()


def cache_bytes(folder: Path) -> int:
    """Bytes of the results stored in a cache folder; 0 where there are none."""
    total = 0
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):
            total += (folder / f"{FILE}{suffix}").stat().st_size
    return total


def prune_cache(folder: Path, *, everything: bool = False) -> tuple[int, int]:
    """Remove the results of other decoders and limits than those of today, or everything.

    Returns the number of files whose results were removed, and the bytes that this has freed. A
    cache that another command is using, or that cannot be written, stays as it is.
    """
    before = cache_bytes(folder)
    if not before:
        return 0, 0
    with AuditCache(folder) as cache:
        removed = cache.remove(everything=everything)
    return removed, max(0, before - cache_bytes(folder))


class AuditCache:
    """The cache as one command uses it, as a context manager.

    Where the file cannot be opened, or breaks meanwhile, it is empty and stores nothing. `depth` is
    that of the recipe, which results depend on.
    """

    def __init__(self, folder: Path, depth: Depth | None = None) -> None:
        self._method = inspection_method(depth)
        self._working_folder = ""
        self._base: sqlite3.Connection | None = None
        with suppress(OSError, sqlite3.Error):
            self._working_folder = os.getcwd()  # noqa: PTH109
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._open(folder / FILE)
            except sqlite3.DatabaseError as error:
                if not is_damaged_database(error):
                    raise
                (folder / FILE).unlink()  # damaged: every result can be computed again
                self._open(folder / FILE)

    def _open(self, path: Path) -> None:
        base = sqlite3.connect(path, timeout=database.STEP, isolation_level=None)
        try:
            # Readers and a writer may work at once.
            call_when_free(lambda: base.execute("PRAGMA journal_mode=WAL"))
            base.execute("PRAGMA synchronous=NORMAL")
            call_when_free(lambda: base.executescript(_TABLES))
        except BaseException:
            base.close()
            raise
        self._base = base

    def __enter__(self) -> AuditCache:
        return self

    def __exit__(self, *_: object) -> None:
        if self._base is not None:
            self._base.close()

    def digests(self, states: Mapping[Path, FileState]) -> dict[Path, str]:
        """The hashes of files that have had the same size and times of change ever since.

        The time of change of its contents can be set by anyone, as by `cp -p`; that of the file's
        entry cannot.
        """
        by_name = {self._name(path): path for path in states}
        names = [name for name, path in by_name.items() if _is_storable(name, states[path])]
        query = "SELECT path, digest, size, modified, changed FROM hashes WHERE path IN"
        return {
            by_name[name]: digest
            for name, digest, *state in self._select(query, names)
            if states[by_name[name]] == tuple(state)
        }

    def store_digests(self, digests: Mapping[Path, str], states: Mapping[Path, FileState]) -> None:
        """Store the hashes of files, with the states that they had before they were read."""
        named = ((self._name(path), path, digest) for path, digest in digests.items())
        rows = (
            (name, *states[path], digest)
            for name, path, digest in named
            if path in states and _is_storable(name, states[path])
        )
        self._write("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", rows)

    def inspections(self, digests: Iterable[str]) -> dict[str, Inspection]:
        """The results for files with those hashes, where there are any."""
        query = f"SELECT digest, {_COLUMNS} FROM looks2 WHERE way = ? AND digest IN"
        return {
            row[0]: Inspection._make(row[1:])
            for row in self._select(query, [*digests], self._method)
        }

    def unusable(self) -> dict[str, Inspection]:
        """The results for files that cannot be decoded, by hash."""
        unusable = {}
        with self._connection() as base:
            if base is not None:
                query = f"SELECT digest, {_COLUMNS} FROM looks2 WHERE way = ? AND message <> ''"
                for digest, *values in base.execute(query, [self._method]):
                    unusable[digest] = Inspection._make(values)
        return unusable

    def store_inspections(self, inspections: Mapping[str, Inspection]) -> None:
        """Store results by hash."""
        rows = ((digest, self._method, *inspection) for digest, inspection in inspections.items())
        marks = ", ".join("?" * (2 + len(Inspection._fields)))
        self._write(f"INSERT OR REPLACE INTO looks2 VALUES ({marks})", rows)

    def remove(self, *, everything: bool) -> int:
        """Remove results of other methods, or everything; returns the number of results."""
        removed = 0
        with self._connection() as base:
            if base is not None:
                condition = "" if everything else "WHERE way <> ? AND way NOT LIKE ?"
                values = [] if everything else [self._method, f"{self._method}{_DEPTH}%"]
                call_when_free(lambda: base.execute("BEGIN IMMEDIATE"))
                removed = base.execute(f"DELETE FROM looks2 {condition}", values).rowcount
                if everything:
                    base.execute("DELETE FROM hashes")
                base.execute("COMMIT")
                call_when_free(lambda: base.execute("VACUUM"))
                base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed

    def _name(self, path: Path) -> str:
        # Strings, as of many paths they are ten times as fast.
        name = os.fspath(path)
        return name if os.path.isabs(name) else os.path.join(self._working_folder, name)  # noqa: PTH117, PTH118

    def _select(self, query: str, keys: list[str], *values: str) -> Iterator[tuple[Any, ...]]:
        with self._connection() as base:
            if base is None:
                return
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                marks = ",".join("?" * len(chunk))
                yield from base.execute(f"{query} ({marks})", [*values, *chunk])

    def _write(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        with self._connection() as base:
            if base is not None:
                call_when_free(lambda: base.execute("BEGIN IMMEDIATE"))
                base.executemany(statement, rows)
                base.execute("COMMIT")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection | None]:
        """The open file; None from the first error on, since all of it can be computed again."""
        try:
            yield self._base
        except (sqlite3.Error, UnicodeEncodeError):
            with suppress(sqlite3.Error):
                if self._base is not None:
                    self._base.close()
            self._base = None


def _is_storable(name: str, state: FileState) -> bool:
    """Whether SQLite can hold them; other files, which are rare, are read every time."""
    if max(state) > _LARGEST or min(state) < -_LARGEST:
        return False
    try:
        return name.isascii() or bool(name.encode())
    except UnicodeEncodeError:
        return False
