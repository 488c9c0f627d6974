"""The rows of one trunk on the disk, to be read: nothing in their folder is changed."""

from __future__ import annotations

import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, StoreError
from tlcli.features.locations import Locations, RowKey, locate_rows
from tlcli.features.shards import ShardError, ShardReader
from tlcli.features.store_index import (
    INDEX,
    checked,
    fetch_all,
    open_index_to_read,
    refuse_link,
    store_errors,
)
from tlcli.features.trunk_address import TrunkAddress, number_type
from tlcli.system.files import is_damaged_database
from tlcli.system.shared_locks import ReadLock, SharedLock

Array = npt.NDArray[Any]

#: Shards of a trunk that are open for reading; systems allow a process 256 open files and more.
OPEN_SHARDS = 64


class StoredRows:
    """The rows of one trunk.

    Raises `StoreError` where their index is damaged or missing, or their folder is being removed.

    Args:
        store: the folder of the store, which may be one that cannot be written.
        address: what the rows are.

    Attributes:
        used_by: the other process that has the folder open, and may add rows; None for nobody.
    """

    used_by: str | None = None

    def __init__(self, store: Path, address: TrunkAddress) -> None:
        self.path = address.folder(store)
        self.address = self.path.name.rpartition("-")[2]
        self.shape, self.dtype = tuple(address.shape), number_type(address.dtype)
        # The .npy format knows no bfloat16; its bits are whole numbers there.
        self._in_file = np.dtype(np.uint16) if address.dtype == "bfloat16" else self.dtype
        self.pooling, self.description = address.pooling, address.as_dict()
        self._readers: OrderedDict[int, ShardReader] = OrderedDict()
        refuse_link(self.path)
        with store_errors(self.path):
            self._use = self._lock()
            try:
                self._index = self._open_index()
            except BaseException:
                self._use.close()
                raise

    def _lock(self) -> ReadLock | SharedLock:
        """What keeps other processes from removing the folder."""
        lock = ReadLock(self.path)
        self.used_by = lock.used_by
        return lock

    def _open_index(self) -> sqlite3.Connection:
        index = self.path / INDEX
        refuse_link(index)
        if not index.exists() and any(self.path.glob("rows-*.npy")):
            raise self._left_alone("is missing")
        try:
            return checked(open_index_to_read(index))
        except sqlite3.DatabaseError as error:
            if not is_damaged_database(error):
                raise
            raise self._left_alone("is damaged") from error

    def _left_alone(self, what: str) -> StoreError:
        hint = "its rows are left as they are; bring the index back, or extract into that store"
        return StoreError(Problem(str(self.path), f"its index {what}", hint))

    def locate(self, keys: Sequence[RowKey]) -> Locations:
        """Where the rows of `keys` are, in that order."""
        with store_errors(self.path):
            return locate_rows(self._index, keys)

    def close(self) -> None:
        """Let go of the files."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        with store_errors(self.path), closing(self._use), closing(self._index):
            pass

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

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
        return row_checksum(into) == checksum

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


def row_checksum(row: Array) -> int:
    """The CRC-32 of the bytes of a row."""
    return zlib.crc32(np.ascontiguousarray(row).view(np.uint8).data)
