"""Taking things out of the feature store, and looking whether its rows are what was stored."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tlcli.data import audit_cache
from tlcli.errors import Problem
from tlcli.features.inventory import StoredTrunk, list_trunks, remove_trunk
from tlcli.features.store_index import store_errors
from tlcli.features.writers import one_machine
from tlcli.system import console, locks


@dataclass(frozen=True)
class PrunedStore:
    """What was removed: rows of the store, and check results of photos, with their bytes."""

    rows: int
    bytes: int
    checked_photos: int
    check_bytes: int

    def text(self) -> str:
        """How much room that made, in a line."""
        text = f"removed {console.counted(self.rows, 'row')}, {console.size(self.bytes)}"
        if self.checked_photos or self.check_bytes:
            number = self.checked_photos
            photos = f" of {console.counted(number, 'photo')}" if number else ""
            text += f"; and check results{photos}, {console.size(self.check_bytes)}"
        return text

    def as_json(self) -> dict[str, Any]:
        """What `tlcli cache prune --json` prints."""
        return asdict(self)


def prune_store(
    folder: Path, home: Path, *, unused_days: float | None = None, base: str | None = None
) -> PrunedStore:
    """Remove the features that match the conditions given; without conditions, everything.

    Of the check results under `home`, those of other decoders or limits than today's are removed,
    or all without conditions. Features that a process has open stay, and a warning says so. Raises
    `StoreError` where another machine writes to the store.
    """
    removed = []
    with one_machine(folder):
        for trunk in list_trunks(folder):
            if unused_days is not None and trunk.days_unused < unused_days:
                continue
            if base is not None and trunk.description["base"].lower() != base.lower():
                continue
            try:
                remove_trunk(trunk)
            except locks.LockHeldError as held:
                hint = "it is kept; prune again when that process has ended"
                console.warn(str(Problem(str(trunk.path), f"is in use by {held}", hint)))
            else:
                removed.append(trunk)
    everything = unused_days is None and base is None
    checks = audit_cache.prune_cache(home, everything=everything)
    rows, freed = sum(trunk.rows for trunk in removed), sum(trunk.bytes for trunk in removed)
    return PrunedStore(rows, freed, *checks)


@dataclass(frozen=True)
class VerifiedStore:
    """What verifying came to.

    Attributes:
        rows: that were compared with their checksums.
        damaged: those of them that do not match.
        lost: trunks and folders with rows that no index leads to.
    """

    rows: int = 0
    damaged: int = 0
    lost: int = 0

    def __add__(self, other: VerifiedStore) -> VerifiedStore:
        return VerifiedStore(
            self.rows + other.rows, self.damaged + other.damaged, self.lost + other.lost
        )

    @property
    def intact(self) -> bool:
        """Whether nothing was wrong."""
        return not (self.damaged or self.lost)

    def text(self) -> str:
        """The outcome in words."""
        if self.intact:
            return f"{console.counted(self.rows, 'row')}, all intact"
        text = f"{console.counted(self.damaged, 'damaged row')} of {self.rows:,}"
        if self.lost:
            text += f", and {console.counted(self.lost, 'place')} with rows that cannot be found"
        return f"{text}; they will be computed again when they are needed"

    def as_json(self) -> dict[str, Any]:
        """What `tlcli cache verify --json` prints."""
        return {**asdict(self), "intact": self.intact}


def verify_store(folder: Path) -> VerifiedStore:
    """Compare every row with its checksum and forget the damaged ones.

    Shards that no index knows are removed. Raises `StoreError` where another machine writes to it.
    """
    with one_machine(folder):
        total = sum(map(_verify_trunk, list_trunks(folder)), VerifiedStore())
    for path in sorted({shard.parent for shard in folder.glob("*/rows-*.npy")}):
        if not (path / "trunk.json").exists():
            hint = "its rows cannot be found; remove the folder"
            console.warn(str(Problem(str(path), "has no trunk.json", hint)))
            total += VerifiedStore(lost=1)
    return total


def _verify_trunk(trunk: StoredTrunk) -> VerifiedStore:
    if trunk.damaged or trunk.misplaced:
        what = (
            "is damaged, or lies beside something that is not a file"
            if trunk.damaged
            else "does not match the folder's name"
        )
        hint = "its rows cannot be found; remove it with `tlcli cache prune --base`"
        console.warn(str(Problem(str(trunk.path), f"its trunk.json {what}", hint)))
        return VerifiedStore(lost=1)
    # In this order: a writer adds a shard to the index before it makes the file.
    shards = {path.name for path in trunk.path.glob("rows-*.npy")}
    with closing(trunk.open()) as rows:
        damaged = rows.damaged()
        rows.forget(damaged)
        orphans = sorted(shards - rows.shards())
    if orphans:
        what = f"its index does not know {console.counted(len(orphans), 'shard')}"
        console.warn(str(Problem(str(trunk.path), what, "removed")))
        with store_errors(trunk.path):
            for name in orphans:
                (trunk.path / name).unlink(missing_ok=True)
    return VerifiedStore(trunk.rows, len(damaged), lost=int(bool(orphans)))
