"""The table of stored features that `tlcli cache` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlcli.data import audit_cache
from tlcli.features import inventory
from tlcli.system import console


def store_table(folder: Path, home: Path) -> tuple[str, Any]:
    """What the feature store in `folder` holds, the most recently used first; the text also says
    how much room the results of checks take in the cache folder `home`."""
    text, value = _trunks(folder)
    if size := audit_cache.cache_bytes(home):
        text += f"\n{console.size(size)} of check results in {home / audit_cache.FILE}"
    return text, value


def _trunks(folder: Path) -> tuple[str, Any]:
    entries = inventory.list_trunks(folder)
    value = [
        {
            "path": str(entry.path),
            "base": entry.description["base"],
            "boundary": entry.description["boundary"],
            "pooling": entry.description.get("pooling"),
            "image_size": entry.description["image_size"],
            "dtype": entry.description["dtype"],
            "rows": entry.rows,
            "bytes": entry.bytes,
            "days_unused": round(entry.days_unused, 2),
        }
        for entry in entries
    ]
    if not value:
        return f"the feature store {folder} is empty", value
    headers = ("base", "boundary", "pixels", "dtype", "rows", "size", "unused for")
    rows = [
        [
            entry["base"], _place(entry), " x ".join(map(str, entry["image_size"][::-1])),
            entry["dtype"], console.count(entry["rows"]), console.size(entry["bytes"]),
            f"{entry['days_unused']:.0f} days",
        ]
        for entry in value
    ]  # fmt: skip
    total = sum(entry["bytes"] for entry in value)
    return f"{console.table(headers, rows)}\n\n{console.size(total)} in {folder}", value


def _place(entry: dict[str, Any]) -> str:
    """The boundary, and how its rows are pooled."""
    pooling = entry["pooling"]
    return f"{entry['boundary']}, {pooling}" if pooling else str(entry["boundary"])
