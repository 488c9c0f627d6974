"""The work of `tlcli extract`: fill the feature store, and write features for use elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.data.split_file import keep_split
from tlcli.features import addresses, export, extraction
from tlcli.features.export import FEATURES, INDEX, META, Origin, Pooling
from tlcli.features.open_store import open_store
from tlcli.features.shares import WHOLE, Share
from tlcli.images.loader import View
from tlcli.system import console, signals
from tlcli.training.plan import Plan, choose_precision
from tlcli.training.preparation import load_network


@dataclass(frozen=True)
class ExportRequest:
    """What to extract beside the recipe.

    Attributes:
        boundary: the layer to take activations from; None for every cut of the recipe's stages, of
            which the highest is written out.
        pooling: how the two image axes of what is written are reduced.
        labelled: whether the photos of the plan have labels to write.
        out: the folder to write to; None fills the store alone.
        share: the views to compute; others are left to other processes.
    """

    boundary: str | None = None
    pooling: Pooling = "avg"
    labelled: bool = True
    out: Path | None = None
    share: Share = WHOLE


def extract(plan: Plan, request: ExportRequest, *, force: bool = False) -> dict[str, Any]:
    """Compute what the store lacks, write it out if asked, and tell what was done."""
    if request.out is not None:
        export.check_target(request.out, force=force)
    if request.boundary is not None:
        plan.row.boundary(request.boundary, where="--boundary", line="--boundary {}")
    if request.labelled:
        keep_split(plan.recipe.data.split.file, plan.index.divided_lines())
    plan = choose_precision(plan)
    with signals.defer():
        done = _extract(plan, request)
        signals.ignore_from_now_on()
    return done


def _extract(plan: Plan, request: ExportRequest) -> dict[str, Any]:
    network = load_network(plan.recipe, plan.source, len(plan.index.classes))
    names = [request.boundary] if request.boundary else [cut.name for cut in plan.cuts]
    items, share = plan.index.items, request.share
    listed = addresses.views_of(items, plan.recipe.augment, plan.recipe.augment.kept_views)
    views = share.select(listed)
    with open_store(network, plan.recipe, plan.cache, names) as opened:
        rows, sources = opened.rows, opened.sources
        report = extraction.extract(network, plan.recipe, views, rows, sources, share=share)
        unreadable = {item.digest for item in items if item.path in report.unreadable}
        readable = [item for item in items if item.digest not in unreadable]
        done: dict[str, Any] = {
            "images": len(readable),
            "computed": report.computed,
            "stored": report.stored,
            "pixels": report.images,
            "seconds": round(report.seconds, 2),
            "unreadable": [str(path) for path in report.unreadable],
        }
        if share != WHOLE:
            done["share"] = {
                "number": share.number, "of": share.count,
                "views": len(views), "of_views": len(listed),
            }  # fmt: skip
        if request.out is not None:
            views = [View(item.path, item.digest) for item in readable]
            reader = extraction.RowReader(network, plan.recipe, opened.all_rows, names[-1], views)
            classes = plan.index.classes if request.labelled else None
            base = plan.recipe.base
            origin = Origin(
                plan.row.name, names[-1], base.image_size, base.resize, str(plan.source)
            )
            meta = export.write(
                request.out, request.pooling, rows[names[-1]], reader, readable, classes, origin
            )
            done["out"] = {"folder": str(request.out), **meta}
    return done


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
