"""The rows of a feature store: their bits, to compare them, and how many there are by now."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tlcli.features.inventory import list_trunks
from tlcli.features.store_index import INDEX, open_index_to_read
from tlcli.system.files import features_folder

#: What is known of every row, by trunk, photo and view.
Rows = dict[tuple[str, str, str], bytes]

#: Seconds to wait for a process that is committing.
BUSY_SECONDS = 10.0


def digests(cache: Path) -> Rows:
    """A hash of the bits of each row of a store; rows of two stores need not fit in memory."""
    return {key: hashlib.sha256(row).digest() for key, row in _read(cache)}


def _read(cache: Path) -> Iterator[tuple[tuple[str, str, str], bytes]]:
    """All rows of a store, which must match their checksums."""
    for trunk in list_trunks(features_folder(cache)):
        with closing(trunk.open()) as opened:
            if damaged := opened.damaged():
                raise SystemExit(f"{len(damaged)} damaged rows")
            for keys in opened.keys(100):
                values = opened.read(opened.locate(keys), range(len(keys)))
                for (photo, view), row in zip(keys, values, strict=True):
                    yield (trunk.path.name, photo, view), row.tobytes()


def count_rows(cache: Path) -> int:
    """The rows that are committed by now; none where there is no store yet."""
    return sum(map(_count, features_folder(cache).glob(f"*/{INDEX}")))


def count_rows_left(cache: Path) -> int:
    """The same after the process that wrote them was killed; the store stays as it was left.

    A commit that did not end is undone in a copy, so that the command that is given again finds
    what the killed one left.
    """
    rows = 0
    for index in features_folder(cache).glob(f"*/{INDEX}"):
        with closing(open_index_to_read(index)) as connection:
            rows += connection.execute("SELECT count(*) FROM rows").fetchone()[0]
    return rows


def _count(index: Path) -> int:
    address = f"{index.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as connection:
            ((rows,),) = connection.execute("SELECT count(*) FROM rows").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CANTOPEN):
            raise
        return 0  # it has no table yet, or is gone
    return int(rows)
