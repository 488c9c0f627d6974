"""The feature store on disk: shards of rows under a SQLite index, addressed by content.

    CACHE/features/<base>-<boundary>[-<pooling>]-<address>/
        trunk.json        what computed the rows; the address is its hash
        index.sqlite      (image hash, view) -> shard, row, checksum
        rows-*.npy        rows, appended; any of them opens with numpy.load (bfloat16 as its bits)

A row is committed to the index only once its bytes are on the disk, and a shard has one writer, so
that any number of processes may read and add at the same time, and a killed one loses at most the
batch it was writing.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.features.locations import Locations, RowKey
from tlcli.features.shards import ShardWriter
from tlcli.features.store_index import INDEX, commit, open_index, store_errors
from tlcli.features.stored_rows import StoredRows, row_checksum
from tlcli.features.trunk_address import TrunkAddress
from tlcli.system import console, locks
from tlcli.system.files import is_damaged_database, write_json
from tlcli.system.shared_locks import SharedLock

Array = npt.NDArray[Any]

#: Bytes of a full shard. Large enough to keep files few, small enough to prune and copy.
SHARD_BYTES = 256_000_000


class TrunkRows(StoredRows):
    """The rows of one trunk: reads them, and appends to a shard of its own.

    A damaged index gives way to a new one, since every row can be computed again.

    Args:
        store: the folder of the store.
        address: what the rows are.
    """

    def __init__(self, store: Path, address: TrunkAddress) -> None:
        self._shard: ShardWriter | None = None
        super().__init__(store, address)

    def _lock(self) -> SharedLock:
        return SharedLock(self.path)

    def _open_index(self) -> sqlite3.Connection:
        if not (self.path / "trunk.json").exists():
            write_json(self.path / "trunk.json", self.description)
        index = self.path / INDEX
        with _damage_passed_over():
            return open_index(index)
        with locks.lock_folder(self.path, waiting="the feature store's index needs repair"):
            with _damage_passed_over():
                return open_index(index)  # another process has repaired it
            console.warn(f"{self.path}: the index was damaged; its rows are computed again")
            for path in (*self.path.glob("rows-*.npy"), *self.path.glob(f"{INDEX}*")):
                path.unlink()
            return open_index(index)

    def locate(self, keys: Sequence[RowKey]) -> Locations:
        """Where the rows of `keys` are, in that order; marks the trunk as used."""
        with store_errors(self.path):
            os.utime(self.path / "trunk.json")  # `cache prune` goes by its time
        return super().locate(keys)

    def append(
        self, keys: Sequence[RowKey], rows: Array, checksums: Sequence[int] | None = None
    ) -> None:
        """Write `rows`, shape (len(keys), *shape), and commit them once they are on the disk.

        A key that another process has committed meanwhile keeps its first row. `checksums` are the
        CRC-32s that the rows must have; a row that does not match is damaged from now on.
        """
        data = np.ascontiguousarray(rows, dtype=self.dtype)
        sums = [row_checksum(row) for row in data] if checksums is None else checksums
        done = 0
        with store_errors(self.path):
            while done < len(keys):
                shard = self._shard_with_room()
                part = slice(done, done + shard.room)
                first = shard.write(data[part])
                entries = [
                    (bytes.fromhex(image), view, shard.id, first + i, checksum)
                    for i, ((image, view), checksum) in enumerate(
                        zip(keys[part], sums[part], strict=True)
                    )
                ]
                commit(self._index, "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?)", entries)
                done += len(keys[part])

    def forget(self, keys: Sequence[RowKey]) -> None:
        """Take rows out of the index, so that they are computed again."""
        with store_errors(self.path):
            entries = [(bytes.fromhex(image), view) for image, view in keys]
            commit(self._index, "DELETE FROM rows WHERE image = ? AND view = ?", entries)

    def close(self) -> None:
        """Finish the shard being written and let go of the files."""
        shard, self._shard = self._shard, None
        try:
            if shard is not None:
                with store_errors(self.path):
                    shard.close()
        finally:
            super().close()

    def _shard_with_room(self) -> ShardWriter:
        """The shard that rows are appended to; a new one where there is none or it is full."""
        if self._shard is None or not self._shard.room:
            if self._shard is not None:
                full, self._shard = self._shard, None
                full.close()
            file = f"rows-{uuid.uuid4().hex[:12]}.npy"
            capacity = max(1, SHARD_BYTES // self.row_bytes)
            number = commit(self._index, "INSERT INTO shards (file) VALUES (?)", [(file,)])
            path = self.path / file
            self._shard = ShardWriter(path, (capacity, *self.shape), self._in_file, id=number)
        return self._shard


@contextmanager
def _damage_passed_over() -> Iterator[None]:
    """Go on after the block where an index is damaged."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not is_damaged_database(error):
            raise
