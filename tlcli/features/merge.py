"""Joining feature stores: the rows of some stores, compared with their checksums, into one.

Rows have the same address in every store, so each is taken once. A row is in the target when its
bytes are on the disk; what was joined before a stop is not read again. The stores that are joined
are only read, and may lie where nothing can be written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, StoreError, TlcliError
from tlcli.features import disk_space, inventory
from tlcli.features.inventory import StoredTrunk
from tlcli.features.locations import Locations, RowKey
from tlcli.features.shares import WHOLE
from tlcli.features.store import TrunkRows
from tlcli.features.stored_rows import StoredRows
from tlcli.features.writers import find_other_writer, lock_share, one_machine
from tlcli.system import console, files, signals

#: Keys that are looked up together.
MOST_KEYS = 100_000

#: Bytes of rows that are read and committed together, which a killed merge reads again. Fewer take
#: longer: every commit waits for the disk.
BATCH_BYTES = 8_000_000

#: Damaged rows that are named one by one.
MOST_NAMED = 5


@dataclass
class MergeReport:
    """What joining stores came to, in rows.

    Attributes:
        added: rows that are new in the target.
        present: rows that the target had.
        differing: rows that the target had with other bits, and keeps.
        damaged: rows that do not match their checksum, which are left out.
        left_out: trunks that cannot be read.
    """

    added: int = 0
    present: int = 0
    differing: int = 0
    damaged: int = 0
    left_out: int = 0
    trunks: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every row of every source is in the target now."""
        return not (self.damaged or self.left_out)

    def count(self, trunk: str, **rows: int) -> None:
        """Count rows of a trunk, by the name of its folder."""
        of_trunk = self.trunks.setdefault(trunk, {"added": 0, "present": 0, "damaged": 0})
        for name, number in rows.items():
            setattr(self, name, getattr(self, name) + number)
            of_trunk[name] = of_trunk.get(name, 0) + number

    def as_json(self) -> dict[str, Any]:
        """What `cache merge --json` prints."""
        names = ("added", "present", "differing", "damaged", "left_out")
        return {**{name: getattr(self, name) for name in names}, "trunks": self.trunks}

    def text(self) -> str:
        """The same as people read it."""
        lines = [
            f"{trunk}: {_counts(rows['added'], rows['present'])}"
            for trunk, rows in sorted(self.trunks.items())
        ]
        lines.append(_counts(self.added, self.present))
        if self.damaged:
            lines[-1] += f", {console.counted(self.damaged, 'damaged row')} left out"
        return "\n".join(lines)


def _counts(added: int, present: int) -> str:
    return f"{console.counted(added, 'row')} added, {present:,} there already"


def merge_stores(target: Path, sources: Sequence[Path]) -> MergeReport:
    """Add the rows of the stores in the cache folders `sources` to that in the cache `target`.

    Damaged rows and trunks that cannot be read are left out, and a warning names each. Raises
    `TlcliError` with every folder that holds no store or to which another machine writes over a
    network, and `StoreError` where the disk of the target has no room, or another machine writes to
    it.
    """
    stores = _find_stores(target, sources)
    store, report = files.features_folder(target), MergeReport()
    with one_machine(store):
        for source in stores:
            for trunk in sorted(inventory.list_trunks(source), key=lambda trunk: trunk.path):
                _merge_trunk(store, trunk, report)
    if report.differing:
        what = f"{console.counted(report.differing, 'row')} had other bits than the same ones here"
        hint = "those here are kept; processors of two kinds may round otherwise"
        console.warn(str(Problem(str(store), what, hint)))
    return report


