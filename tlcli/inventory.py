"""What the feature store holds: its trunks one by one, to list, verify and remove them."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli import audit_cache, console
from tlcli.errors import Problem
from tlcli.store import TrunkRows
from tlcli.store_index import BUSY_TIMEOUT, INDEX, SCHEMA, is_damage, told


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
        with told(record.parent):
            description = _described(record)
            index = record.parent / INDEX
            rows = 0
            if index.exists():
                rows = _rows(index)
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
    try:
        description = json.loads(record.read_text(encoding="utf-8"))
    except ValueError:
        return unknown
    known = isinstance(description, dict) and {*unknown, "shape"} <= description.keys()
    return description if known else unknown


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


def prune(
    folder: Path, home: Path, *, unused_days: float | None = None, base: str | None = None
) -> str:
    """Remove the features that match the conditions given, and what checks under `home` have found
    in other ways than today's; without conditions, everything. Says how much room that made."""
    chosen = [
        entry
        for entry in listed(folder)
        if (unused_days is None or entry.days_unused >= unused_days)
        and (base is None or entry.description["base"].lower() == base.lower())
    ]
    for entry in chosen:
        remove(entry)
    freed = console.size(sum(entry.bytes for entry in chosen))
    text = f"removed {console.counted(sum(entry.rows for entry in chosen), 'row')}, {freed}"
    everything = unused_days is None and base is None
    forgotten, freed_too = audit_cache.prune(home, everything=everything)
    if forgotten or freed_too:
        photos = f" of {console.counted(forgotten, 'photo')}" if forgotten else ""
        text += f"; and check results{photos}, {console.size(freed_too)}"
    return text


def verify(folder: Path) -> tuple[str, int]:
    """Compare every row with its checksum and forget the damaged ones; text and their number."""
    rows = damaged = 0
    for entry in listed(folder):
        if entry.damaged:
            hint = "remove it with `tlcli cache prune --base`"
            console.warn(str(Problem(str(entry.path), "its trunk.json is damaged", hint)))
            damaged += entry.rows
            continue
        with closing(entry.open()) as opened:
            bad = opened.damaged()
            opened.forget(bad)
        rows, damaged = rows + entry.rows, damaged + len(bad)
    if not damaged:
        return f"{console.counted(rows, 'row')}, all intact", 0
    found = console.counted(damaged, "damaged row")
    return f"{found} of {rows:,}; they will be computed again when they are needed", damaged
