"""Filling the feature store: every photo and view through the trunk, once.

One pass over the photos fills every boundary that is asked for. What the store has is not computed
again; where it has a lower boundary, a higher one is computed from those rows instead of from the
photo. Photos are decoded ahead in threads while the trunk computes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlcli import augment, console, images, interrupts, locks, photos
from tlcli.dataset import Item
from tlcli.errors import DataError, Problem, StoreError
from tlcli.framework import tf
from tlcli.photos import BATCH_SIZE, View
from tlcli.split import Network
from tlcli.store import RowKey, TrunkRows

if TYPE_CHECKING:
    from tlcli.recipe import Recipe

Array = npt.NDArray[Any]

FLOAT16_MAX = 65_504.0


@dataclass
class Report:
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


def open_rows(
    network: Network, recipe: Recipe, boundary: str, folder: Path, *, weights: str
) -> TrunkRows:
    """The stored rows of one trunk, under the address of everything that computes them.

    `weights` is the checksum of the network's weights up to the boundary.
    """
    return TrunkRows(folder, *_trunk(network, recipe, boundary, weights))


def has_rows(
    network: Network, recipe: Recipe, boundary: str, folder: Path, *, weights: str
) -> bool:
    """Whether the store knows that trunk."""
    return TrunkRows.place(folder, *_trunk(network, recipe, boundary, weights)).is_dir()


def _trunk(
    network: Network, recipe: Recipe, boundary: str, weights: str
) -> tuple[dict[str, Any], tuple[int, ...], str]:
    """Description, shape of a row and number type of a trunk's rows."""
    description = {
        "base": network.row.name,
        "boundary": boundary,
        "weights": weights,
        "image_size": list(recipe.base.image_size),
        "resize": recipe.base.resize,
        "decoder": images.DECODER_VERSION,
        "precision": recipe.precision,
    }
    return description, network.shape(boundary), recipe.features.dtype


def row_key(recipe: Recipe, digest: str, number: int) -> RowKey:
    """The key of a view's row; augmented ones carry the address of what made them."""
    return (digest, f"{augment.address(recipe.augment)}/{number}" if number else "0")


def views_of(items: Iterable[Item], kept_views: int) -> list[View]:
    """What training on `items` needs: every photo, and the kept views of the training ones.

    Photos with the same bytes are the same view, and are listed once.
    """
    wanted: dict[tuple[str, int], View] = {}
    for item in items:
        for number in range(1 + (kept_views if item.split == "train" else 0)):
            wanted.setdefault((item.digest, number), View(item.path, item.digest, number))
    return list(wanted.values())


def extract(
    network: Network,
    recipe: Recipe,
    views: Sequence[View],
    rows: dict[str, TrunkRows],
    sources: Mapping[str, TrunkRows] | None = None,
) -> Report:
    """Compute and commit every row of `views` that `rows` (boundary -> its rows) lacks.

    `sources` are rows of other boundaries to compute from, where they lie lower. Raises
    `StoreError` where the disk has no room for them, and `DataError` naming every photo that cannot
    be decoded, unless the recipe says `on_bad_image: skip`; the rows of the others are computed and
    kept either way.
    """
    known = {**(sources or {}), **rows}
    report = Report()
    passes = _plan(network, recipe, views, rows, known, report)
    with ExitStack() as stack:
        if passes:
            for one in sorted(rows.values(), key=lambda one: one.path):
                wait = locks.locked(one.path, waiting="it extracts the same features")
                stack.enter_context(wait)
            # What another process has computed meanwhile is there now.
            passes = _plan(network, recipe, views, rows, known, report)
        _compute(network, recipe, passes, rows, known, report)
    if report.unreadable and recipe.data.on_bad_image == "error":
        raise DataError([*report.unreadable.values(), _how_to_go_on(report)])
    return report


def _compute(
    network: Network,
    recipe: Recipe,
    passes: _Passes,
    rows: Mapping[str, TrunkRows],
    known: Mapping[str, TrunkRows],
    report: Report,
) -> None:
    _check_space(passes, rows)
    total = sum(len(wanted) for wanted in passes.values())
    started = time.monotonic()
    with console.progress(total, "extracting", "views") as bar:
        for (source, targets), wanted in passes.items():
            one_pass = _Pass(network, recipe, known, source, targets, report)
            for done in one_pass.run(wanted):
                bar.update(done)
    report.seconds = time.monotonic() - started


