"""The SQLite index of a trunk's rows: opening it, and what goes wrong with it in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlcli.errors import Problem, StoreError, reason
from tlcli.shards import ShardError

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


def open_index(index: Path) -> sqlite3.Connection:
    """Open an index, made if need be; raises `sqlite3.DatabaseError` where it is damaged."""
    connection = sqlite3.connect(index, timeout=BUSY_TIMEOUT, check_same_thread=False)
    try:
        connection.executescript(SCHEMA)
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except BaseException:
        connection.close()
        raise
    if said != "ok":
        connection.close()
        raise sqlite3.DatabaseError(said)
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """The bare class stands for a damaged file; its subclasses for locks, room and rights."""
    return type(error) is sqlite3.DatabaseError


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the system, SQLite or a damaged shard says into one line about the store."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        hint = (
            "run the command again: it repairs the index and computes its rows again"
            if isinstance(error, sqlite3.Error) and is_damage(error)
            else "move the store with --cache-dir or TLCLI_CACHE, or make room with "
            "`tlcli cache prune`"
        )
        raise StoreError(Problem(str(path), f"the feature store: {reason(error)}", hint)) from error
    except ShardError as error:
        hint = "`tlcli cache verify` finds damaged rows and has them computed again"
        raise StoreError(Problem(str(path), f"the feature store: {reason(error)}", hint)) from error
