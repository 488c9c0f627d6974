"""Filling the feature store: every photo and view through the trunk, once.

One pass over the photos fills every boundary that is asked for. What the store has is not computed
again; where it has a lower boundary, a higher one is computed from those rows instead of from the
photo. Photos are decoded ahead in threads while the trunk computes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import DataError, Problem, StoreError
from tlcli.features import disk_space
from tlcli.features.addresses import row_key
from tlcli.features.store import TrunkRows
from tlcli.images import loader
from tlcli.images.loader import BATCH_SIZE, View
from tlcli.networks.network import compile_forward
from tlcli.system import console, locks, signals

if TYPE_CHECKING:
    from tlcli.networks.network import Network
    from tlcli.recipe.recipe import Recipe

Array = npt.NDArray[Any]

FLOAT16_MAX = 65_504.0


@dataclass
class ExtractionReport:
    """What an extraction did.

    Attributes:
        computed: rows computed, for each boundary.
        stored: rows that were in the store already, for each boundary.
        images: photos and views that went through the trunk from pixels.
        seconds: of the computing, loading left out.
        unreadable: photos that could not be decoded, with the reason.
    """

    computed: dict[str, int] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    images: int = 0
    seconds: float = 0.0
    unreadable: dict[Path, Problem] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The counts, as `summary.json` holds them."""
        return {"images": self.images, "computed": self.computed, "stored": self.stored}

    def add_earlier(self, counts: dict[str, Any]) -> None:
        """Count in what was done before a stop; what was stored then was stored all along."""
        self.images += int(counts["images"])
        for boundary, computed in counts["computed"].items():
            self.computed[boundary] = self.computed.get(boundary, 0) + int(computed)
        self.stored = {boundary: int(stored) for boundary, stored in counts["stored"].items()}


def extract(
    network: Network,
    recipe: Recipe,
    views: Sequence[View],
    rows: dict[str, TrunkRows],
    sources: Mapping[str, TrunkRows] | None = None,
) -> ExtractionReport:
    """Compute and commit every row of `views` that `rows` (boundary -> its rows) lacks.

    `sources` are rows of other boundaries to compute from, where they lie lower. Raises
    `StoreError` where the disk has no room for them, and `DataError` naming every photo that cannot
    be decoded, unless the recipe says `on_bad_image: skip`; the rows of the others are computed and
    kept either way.
    """
    work = _Work(network, recipe, rows, {**(sources or {}), **rows})
    passes = work.passes(views)
    with ExitStack() as stack:
        if passes:
            for one in sorted(rows.values(), key=lambda one: one.path):
                wait = locks.lock_folder(one.path, waiting="it extracts the same features")
                stack.enter_context(wait)
            # What another process has computed meanwhile is there now.
            passes = work.passes(views)
        work.compute(passes)
    report = work.report
    if report.unreadable and recipe.data.on_bad_image == "error":
        raise DataError([*report.unreadable.values(), _how_to_go_on(report)])
    return report


