"""Filling the feature store: every photo and view through the trunk, once.

One pass over the photos fills every boundary that is asked for. What the store has is not computed
again; where it has a lower boundary, a higher one is computed from those rows instead of from the
photo. Photos are decoded ahead in threads while the trunk computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from tlcli.data.findings import unreadable_lines
from tlcli.errors import DataError, Problem
from tlcli.features import disk_space
from tlcli.features.addresses import row_key
from tlcli.features.forward_pass import ComputedBatch, run_pass
from tlcli.features.passes import Pass, PassPlan, computes_from_rows, plan_passes
from tlcli.features.shares import WHOLE, Share
from tlcli.features.store import TrunkRows
from tlcli.features.writers import lock_share, one_machine
from tlcli.images.loader import View
from tlcli.system import console, locks

if TYPE_CHECKING:
    from tlcli.networks.network import Network
    from tlcli.recipe.recipe import Recipe

Array = npt.NDArray[Any]


@dataclass(frozen=True)
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

    def with_earlier(self, counts: dict[str, Any]) -> ExtractionReport:
        """The report with the counts of the extraction before a stop included.

        Rows that were in the store at that time are those that the run did not compute.
        """
        computed = dict(self.computed)
        for boundary, rows in counts["computed"].items():
            computed[boundary] = computed.get(boundary, 0) + int(rows)
        stored = {boundary: int(rows) for boundary, rows in counts["stored"].items()}
        images = self.images + int(counts["images"])
        return replace(self, computed=computed, stored=stored, images=images)


class PassRunner(Protocol):
    """What computes passes that start from photos in other processes."""

    def run_pass(
        self, network: Network, recipe: Recipe, step: Pass, rows: Mapping[str, TrunkRows]
    ) -> Iterator[ComputedBatch]:
        """As `forward_pass.run_pass`; the batches come in any order."""
        ...


#: Opens what computes in other processes, for as long as there are photos to compute.
Elsewhere = Callable[[], AbstractContextManager[PassRunner]]


def extract(
    network: Network,
    recipe: Recipe,
    views: Sequence[View],
    rows: Mapping[str, TrunkRows],
    sources: Mapping[str, TrunkRows] | None = None,
    *,
    share: Share = WHOLE,
    elsewhere: Elsewhere | None = None,
) -> ExtractionReport:
    """Compute and commit every row of `views` that `rows` (boundary -> its rows) lacks.

    All `views` are in `share`; other processes may extract other shares meanwhile. `sources` are
    rows of other boundaries to compute from, where they lie lower; for rows that are pooled, rows
    of any boundary that are not. Raises `StoreError` where the disk has no room for them, and
    `DataError` naming every photo that has changed since its hash was taken, or that cannot be
    decoded; with `on_bad_image: skip`, the latter are in the report instead. The rows of the others
    are computed and kept either way. `elsewhere` opens what computes from photos.
    """
    is_pooled = any(trunk.pooling for trunk in rows.values())
    at_hand = {**(sources or {}), **({} if is_pooled else rows)}
    plan = _plan(network, recipe, views, rows, at_hand)
    with ExitStack() as stack:
        if plan.passes:
            stack.enter_context(one_machine(next(iter(rows.values())).path.parent))
            for trunk in sorted(rows.values(), key=lambda trunk: trunk.path):
                wait = lock_share(trunk.path, share, waiting="it extracts the same features")
                stack.enter_context(wait)
            # Another process may have computed rows while this one waited.
            plan = _plan(network, recipe, views, rows, at_hand)
        report = _compute(network, recipe, plan, rows, at_hand, elsewhere)
    check_unreadable(report.unreadable, recipe)
    return report


def count_passes(
    network: Network,
    recipe: Recipe,
    views: Sequence[View],
    rows: Mapping[str, TrunkRows],
    sources: Mapping[str, TrunkRows] | None = None,
) -> int:
    """How many photos and views `extract` would send through the trunk from their pixels."""
    plan = _plan(network, recipe, views, rows, {**(sources or {}), **rows})
    return _views([step for step in plan.passes if step.source is None])


def check_unreadable(unreadable: Mapping[Path, Problem], recipe: Recipe) -> None:
    """Raise `DataError` for photos that have changed, and for others unless they may be skipped."""
    root = recipe.data.root
    if changed := {path: why for path, why in unreadable.items() if why.kind == "changed"}:
        raise DataError(unreadable_lines(changed, root))
    if unreadable and recipe.data.on_bad_image == "error":
        raise DataError([*unreadable_lines(unreadable, root), _how_to_go_on(len(unreadable))])


class RowReader:
    """The rows of some views, compared with their checksums when they are first read.

    Damaged rows are computed again, and so are those that another process has found damaged and
    removed from the index since.

    Args:
        rows: of every boundary at hand; those below `boundary` help to compute a damaged row again.
        sources: what else to compute it from; None for `rows` themselves, which are not pooled.
        lock: compute under the trunk's lock, so that two processes do not compute the same. Not for
            a caller that holds the locks of other trunks: two of them could wait for each other.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        rows: Mapping[str, TrunkRows],
        boundary: str,
        views: Sequence[View],
        *,
        sources: Mapping[str, TrunkRows] | None = None,
        lock: bool = True,
    ) -> None:
        self._network, self._recipe, self._lock = network, recipe, lock
        self._sources = rows if sources is None else sources
        self._boundary, self._views, self._rows = boundary, views, rows[boundary]
        self._keys = [row_key(recipe.augment, view.digest, view.number) for view in views]
        self._locations = self._rows.locate(self._keys)
        self._is_sound = np.zeros(len(views), bool)  # compared with its checksum

    def read(self, positions: npt.ArrayLike) -> Array:
        """The rows at `positions` in the views, shape (len(positions), *row shape)."""
        distinct = np.unique(np.asarray(positions, np.intp))
        unchecked = distinct[~self._is_sound[distinct]]
        damaged = self._rows.damaged_at(self._locations, unchecked)
        self._is_sound[np.setdiff1d(unchecked, damaged)] = True
        if len(damaged):
            self._compute_again(damaged)
        return self._rows.read(self._locations, positions)

    def _compute_again(self, damaged: Array) -> None:
        what = "damaged" if self._locations.present[damaged].all() else "damaged or missing"
        count = console.counted(len(damaged), f"{what} row")
        console.note(console.one_line(f"{self._rows.path}: {count}; computing again"))
        with ExitStack() as stack:
            stack.enter_context(one_machine(self._rows.path.parent))
            if self._lock:
                wait = locks.lock_folder(self._rows.path, waiting="it computes the same features")
                stack.enter_context(wait)
                # Another process may have computed them again while this one waited.
                self._locate_again(damaged)
                damaged = self._rows.damaged_at(self._locations, damaged)
            self._rows.forget([self._keys[i] for i in damaged])
            views = [self._views[i] for i in damaged]
            network, recipe, targets = self._network, self._recipe, {self._boundary: self._rows}
            plan = _plan(network, recipe, views, targets, self._sources)
            report = _compute(network, recipe, plan, targets, self._sources)
            if report.unreadable:
                raise DataError(unreadable_lines(report.unreadable, recipe.data.root))
            self._locate_again(damaged)

    def _locate_again(self, positions: Array) -> None:
        newer = self._rows.locate([self._keys[i] for i in positions])
        self._locations = self._locations.replaced(positions, newer)