class Reader:
    """The rows of some views, compared with their checksums when they are first read.

    Damaged rows are computed again, as they would have been if they were missing.

    Args:
        rows: of every boundary at hand; those below `boundary` help to mend.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        rows: Mapping[str, TrunkRows],
        boundary: str,
        views: Sequence[View],
    ) -> None:
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
        count = console.counted(len(damaged), "damaged row")
        console.note(f"{self._rows.path}: {count}; computing again")
        self._rows.forget([self._keys[i] for i in damaged])
        views = [self._views[i] for i in damaged]
        rows = {self._boundary: self._rows}
        report, place = Report(), (self._network, self._recipe)
        passes = _plan(*place, views, rows, self._known, report)
        _compute(*place, passes, rows, self._known, report)
        if report.unreadable:
            raise DataError(report.unreadable.values())
        self._locations = self._rows.locate(self._keys)


def _how_to_go_on(report: Report) -> Problem:
    return Problem(
        "data",
        f"{console.counted(len(report.unreadable), 'photo')} cannot be read",
        "repair or remove them, or set data.on_bad_image=skip to train without them; what was "
        "computed for the others is kept",
    )


_Passes = dict[tuple[str | None, tuple[str, ...]], list[View]]


def _plan(
    network: Network,
    recipe: Recipe,
    views: Sequence[View],
    rows: Mapping[str, TrunkRows],
    known: Mapping[str, TrunkRows],
    report: Report,
) -> _Passes:
    """Group the views by where their computation starts and which boundaries they lack."""
    order = [b.name for b in network.row.boundaries if b.name in known]
    keys = [row_key(recipe, view.digest, view.number) for view in views]
    found = {name: known[name].locate(keys).present for name in order if name in rows}
    for name, has in found.items():
        report.stored[name], report.computed[name] = int(has.sum()), 0
    if all(has.all() for has in found.values()):
        return {}
    found |= {name: known[name].locate(keys).present for name in order if name not in rows}
    present = np.stack([found[name] for name in order])
    wanted = np.array([name in rows for name in order])
    # Rounded rows would give other bits than the photo, and rows must not depend on their history.
    lossless = recipe.features.dtype == "float32"
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


def _check_space(passes: _Passes, rows: Mapping[str, TrunkRows]) -> None:
    needed = sum(
        len(wanted) * sum(rows[name].row_bytes for name in targets)
        for (_, targets), wanted in passes.items()
    )
    folder = next(iter(rows.values())).path.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        hint = (
            "use fewer augment.views, features.dtype=float16, augment.views=live, "
            "another disk (--cache-dir), or make room with `tlcli cache prune`"
        )
        message = f"the store needs {console.size(needed)}, but only {console.size(free)} is free"
        raise StoreError(Problem(str(folder), message, hint))


class _Pass:
    """One way through the network: from pixels, or from the rows of a lower boundary."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        rows: Mapping[str, TrunkRows],
        source: str | None,
        targets: tuple[str, ...],
        report: Report,
    ) -> None:
        self._network, self._recipe, self._rows, self._report = network, recipe, rows, report
        self._source, self._targets = source, targets
        model = network.between(source, targets) if source else network.trunk(targets)
        self._forward = forward(model)

    def run(self, views: Sequence[View]) -> Iterator[int]:
        """Compute and commit batch by batch; yields the number of views of each."""
        starts = range(0, len(views), BATCH_SIZE)
        batches = [views[start : start + BATCH_SIZE] for start in starts]
        inputs = self._from_rows(batches) if self._source else self._from_pixels(batches)
        for batch, (readable, x) in zip(batches, inputs, strict=True):
            if readable:
                self._commit(readable, self._forward(x))
            interrupts.check()
            yield len(batch)

    def _from_rows(self, batches: list[Sequence[View]]) -> Iterator[tuple[Sequence[View], Array]]:
        for batch in batches:
            reader = Reader(self._network, self._recipe, self._rows, str(self._source), batch)
            yield batch, reader.read(np.arange(len(batch)))

    def _from_pixels(self, batches: list[Sequence[View]]) -> Iterator[tuple[Sequence[View], Any]]:
        for batch in photos.batches(batches, photos.Look.of(self._recipe)):
            self._report.unreadable.update(batch.errors)
            self._report.images += len(batch.readable)
            yield batch.readable, batch.pixels

    def _commit(self, views: Sequence[View], outputs: Sequence[Array]) -> None:
        keys = [self._key(view) for view in views]
        for name, values in zip(self._targets, outputs, strict=True):
            if self._recipe.features.dtype == "float16":
                _check_range(values, name)
            self._rows[name].append(keys, values)
            self._report.computed[name] += len(views)

    def _key(self, view: View) -> RowKey:
        return row_key(self._recipe, view.digest, view.number)


def _check_range(values: Array, boundary: str) -> None:
    largest = float(np.abs(values).max())
    if not largest <= FLOAT16_MAX:
        message = f"an activation of {largest:,.0f} at '{boundary}' does not fit float16"
        raise StoreError(Problem("features.dtype", message, "use float32 for this base"))


def forward(model: Any) -> Callable[[Any], list[Array]]:
    """The compiled forward pass of a model, in inference mode: rows in, a list of outputs.

    It goes by batches of `BATCH_SIZE`, the last one filled up, so that there is one shape to
    compile for and a row does not depend on how many others are asked for with it.
    """
    compiled = tf.function(lambda x: model(x, training=False), reduce_retracing=True)

    def batch(x: Array) -> list[Array]:
        count = len(x)
        if count < BATCH_SIZE:
            x = np.concatenate([x, np.zeros((BATCH_SIZE - count, *x.shape[1:]), x.dtype)])
        outputs = compiled(tf.convert_to_tensor(x))
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        return [output.numpy()[:count] for output in outputs]

    def run(x: Any) -> list[Array]:
        rows = np.asarray(x)
        parts = [batch(rows[i : i + BATCH_SIZE]) for i in range(0, len(rows), BATCH_SIZE)]
        return (
            parts[0] if len(parts) == 1 else [np.concatenate(p) for p in zip(*parts, strict=True)]
        )

    return run
