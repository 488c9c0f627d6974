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
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, StoreError
from tlcli.features.locations import Locations, RowKey, locate_rows
from tlcli.features.shards import ShardError, ShardReader, ShardWriter
from tlcli.features.store_index import (
    INDEX,
    commit,
    fetch_all,
    open_index,
    refuse_link,
    store_errors,
)
from tlcli.features.trunk_address import TrunkAddress
from tlcli.system import console, locks
from tlcli.system.files import is_damaged_database, write_json
from tlcli.system.shared_locks import SharedLock

Array = npt.NDArray[Any]

#: Bytes of a full shard. Large enough to keep files few, small enough to prune and copy.
SHARD_BYTES = 256_000_000

#: Shards of a trunk that are open for reading; systems allow a process 256 open files and more.
OPEN_SHARDS = 64


def number_type(name: str) -> np.dtype[Any]:
    """The NumPy type of the numbers of a row, by its name in a `TrunkAddress`."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


class TrunkRows:
    """The rows of one trunk: reads them, and appends to a shard of its own.

    Args:
        store: the folder of the store.
        address: what the rows are.
        repair: whether a damaged index gives way to a new one. Otherwise it raises `StoreError`.
    """

    def __init__(self, store: Path, address: TrunkAddress, *, repair: bool = True) -> None:
        self.path = address.folder(store)
        self.address = self.path.name.rpartition("-")[2]
        self.shape, self.dtype = tuple(address.shape), number_type(address.dtype)
        # The .npy format knows no bfloat16; its bits are whole numbers there.
        self._in_file = np.dtype(np.uint16) if address.dtype == "bfloat16" else self.dtype
        self.pooling, self.description = address.pooling, address.as_dict()
        self._readers: OrderedDict[int, ShardReader] = OrderedDict()
        self._shard: ShardWriter | None = None
        refuse_link(self.path)
        with store_errors(self.path):
            self._use = SharedLock(self.path)
            try:
                if not (self.path / "trunk.json").exists():
                    write_json(self.path / "trunk.json", address.as_dict())
                self._index = self._open_index(repair=repair)
            except BaseException:
                self._use.close()
                raise

    def _open_index(self, *, repair: bool) -> sqlite3.Connection:
        """Open the index; a new one where it is damaged, since every row can be computed again."""
        try:
            return open_index(self.path / INDEX)
        except sqlite3.DatabaseError as error:
            if not is_damaged_database(error):
                raise
            if not repair:
                hint = "its rows are left as they are; bring the index back, or extract into that "
                hint += "store"
                raise StoreError(Problem(str(self.path), "its index is damaged", hint)) from error
        with locks.lock_folder(self.path, waiting="the feature store's index needs repair"):
            try:
                return open_index(self.path / INDEX)  # another process has repaired it
            except sqlite3.DatabaseError as error:
                if not is_damaged_database(error):
                    raise
            console.warn(f"{self.path}: the index was damaged; its rows are computed again")
            for path in (*self.path.glob("rows-*.npy"), *self.path.glob(f"{INDEX}*")):
                path.unlink()
            return open_index(self.path / INDEX)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def locate(self, keys: Sequence[RowKey]) -> Locations:
        """Where the rows of `keys` are, in that order; marks the trunk as used."""
        with store_errors(self.path):
            os.utime(self.path / "trunk.json")  # `cache prune` goes by its time
            return locate_rows(self._index, keys)

    def damaged_at(
        self, locations: Locations, positions: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.intp]:
        """The `positions` whose rows are missing or do not match their checksums.

        Raises `StoreError` where a shard cannot be read, which does not tell whether its rows are
        damaged.
        """
        shards, rows = locations.shards[positions], locations.rows[positions]
        checksums = locations.checksums[positions]
        with store_errors(self.path):
            sound = [
                shard >= 0 and self._is_sound(shard, row, checksum)
                for shard, row, checksum in zip(
                    shards.tolist(), rows.tolist(), checksums.tolist(), strict=True
                )
            ]
        damaged: npt.NDArray[np.intp] = positions[~np.array(sound, bool)]
        return damaged

    def _is_sound(self, shard: int, row: int, checksum: int) -> bool:
        """Whether a row matches its checksum; not if its shard is gone or holds no such row."""
        into: Array = np.empty(self.shape, self.dtype)
        try:
            self._shard_reader(shard).read(row, into)
        except ShardError:
            return False
        return _checksum(into) == checksum

    def read(self, locations: Locations, chosen: npt.ArrayLike) -> Array:
        """Copies of the rows at `chosen` positions of `locations`, shape (len(chosen), *shape)."""
        positions = np.asarray(chosen, dtype=np.intp)
        shards, rows = locations.shards[positions], locations.rows[positions]
        if (shards < 0).any():
            message = f"{int((shards < 0).sum())} rows are not in the feature store"
            hint = "they were pruned or never extracted; run the command again"
            raise StoreError(Problem(str(self.path), message, hint))
        out: Array = np.empty((len(positions), *self.shape), self.dtype)
        with store_errors(self.path):
            for shard, row, into in zip(shards.tolist(), rows.tolist(), out, strict=True):
                self._shard_reader(shard).read(row, into)
        return out

    def append(
        self, keys: Sequence[RowKey], rows: Array, checksums: Sequence[int] | None = None
    ) -> None:
        """Write `rows`, shape (len(keys), *shape), and commit them once they are on the disk.

        A key that another process has committed meanwhile keeps its first row. `checksums` are the
        CRC-32s that the rows must have; a row that does not match is damaged from now on.
        """
        data = np.ascontiguousarray(rows, dtype=self.dtype)
        sums = [_checksum(row) for row in data] if checksums is None else checksums
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

    def keys(self, most: int) -> Iterator[list[RowKey]]:
        """The keys of all rows, at most so many at a time, each time in the order of the shards."""
        query = "SELECT image, view, shard, row FROM rows WHERE (image, view) > (?, ?) "
        query += "ORDER BY image, view LIMIT ?"
        last = (b"", "")
        while True:
            with store_errors(self.path):
                batch = fetch_all(self._index, query, (*last, most))
            if not batch:
                return
            last = batch[-1][:2]
            batch.sort(key=lambda entry: entry[2:])
            yield [(image.hex(), view) for image, view, *_ in batch]

    def damaged(self) -> list[RowKey]:
        """The keys of the rows whose bytes no longer match their checksum."""
        bad = []
        with store_errors(self.path):
            query = "SELECT image, view, shard, row, crc32 FROM rows ORDER BY shard, row"
            for image, view, *where in fetch_all(self._index, query):
                if not self._is_sound(*where):
                    bad.append((image.hex(), view))
        return bad

    def shards(self) -> set[str]:
        """The names of the shards that the index knows."""
        with store_errors(self.path):
            return {file for (file,) in fetch_all(self._index, "SELECT file FROM shards")}

    def forget(self, keys: Sequence[RowKey]) -> None:
        """Take rows out of the index, so that they are computed again."""
        with store_errors(self.path):
            entries = [(bytes.fromhex(image), view) for image, view in keys]
            commit(self._index, "DELETE FROM rows WHERE image = ? AND view = ?", entries)

    def close(self) -> None:
        """Finish the shard being written and let go of the files."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        shard, self._shard = self._shard, None
        with store_errors(self.path), closing(self._use), closing(self._index):
            if shard is not None:
                shard.close()

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

    def _shard_reader(self, shard: int) -> ShardReader:
        if shard in self._readers:
            self._readers.move_to_end(shard)
        else:
            query = "SELECT file FROM shards WHERE id = ?"
            ((file,),) = fetch_all(self._index, query, (shard,)) or [("missing shard",)]
            # A store from elsewhere must not point outside.
            if Path(file).name != file or "\0" in file:
                raise ShardError(f"{file} is no name of a shard")
            if len(self._readers) >= OPEN_SHARDS:
                self._readers.popitem(last=False)[1].close()
            try:
                self._readers[shard] = ShardReader(self.path / file, self.shape, self._in_file)
            except FileNotFoundError:
                raise ShardError(f"{file} is missing") from None
        return self._readers[shard]


def _checksum(row: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(row).view(np.uint8).data)
