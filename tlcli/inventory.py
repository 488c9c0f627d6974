"""What the feature store holds: its trunks one by one, to list, verify and remove them."""

from __future__ import annotations

import math
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from tlcli import files
from tlcli.store import TrunkRows
from tlcli.store_index import BUSY_TIMEOUT, INDEX, SCHEMA, is_damage, told

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

    def open(self) -> TrunkRows:
        """Its rows."""
        known = {k: v for k, v in self.description.items() if k not in ("shape", "dtype")}
        shape, dtype = self.description["shape"], self.description["dtype"]
        return TrunkRows(self.path.parent, known, shape, dtype)


def listed(folder: Path) -> list[Listed]:
    """The trunks in a store, the most recently used first."""
    found = []
    for record in sorted(folder.glob("*/trunk.json")):
        if record.parent.is_symlink():
            continue  # what it leads to is not this store's to show, change or remove
        with told(record.parent):
            description = _described(record)
            index = record.parent / INDEX
            # An index that is a link would get its tables written into another file.
            rows = _rows(index) if index.exists() and not _linked(record.parent) else 0
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
        if not is_damage(error):
            raise
        return 0
    return int(rows)


def _described(record: Path) -> dict[str, Any]:
    """What a trunk's record says; a damaged one is listed too, so that it can be removed."""
    unknown = {"base": record.parent.name, "boundary": "damaged", "image_size": [], "dtype": "?"}
    if _linked(record.parent) or not record.is_file():
        return unknown
    try:
        description: dict[str, Any] = files.read_json(record)
        _Trunk.model_validate(description)
    except ValueError:
        return unknown
    return description


def _linked(folder: Path) -> bool:
    """Whether a file is a link, as tlcli makes none: one would have its target changed."""
    return any(path.is_symlink() for path in folder.iterdir())


def _taken(path: Path) -> int:
    """Bytes on the disk; none for a file that another process has just removed."""
    with suppress(FileNotFoundError):
        return path.stat().st_blocks * 512
    return 0


def remove(entry: Listed) -> None:
    """Delete the rows of one trunk."""
    with told(entry.path):
        # The record goes last, so that an interrupted removal is still listed.
        for path in sorted(entry.path.iterdir(), key=lambda path: path.name == "trunk.json"):
            path.unlink()
        shutil.rmtree(entry.path)
