"""What the feature store holds: its trunks one by one, to list, verify and remove them."""

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

from tlcli.data import audit_cache
from tlcli.errors import Problem
from tlcli.features.store import TrunkRows
from tlcli.features.store_index import BUSY_TIMEOUT, INDEX, SCHEMA, store_errors
from tlcli.system import console, files, locks, shared_locks
from tlcli.system.files import is_damaged_database
from tlcli.system.shared_locks import IN_USE_FILE

#: A part of a folder's name, so that no record leads out of the store.
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=100)]

#: Numbers of one row; more than any network has.
MAX_NUMBERS = 2**30


class _Trunk(BaseModel):
    """What `trunk.json` must say for its rows to be read."""

    model_config = ConfigDict(strict=True)

    base: Name
    boundary: Name
    image_size: Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]
    dtype: Literal["float32", "float16"]
    shape: Annotated[list[PositiveInt], Field(min_length=1, max_length=8)]

    @model_validator(mode="after")
    def _has_bounds(self) -> _Trunk:
        if math.prod(self.shape) > MAX_NUMBERS:
            raise ValueError("a row of it has more numbers than any network")
        return self


@dataclass(frozen=True)
class Listed:
    """One trunk as `tlcli cache` shows it."""

    path: Path
    description: dict[str, Any]
    rows: int
    bytes: int
    days_unused: float

    @property
    def damaged(self) -> bool:
        """Whether nobody can tell any more what its rows are."""
        return "shape" not in self.description

    @property
    def misplaced(self) -> bool:
        """Whether its folder is not where anybody would look for such rows."""
        try:
            return TrunkRows.place(*self._trunk) != self.path
        except TypeError:  # a shape that is none
            return True

    def open(self) -> TrunkRows:
        """Its rows, if it is where they belong."""
        return TrunkRows(*self._trunk)

    @property
    def _trunk(self) -> tuple[Path, dict[str, Any], Any, Any]:
        known = {k: v for k, v in self.description.items() if k not in ("shape", "dtype")}
        return self.path.parent, known, self.description["shape"], self.description["dtype"]


def list_trunks(folder: Path) -> list[Listed]:
    """The trunks in a store, the most recently used first."""
    found = []
    for record in sorted(folder.glob("*/trunk.json")):
        if record.parent.is_symlink():
            continue  # what it leads to is not this store's to show, change or remove
        with (
            store_errors(record.parent),
            suppress(FileNotFoundError),
        ):  # removed while it is looked at
            description = _described(record)
            index = record.parent / INDEX
            # An index that is a link would get its tables written into another file.
            rows = _rows(index) if index.exists() and _is_ours(record.parent) else 0
            # Blocks, not lengths: an unfinished shard is longer than what it holds.
            used = sum(map(_taken, record.parent.iterdir()))
            unused = (time.time() - record.stat().st_mtime) / 86_400
            found.append(Listed(record.parent, description, rows, used, unused))
    return sorted(found, key=lambda entry: entry.days_unused)


def _rows(index: Path) -> int:
    """Rows that an index knows; none if it is damaged, and made anew by whoever needs it."""
    try:
        with closing(sqlite3.connect(index, timeout=BUSY_TIMEOUT)) as connection:
            connection.executescript(SCHEMA)
            (rows,) = connection.execute("SELECT count(*) FROM rows").fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damaged_database(error):
            raise
        return 0
    return int(rows)


def _described(record: Path) -> dict[str, Any]:
    """What a trunk's record says; a damaged one is listed too, so that it can be removed."""
    unknown = {"base": record.parent.name, "boundary": "damaged", "image_size": [], "dtype": "?"}
    if not _is_ours(record.parent):
        return unknown
    try:
        description: dict[str, Any] = files.read_json(record)
        _Trunk.model_validate(description)
    except ValueError:
        return unknown
    return description


def _is_ours(folder: Path) -> bool:
    """Whether it holds regular files alone; the target of a link would be changed."""
    return all(map(_is_regular, folder.iterdir()))


def _is_regular(path: Path) -> bool:
    with suppress(FileNotFoundError):  # another process has just removed it
        return stat.S_ISREG(path.lstat().st_mode)
    return True


def _taken(path: Path) -> int:
    """Bytes on the disk; none for a file that another process has just removed."""
    with suppress(FileNotFoundError):
        return path.stat().st_blocks * 512
    return 0


