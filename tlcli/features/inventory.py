"""What the feature store holds: its trunks one by one, to list and remove them."""

from __future__ import annotations

import errno
import math
import sqlite3
import stat
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from tlcli.features.store import TrunkRows
from tlcli.features.store_index import INDEX, fetch_all, open_index_to_read, store_errors
from tlcli.features.stored_rows import StoredRows
from tlcli.features.trunk_address import TrunkAddress
from tlcli.system import files, shared_locks
from tlcli.system.files import is_damaged_database
from tlcli.system.shared_locks import IN_USE_FILE

#: A part of a folder's name, so that no record names a folder outside of the store.
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=100)]

#: Numbers of one row; more than any network has.
MAX_NUMBERS = 2**30


class _TrunkRecord(BaseModel):
    """What `trunk.json` must say for its rows to be read."""

    model_config = ConfigDict(strict=True)

    base: Name
    boundary: Name
    image_size: Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]
    dtype: Literal["float32", "float16", "bfloat16", "uint8"]
    shape: Annotated[list[PositiveInt], Field(min_length=1, max_length=8)]
    pooling: Literal["avg"] | None = None

    @model_validator(mode="after")
    def _is_bounded(self) -> _TrunkRecord:
        if math.prod(self.shape) > MAX_NUMBERS:
            raise ValueError("a row of it has more numbers than any network")
        return self


@dataclass(frozen=True)
class StoredTrunk:
    """One trunk as `tlcli cache` shows it.

    Attributes:
        description: what `trunk.json` holds, or placeholders where it is damaged.
        bytes: that its files take on the disk.
    """

    path: Path
    description: dict[str, Any]
    rows: int
    bytes: int
    days_unused: float

    @property
    def damaged(self) -> bool:
        """Whether its record does not say what its rows are."""
        return "shape" not in self.description

    @property
    def misplaced(self) -> bool:
        """Whether its folder is not the one that the store would open for such rows."""
        try:
            return self._address.folder(self.path.parent) != self.path
        except TypeError:  # a shape that is not a list
            return True

    def open(self) -> TrunkRows:
        """Its rows; only for a trunk that is not misplaced, since another one would be created."""
        return self.open_in(self.path.parent)

    def open_to_read(self) -> StoredRows:
        """Its rows, of which nothing changes; raises `StoreError` for a damaged index."""
        return StoredRows(self.path.parent, self._address)

    def open_in(self, store: Path) -> TrunkRows:
        """The rows of the same trunk in another store, which may have none yet."""
        return TrunkRows(store, self._address)

    @property
    def _address(self) -> TrunkAddress:
        computed_by = {k: v for k, v in self.description.items() if k not in ("shape", "dtype")}
        return TrunkAddress(computed_by, self.description["shape"], self.description["dtype"])


def list_trunks(folder: Path) -> list[StoredTrunk]:
    """The trunks in a store, the most recently used first."""
    trunks = []
    for record in sorted(folder.glob("*/trunk.json")):
        if record.parent.is_symlink():
            continue  # its target is not part of this store
        # Another process may remove the trunk meanwhile.
        with store_errors(record.parent), suppress(FileNotFoundError):
            description = _read_description(record)
            index = record.parent / INDEX
            # An index that is a link may be that of another store.
            rows = _count_rows(index) if index.exists() and _has_only_files(record.parent) else 0
            used = sum(map(files.disk_bytes, record.parent.iterdir()))
            unused = (time.time() - record.stat().st_mtime) / 86_400
            trunks.append(StoredTrunk(record.parent, description, rows, used, unused))
    return sorted(trunks, key=lambda trunk: trunk.days_unused)


def _count_rows(index: Path) -> int:
    """Rows in an index; 0 where it is damaged, which the next command that needs it repairs."""
    try:
        with closing(open_index_to_read(index)) as connection:
            ((rows,),) = fetch_all(connection, "SELECT count(*) FROM rows")
    except sqlite3.DatabaseError as error:
        if not is_damaged_database(error):
            raise
        return 0
    return int(rows)


def _read_description(record: Path) -> dict[str, Any]:
    """A trunk's record; placeholders for a damaged one, so that it is listed and can be removed."""
    placeholders = {
        "base": record.parent.name,
        "boundary": "damaged",
        "image_size": [],
        "dtype": "?",
    }
    if not _has_only_files(record.parent):
        return placeholders
    try:
        description: dict[str, Any] = files.read_json(record)
        _TrunkRecord.model_validate(description)
    except ValueError:
        return placeholders
    return description


def _has_only_files(folder: Path) -> bool:
    """Whether a folder holds regular files alone: to write to a link would change its target."""
    return all(map(_is_regular, folder.iterdir()))


def _is_regular(path: Path) -> bool:
    with suppress(FileNotFoundError):  # another process has just removed it
        return stat.S_ISREG(path.lstat().st_mode)
    return True


def remove_trunk(trunk: StoredTrunk) -> None:
    """Delete the rows of one trunk; raises `locks.LockHeldError` where a process has it open."""
    with (
        store_errors(trunk.path),
        suppress(FileNotFoundError),
        shared_locks.lock_exclusively(trunk.path),
    ):
        for path in sorted(trunk.path.iterdir(), key=_removal_order):
            path.unlink(missing_ok=True)  # others prune, too
        try:
            trunk.path.rmdir()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # another process has begun to fill it again
                raise


def _removal_order(path: Path) -> tuple[bool, bool]:
    """The record late, so that an interrupted removal is still listed; the file of the lock last,
    since it keeps other processes out until all else is gone."""
    return path.name in ("trunk.json", IN_USE_FILE), path.name == IN_USE_FILE