def _find_stores(target: Path, sources: Sequence[Path]) -> list[Path]:
    """The folders of the stores in `sources`, each once."""
    stores: dict[Path, Path] = {}
    problems = []
    for source in sources:
        folder = files.features_folder(source)
        if not source.is_dir():
            problems.append(Problem(str(source), "no such folder", "name a cache folder"))
        elif not folder.is_dir():
            hint = "name the folder that another process had as --cache-dir"
            problems.append(Problem(str(source), "holds no feature store", hint))
        elif folder.resolve() == files.features_folder(target).resolve():
            hint = "name other stores, or another one to join them in: "
            hint += "`tlcli cache --cache-dir DIR merge ...`"
            problems.append(Problem(str(source), "is the store that the others go into", hint))
        elif writer := find_other_writer(folder):
            problems.append(writer)
        else:
            stores.setdefault(folder.resolve(), folder)
    if problems:
        raise TlcliError(problems)
    return list(stores.values())


def _merge_trunk(store: Path, trunk: StoredTrunk, report: MergeReport) -> None:
    if trunk.damaged or trunk.misplaced:
        what = "its trunk.json is damaged, or does not match the folder's name"
        hint = "its rows are left out; another version of tlcli may have written it"
        console.warn(str(Problem(str(trunk.path), what, hint)))
        report.left_out += 1
        return
    try:
        opened = trunk.open_to_read()
    except StoreError as error:
        for problem in error.problems:
            console.warn(str(problem))
        report.left_out += 1
        return
    if opened.used_by:
        hint = "what it has stored by now is joined; join it again when that has ended"
        console.warn(str(Problem(str(trunk.path), f"is in use by {opened.used_by}", hint)))
    with closing(opened) as source, closing(trunk.open_in(store)) as rows:
        waiting = "it writes the same features"
        with lock_share(rows.path, WHOLE, waiting=waiting):
            _copy_missing(source, rows, report, trunk.rows)


def _copy_missing(source: StoredRows, rows: TrunkRows, report: MergeReport, count: int) -> None:
    bad: list[RowKey] = []
    with console.progress(count, "joining", "rows") as bar:
        for keys in source.keys(MOST_KEYS):
            offered, stored = source.locate(keys), rows.locate(keys)
            present = stored.present
            differing = int((offered.checksums != stored.checksums)[present].sum())
            report.count(rows.path.name, present=int(present.sum()), differing=differing)
            bar.update(int(present.sum()))
            missing = (~present).nonzero()[0]
            disk_space.check_missing_rows(rows.path, len(missing) * rows.row_bytes)
            size = max(1, BATCH_BYTES // rows.row_bytes)
            for start in range(0, len(missing), size):
                batch = missing[start : start + size]
                damaged = _copy(source, offered, rows, keys, batch)
                bad += [keys[position] for position in damaged]
                added = len(batch) - len(damaged)
                report.count(rows.path.name, added=added, damaged=len(damaged))
                bar.update(len(batch))
                signals.raise_if_interrupted()
    for problem in _damage(source.path, bad):
        console.warn(str(problem))


def _copy(
    source: StoredRows,
    locations: Locations,
    rows: TrunkRows,
    keys: Sequence[RowKey],
    batch: npt.NDArray[np.intp],
) -> list[int]:
    """Copy the rows at some positions of `keys`; returns the positions of damaged ones."""
    damaged: list[int] = source.damaged_at(locations, batch).tolist()
    sound = np.setdiff1d(batch, damaged)
    if len(sound):
        checksums = locations.checksums[sound].tolist()
        rows.append([keys[i] for i in sound], source.read(locations, sound), checksums)
    return damaged


def _damage(trunk: Path, bad: Sequence[RowKey]) -> Iterator[Problem]:
    for digest, view in bad[:MOST_NAMED]:
        what = f"the row of photo {digest[:16]}, view {view.rpartition('/')[2]}, is damaged"
        yield Problem(str(trunk), what, "it is left out; extract it again")
    if len(bad) > MOST_NAMED:
        what = f"{console.counted(len(bad) - MOST_NAMED, 'more row')} damaged"
        yield Problem(str(trunk), what, "left out; extract them again")