def remove(entry: Listed) -> None:
    """Delete the rows of one trunk; raises `locks.LockHeldError` where a process has it open."""
    # The record goes last, so that an interrupted removal is still listed; but for the file that
    # keeps others out until all is done.
    last = ("trunk.json", IN_USE_FILE)
    with (
        store_errors(entry.path),
        suppress(FileNotFoundError),
        shared_locks.lock_exclusively(entry.path),
    ):
        for path in sorted(
            entry.path.iterdir(), key=lambda path: (path.name in last, path.name == IN_USE_FILE)
        ):
            path.unlink(missing_ok=True)  # others prune, too
        try:
            entry.path.rmdir()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # somebody has begun it anew
                raise


def prune(
    folder: Path, home: Path, *, unused_days: float | None = None, base: str | None = None
) -> str:
    """Remove the features that match the conditions given, and what checks under `home` have found
    in other ways than today's; without conditions, everything. Says how much room that made.

    Features that a process has open stay, and a warning says so.
    """
    removed = []
    for entry in list_trunks(folder):
        if unused_days is not None and entry.days_unused < unused_days:
            continue
        if base is not None and entry.description["base"].lower() != base.lower():
            continue
        try:
            remove(entry)
        except locks.LockHeldError as held:
            hint = "it is kept; prune again when that process has ended"
            console.warn(str(Problem(str(entry.path), f"is in use by {held}", hint)))
        else:
            removed.append(entry)
    freed = console.size(sum(entry.bytes for entry in removed))
    text = f"removed {console.counted(sum(entry.rows for entry in removed), 'row')}, {freed}"
    everything = unused_days is None and base is None
    forgotten, freed_too = audit_cache.prune(home, everything=everything)
    if forgotten or freed_too:
        photos = f" of {console.counted(forgotten, 'photo')}" if forgotten else ""
        text += f"; and check results{photos}, {console.size(freed_too)}"
    return text


@dataclass
class _Verified:
    """What was found so far: rows, those of them that are damaged, and what holds rows that nobody
    can find."""

    rows: int = 0
    damaged: int = 0
    lost: int = 0


def verify(folder: Path) -> tuple[str, int]:
    """Compare every row with its checksum and forget the damaged ones; text and what was wrong.

    Shards that no index knows are removed.
    """
    found = _Verified()
    entries = list_trunks(folder)
    for entry in entries:
        if entry.damaged or entry.misplaced:
            what = (
                "is damaged, or lies beside something that is not a file"
                if entry.damaged
                else "does not match the folder's name"
            )
            hint = "its rows cannot be found; remove it with `tlcli cache prune --base`"
            console.warn(str(Problem(str(entry.path), f"its trunk.json {what}", hint)))
            found.lost += 1
        else:
            _verify_trunk(entry, found)
    for path in sorted({shard.parent for shard in folder.glob("*/rows-*.npy")}):
        if not (path / "trunk.json").exists():
            hint = "its rows cannot be found; remove the folder"
            console.warn(str(Problem(str(path), "has no trunk.json", hint)))
            found.lost += 1
    if not (found.damaged or found.lost):
        return f"{console.counted(found.rows, 'row')}, all intact", 0
    text = f"{console.counted(found.damaged, 'damaged row')} of {found.rows:,}"
    if found.lost:
        text += f", and {console.counted(found.lost, 'place')} with rows that cannot be found"
    text += "; they will be computed again when they are needed"
    return text, found.damaged + found.lost


def _verify_trunk(entry: Listed, found: _Verified) -> None:
    # In this order: a writer tells the index of a shard before it makes the file.
    shards = {path.name for path in entry.path.glob("rows-*.npy")}
    with closing(entry.open()) as opened:
        bad = opened.damaged()
        opened.forget(bad)
        orphans = sorted(shards - opened.shards())
    found.rows, found.damaged = found.rows + entry.rows, found.damaged + len(bad)
    if orphans:
        found.lost += 1
        what = f"its index does not know {console.counted(len(orphans), 'shard')}"
        console.warn(str(Problem(str(entry.path), what, "removed")))
        with store_errors(entry.path):
            for name in orphans:
                (entry.path / name).unlink(missing_ok=True)
