"""The SQLite index of a trunk's rows: how it is opened, and its errors in words."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tlcli.errors import Problem, StoreError, reason
from tlcli.features.shards import ShardError
from tlcli.system import files
from tlcli.system.database import STEP, Result, call_when_free

#: Seconds to wait for another process that is committing.
BUSY_TIMEOUT = 60.0

INDEX = "index.sqlite"

SCHEMA = """
CREATE TABLE IF NOT EXISTS shards (id INTEGER PRIMARY KEY, file TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS rows (
    image BLOB NOT NULL, view TEXT NOT NULL, shard INTEGER NOT NULL, row INTEGER NOT NULL,
    crc32 INTEGER NOT NULL, PRIMARY KEY (image, view)
) WITHOUT ROWID;
"""

# SQLite keeps any type of value in any column, and its own check does not look at types.
_HAS_WRONG_TYPES = """
SELECT EXISTS(
    SELECT 1 FROM rows WHERE typeof(image) != 'blob' OR typeof(view) != 'text'
    OR typeof(shard) != 'integer' OR typeof(row) != 'integer' OR typeof(crc32) != 'integer'
) OR EXISTS(SELECT 1 FROM shards WHERE typeof(file) != 'text')
"""


def open_index(index: Path) -> sqlite3.Connection:
    """Open an index, a new one where there is none.

    Raises `sqlite3.DatabaseError` where it is damaged, and `StoreError` for a link.
    """
    refuse_link(index)
    connection = sqlite3.connect(index, timeout=STEP, check_same_thread=False)
    try:
        wait_for_index(lambda: connection.executescript(SCHEMA))
    except BaseException:
        connection.close()
        raise
    return checked(connection)


def checked(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The same index; `sqlite3.DatabaseError` where it is damaged, and it is closed."""
    try:
        (damage,) = fetch_all(connection, "PRAGMA quick_check(1)")[0]
        (has_wrong_types,) = fetch_all(connection, _HAS_WRONG_TYPES)[0]
        if damage != "ok" or has_wrong_types:
            what = damage if damage != "ok" else "it holds values of another kind"
            raise sqlite3.DatabaseError(what)
    except BaseException:
        connection.close()
        raise
    return connection


def open_index_to_read(index: Path) -> sqlite3.Connection:
    """Open an index to read it; neither the file nor anything beside it changes.

    An empty one in memory stands for one that a process has only begun. Where a process was killed
    in a commit, which the next writer undoes, it is undone in a copy in memory. Raises
    `sqlite3.DatabaseError` where it is damaged.
    """
    if not index.exists():
        return _in_memory()
    address = f"file:{quote(str(index.absolute()))}?mode=ro"
    connection = sqlite3.connect(address, timeout=STEP, check_same_thread=False, uri=True)
    try:
        ((tables,),) = fetch_all(connection, "SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_ROLLBACK:
            return _without_half_a_commit(index)
        raise
    except BaseException:
        connection.close()
        raise
    if tables:
        return connection
    connection.close()
    return _in_memory()


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.executescript(SCHEMA)
    return connection


def _without_half_a_commit(index: Path) -> sqlite3.Connection:
    """A copy in memory, taken back to where a commit that was killed had begun."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    with tempfile.TemporaryDirectory(prefix="tlcli-index-") as folder:
        for path in (index, index.with_name(f"{INDEX}-journal")):
            shutil.copyfile(path, Path(folder) / path.name)
        with closing(sqlite3.connect(Path(folder) / INDEX)) as copy:
            copy.backup(connection)
    return connection


def wait_for_index(work: Callable[[], Result]) -> Result:
    """Do `work` on an index once no other process is committing to it; a signal ends the wait."""
    return call_when_free(work, BUSY_TIMEOUT)


def fetch_all(
    connection: sqlite3.Connection, query: str, values: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    """All rows of a query, as `wait_for_index` does it.

    An open query would keep other processes from committing.
    """
    return wait_for_index(lambda: connection.execute(query, values).fetchall())


def commit(
    connection: sqlite3.Connection, statement: str, entries: Sequence[tuple[object, ...]]
) -> int:
    """Change an index in one transaction, as `wait_for_index` does it.

    Returns the id of the row that the last of `entries` has inserted.
    """

    def change() -> int:
        with connection:  # which rolls back where another process is in the way
            cursor = connection.cursor()
            for entry in entries:
                cursor.execute(statement, entry)
            return cursor.lastrowid or 0

    return wait_for_index(change)


def refuse_link(path: Path) -> None:
    """Raise `StoreError` for a link in the store: writing to it would change its target."""
    if path.is_symlink():
        raise StoreError(Problem(str(path), "is a link in the feature store", "remove the link"))


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn errors of the system, of SQLite and of a damaged shard into one line about the store."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        hint = (
            "run the command again: it repairs the index and computes its rows again"
            if isinstance(error, sqlite3.Error) and files.is_damaged_database(error)
            else "move the store with --cache-dir or TLCLI_CACHE, or make room with "
            "`tlcli cache prune`"
        )
        raise StoreError(Problem(str(path), f"the feature store: {reason(error)}", hint)) from error
    except ShardError as error:
        hint = "`tlcli cache verify` finds damaged rows and has them computed again"
        raise StoreError(Problem(str(path), f"the feature store: {reason(error)}", hint)) from error