def _how_to_go_on(count: int) -> Problem:
    return Problem(
        "data",
        f"{console.counted(count, 'photo')} cannot be read",
        "repair or remove them, or set data.on_bad_image=skip to train without them; what was "
        "computed for the others is kept",
    )


def _plan(
    network: Network,
    recipe: Recipe,
    views: Sequence[View],
    targets: Mapping[str, TrunkRows],
    sources: Mapping[str, TrunkRows],
) -> PassPlan:
    boundaries, from_rows = network.row.boundaries, computes_from_rows(recipe)
    return plan_passes(views, recipe.augment, boundaries, targets, sources, from_rows=from_rows)


def _compute(
    network: Network,
    recipe: Recipe,
    plan: PassPlan,
    targets: Mapping[str, TrunkRows],
    sources: Mapping[str, TrunkRows],
    elsewhere: Elsewhere | None = None,
) -> ExtractionReport:
    """Compute and commit; raises `StoreError` where the disk has no room for it."""
    if plan.passes:
        folder = targets[plan.passes[0].targets[0]].path.parent
        disk_space.check_missing_rows(folder, _bytes(plan.passes, targets))

    def read_stored(boundary: str, views: Sequence[View]) -> Array:
        reader = RowReader(network, recipe, sources, boundary, views, lock=False)
        return reader.read(np.arange(len(views)))

    computed, images = dict.fromkeys(plan.stored, 0), 0
    unreadable: dict[Path, Problem] = {}
    with ExitStack() as stack:
        runner = None
        if elsewhere is not None and any(step.source is None for step in plan.passes):
            runner = stack.enter_context(elsewhere())
        bar = stack.enter_context(console.progress(_views(plan.passes), "extracting", "views"))
        started = time.monotonic()
        for step in plan.passes:
            if runner is not None and step.source is None:
                batches = runner.run_pass(network, recipe, step, targets)
            else:
                batches = run_pass(network, recipe, step, targets, read_stored)
            for batch in batches:
                for target in step.targets:
                    computed[target] += len(batch.readable)
                images += len(batch.readable) if step.source is None else 0
                unreadable |= batch.errors
                bar.update(batch.size)
        seconds = time.monotonic() - started
    return ExtractionReport(computed, plan.stored, images, seconds, unreadable)


def _bytes(passes: Sequence[Pass], rows: Mapping[str, TrunkRows]) -> int:
    return sum(
        len(step.views) * sum(rows[target].row_bytes for target in step.targets) for step in passes
    )


def _views(passes: Sequence[Pass]) -> int:
    return sum(len(step.views) for step in passes)
