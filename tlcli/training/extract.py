"""The work of `tlcli extract`: fill the feature store, and write features for use elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.data.dataset import Item
from tlcli.data.split_file import keep_split
from tlcli.features import addresses, export, extraction
from tlcli.features.export import FEATURES, INDEX, META, Origin, PhotoFeatures, Pooling
from tlcli.features.extraction import Elsewhere, ExtractionReport
from tlcli.features.open_store import OpenedStore, open_store
from tlcli.features.shares import WHOLE, Share
from tlcli.features.store import TrunkRows
from tlcli.images.loader import View
from tlcli.networks.precision import foresee_precision
from tlcli.system import console, signals
from tlcli.training.plan import Plan, choose_precision
from tlcli.training.preparation import load_network

if TYPE_CHECKING:
    from tlcli.networks.network import Network


@dataclass(frozen=True)
class ExportRequest:
    """What to extract beside the recipe.

    Attributes:
        boundary: the layer to take activations from; None for every cut of the recipe's stages, of
            which the highest is written out.
        pooling: how the two image axes of what is written are reduced.
        labelled: whether the photos of the plan have labels to write.
        out: the folder to write to; None fills the store alone.
        share: the photos to compute; others are left to other processes.
        elsewhere: opens what computes from the photos, if that is not this process.
    """

    boundary: str | None = None
    pooling: Pooling = "avg"
    labelled: bool = True
    out: Path | None = None
    share: Share = WHOLE
    elsewhere: Elsewhere | None = None


def extract(plan: Plan, request: ExportRequest, *, force: bool = False) -> dict[str, Any]:
    """Compute what the store lacks, write it out if asked, and tell what was done."""
    if request.out is not None:
        export.check_target(request.out, force=force)
    with _filled(plan, request) as filled:
        report = filled.report
        done: dict[str, Any] = {
            "images": len(filled.readable),
            "computed": report.computed,
            "stored": report.stored,
            "pixels": report.images,
            "seconds": round(report.seconds, 2),
            "unreadable": [str(path) for path in report.unreadable],
        }
        if (share := request.share) != WHOLE:
            done["share"] = {
                "number": share.number, "of": share.count,
                "views": filled.views, "of_views": filled.of_views,
            }  # fmt: skip
        if request.out is not None:
            meta = export.write(
                request.out, request.pooling, filled.rows, filled.reader(), filled.readable,
                filled.classes, filled.origin(),
            )  # fmt: skip
            done["out"] = {"folder": str(request.out), **meta}
    return done


def read_features(plan: Plan, request: ExportRequest) -> PhotoFeatures:
    """Compute what the store lacks, and read the features of every photo into memory."""
    with _filled(plan, request) as filled:
        return export.read(
            request.pooling, filled.rows, filled.reader(), filled.readable, filled.classes
        )


@dataclass(frozen=True)
class _Filled:
    """The store with the rows of every photo that can be read; `views` of `of_views` were due."""

    network: Network
    plan: Plan
    opened: OpenedStore
    report: ExtractionReport
    boundary: str
    readable: list[Item]
    classes: tuple[str, ...] | None
    views: int
    of_views: int

    @property
    def rows(self) -> TrunkRows:
        """Those of the boundary that is written or read."""
        return self.opened.rows[self.boundary]

    def reader(self) -> extraction.RowReader:
        """What reads them, in the order of the photos."""
        views = [View(item.file, item.digest) for item in self.readable]
        return extraction.RowReader(
            self.network, self.plan.recipe, self.opened.all_rows, self.boundary, views
        )

    def origin(self) -> Origin:
        """What computed them."""
        base, source = self.plan.recipe.base, str(self.plan.source)
        return Origin(self.plan.row.name, self.boundary, base.image_size, base.resize, source)


@contextmanager
def _filled(plan: Plan, request: ExportRequest) -> Iterator[_Filled]:
    """Fill the store for the time of a block, which a signal does not interrupt."""
    if request.boundary is not None:
        plan.row.boundary(request.boundary, where="--boundary", line="--boundary {}")
    if request.labelled:
        keep_split(plan.recipe.data.split.file, plan.index.divided_lines())
    plan = _choose_precision(plan, request.share)
    items, augment = plan.index.items, plan.recipe.augment
    with signals.defer():
        network = load_network(plan.recipe, plan.source, len(plan.index.classes))
        names = [request.boundary] if request.boundary else [cut.name for cut in plan.cuts]
        listed = addresses.views_of(items, augment, augment.kept_views)
        views = request.share.select(listed)
        with open_store(network, plan.recipe, plan.cache, names) as opened:
            report = extraction.extract(
                network, plan.recipe, views, opened.rows, opened.sources,
                share=request.share, elsewhere=request.elsewhere,
            )  # fmt: skip
            lost = set(map(str, report.unreadable))
            unreadable = {item.digest for item in items if item.file in lost}
            readable = [item for item in items if item.digest not in unreadable]
            classes = plan.index.classes if request.labelled else None
            yield _Filled(
                network, plan, opened, report, names[-1], readable, classes, len(views), len(listed)
            )
        signals.ignore_from_now_on()


def _choose_precision(plan: Plan, share: Share) -> Plan:
    """The plan with its precision; a note says where the processes of other shares may differ."""
    chosen = choose_precision(plan)
    if share != WHOLE and plan.recipe.precision == "auto":
        choice = foresee_precision(plan.row.name, plan.cache)
        if choice.measured:
            console.note(
                "precision: a share with another --cache-dir measures for itself; write precision: "
                f"{chosen.recipe.precision} into the recipe, so that all rows fit together"
            )
    return chosen


def describe_extraction(done: dict[str, Any]) -> str:
    """What `extract` has done, as people read it."""
    lines = [
        f"{boundary}: {console.counted(computed, 'row')} computed, "
        f"{done['stored'][boundary]:,} in the store already"
        for boundary, computed in done["computed"].items()
    ]
    if "share" in done:
        share, views = done["share"], console.counted(done["share"]["views"], "view")
        of = f"{views} of {share['of_views']:,}"
        lines.insert(0, f"share {share['number']} of {share['of']}: {of}")
    if "out" in done:
        shape = " x ".join(map(str, done["out"]["shape"]))
        lines.append(f"{done['out']['folder']}: {FEATURES} ({shape}), {INDEX}, {META}")
    return "\n".join(lines)