class Reader:
    """The rows of some views, compared with their checksums when they are first read.

    Damaged rows are computed again, and so are those that another process has found damaged and
    forgotten since.

    Args:
        rows: of every boundary at hand; those below `boundary` help to mend.
        alone: mend under the trunk's lock, so that two processes do not compute the same. Not for
            whoever holds the locks of other trunks already.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        rows: Mapping[str, TrunkRows],
        boundary: str,
        views: Sequence[View],
        *,
        alone: bool = True,
    ) -> None:
        self._alone = alone
        self._network, self._recipe, self._known = network, recipe, rows
        self._boundary, self._views, self._rows = boundary, views, rows[boundary]
        self._keys = [row_key(recipe, view.digest, view.number) for view in views]
        self._locations = self._rows.locate(self._keys)

    def read(self, positions: npt.ArrayLike) -> Array:
        """The rows at `positions` in the views, shape (len(positions), *row shape)."""
        damaged = self._rows.damaged_at(self._locations, positions)
        if len(damaged):
            self._mend(damaged)
        return self._rows.read(self._locations, positions)

    def _mend(self, damaged: Array) -> None:
        what = "damaged" if self._locations.present[damaged].all() else "damaged or missing"
        count = console.counted(len(damaged), f"{what} row")
        console.note(console.one_line(f"{self._rows.path}: {count}; computing again"))
        with ExitStack() as stack:
            if self._alone:
                wait = locks.lock_folder(self._rows.path, waiting="it computes the same features")
                stack.enter_context(wait)
                damaged = self._still_damaged(damaged)
            self._rows.forget([self._keys[i] for i in damaged])
            work = _Work(self._network, self._recipe, {self._boundary: self._rows}, self._known)
            work.compute(work.passes([self._views[i] for i in damaged]))
            if work.report.unreadable:
                raise DataError(work.report.unreadable.values())
            self._still_damaged(damaged)

    def _still_damaged(self, positions: Array) -> Array:
        """Those that are damaged where the index has them now."""
        self._locations.update(positions, self._rows.locate([self._keys[i] for i in positions]))
        return self._rows.damaged_at(self._locations, positions)


def _how_to_go_on(report: ExtractionReport) -> Problem:
    return Problem(
        "data",
        f"{console.counted(len(report.unreadable), 'photo')} cannot be read",
        "repair or remove them, or set data.on_bad_image=skip to train without them; what was "
        "computed for the others is kept",
    )


#: Views by where their computation starts, None for pixels, and which boundaries they lack.
_Passes = dict[tuple[str | None, tuple[str, ...]], list[View]]


@dataclass
class _Work:
    """What an extraction works with.

    Attributes:
        rows: of the boundaries to fill.
        known: they and those of other boundaries at hand, to compute from.
    """

    network: Network
    recipe: Recipe
    rows: Mapping[str, TrunkRows]
    known: Mapping[str, TrunkRows]
    report: ExtractionReport = field(default_factory=ExtractionReport)

    def passes(self, views: Sequence[View]) -> _Passes:
        """The views that `rows` lack, by the way to compute them; the report counts the others."""
        known, rows, report = self.known, self.rows, self.report
        order = [b.name for b in self.network.row.boundaries if b.name in known]
        keys = [row_key(self.recipe, view.digest, view.number) for view in views]
        found = {name: known[name].locate(keys).present for name in order if name in rows}
        for name, has in found.items():
            report.stored[name], report.computed[name] = int(has.sum()), 0
        if all(has.all() for has in found.values()):
            return {}
        found |= {name: known[name].locate(keys).present for name in order if name not in rows}
        present = np.stack([found[name] for name in order])
        wanted = np.array([name in rows for name in order])
        # Rounded rows give other bits than the photo, and rows must not depend on their history.
        lossless = self.recipe.features.dtype == "float32"
        passes: _Passes = {}
        for view, has in zip(views, present.T, strict=True):
            missing = np.flatnonzero(wanted & ~has)
            if not len(missing):
                continue
            # The highest stored row below everything that is missing is nearest to all of it.
            below = np.flatnonzero(has[: missing[0]])
            source = order[below[-1]] if len(below) and lossless else None
            passes.setdefault((source, tuple(order[i] for i in missing)), []).append(view)
        return passes

    def compute(self, passes: _Passes) -> None:
        """Compute and commit; raises `StoreError` where the disk has no room for it."""
        self._check_space(passes)
        total = sum(len(wanted) for wanted in passes.values())
        started = time.monotonic()
        with console.progress(total, "extracting", "views") as bar:
            for (source, targets), wanted in passes.items():
                for done in _Pass(self, source, targets).run(wanted):
                    bar.update(done)
        self.report.seconds = time.monotonic() - started

    def _check_space(self, passes: _Passes) -> None:
        needed = sum(
            len(wanted) * sum(self.rows[name].row_bytes for name in targets)
            for (_, targets), wanted in passes.items()
        )
        folder = next(iter(self.rows.values())).path.parent
        disk_space.check_missing_rows(folder, needed)


class _Pass:
    """One way through the network: from pixels, or from the rows of a lower boundary."""

    def __init__(self, work: _Work, source: str | None, targets: tuple[str, ...]) -> None:
        self._work, self._source, self._targets = work, source, targets
        network = work.network
        model = network.between(source, targets) if source else network.trunk(targets)
        self._forward = compile_forward(model, BATCH_SIZE)

    def run(self, views: Sequence[View]) -> Iterator[int]:
        """Compute and commit batch by batch; yields the number of views of each."""
        starts = range(0, len(views), BATCH_SIZE)
        batches = [views[start : start + BATCH_SIZE] for start in starts]
        inputs = self._from_rows(batches) if self._source else self._from_pixels(batches)
        for batch, (readable, x) in zip(batches, inputs, strict=True):
            if readable:
                self._commit(readable, self._forward(x))
            signals.raise_if_interrupted()
            yield len(batch)

    def _from_rows(self, batches: list[Sequence[View]]) -> Iterator[tuple[Sequence[View], Array]]:
        work = self._work
        for batch in batches:
            reader = Reader(
                work.network, work.recipe, work.known, str(self._source), batch, alone=False
            )
            yield batch, reader.read(np.arange(len(batch)))

    def _from_pixels(self, batches: list[Sequence[View]]) -> Iterator[tuple[Sequence[View], Any]]:
        for batch in loader.batches(batches, loader.PixelSettings.of(self._work.recipe)):
            self._work.report.unreadable.update(batch.errors)
            self._work.report.images += len(batch.readable)
            yield batch.readable, batch.pixels

    def _commit(self, views: Sequence[View], outputs: Sequence[Array]) -> None:
        recipe, report = self._work.recipe, self._work.report
        keys = [row_key(recipe, view.digest, view.number) for view in views]
        for name, values in zip(self._targets, outputs, strict=True):
            if recipe.features.dtype == "float16":
                _check_range(values, name)
            self._work.rows[name].append(keys, values)
            report.computed[name] += len(views)


def _check_range(values: Array, boundary: str) -> None:
    largest = float(np.abs(values).max())
    if not largest <= FLOAT16_MAX:
        message = f"an activation of {largest:,.0f} at '{boundary}' does not fit float16"
        raise StoreError(Problem("features.dtype", message, "use float32 for this base"))
