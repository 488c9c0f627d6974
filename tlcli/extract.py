"""`tlcli extract`: fill the store, and write features for use elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli import trunks
from tlcli.features import addresses, export, extraction
from tlcli.features.export import FEATURES, INDEX, META, Origin, Pooling
from tlcli.images.loader import View
from tlcli.plan import Plan
from tlcli.system import console, signals


@dataclass(frozen=True)
class Wanted:
    """What to extract beside the recipe.

    Attributes:
        boundary: the layer to take activations from; None for every cut of the recipe's stages, of
            which the highest is written out.
        pooling: how the two image axes of what is written are reduced.
        labelled: whether the photos of the plan have labels to write.
        out: the folder to write to; None fills the store alone.
    """

    boundary: str | None = None
    pooling: Pooling = "avg"
    labelled: bool = True
    out: Path | None = None


def extract(plan: Plan, wanted: Wanted, *, force: bool = False) -> dict[str, Any]:
    """Compute what the store lacks, write it out if asked, and tell what was done."""
    if wanted.out is not None:
        export.check_target(wanted.out, force=force)
    if wanted.boundary is not None:
        plan.row.boundary(wanted.boundary, where="--boundary")
    with signals.graceful():
        done = _extract(plan, wanted)
        signals.done()
    return done


def _extract(plan: Plan, wanted: Wanted) -> dict[str, Any]:
    network = trunks.load_network(plan)
    names = [wanted.boundary] if wanted.boundary else [cut.name for cut in plan.cuts]
    items = plan.index.items
    views = addresses.views_of(items, plan.recipe.augment, plan.recipe.augment.kept_views)
    with addresses.open_store(network, plan.recipe, plan.cache, names) as opened:
        rows, sources = opened.rows, opened.sources
        report = extraction.extract(network, plan.recipe, views, rows, sources)
        bad = {item.digest for item in items if item.path in report.unreadable}
        readable = [item for item in items if item.digest not in bad]
        done: dict[str, Any] = {
            "images": len(readable),
            "computed": report.computed,
            "stored": report.stored,
            "pixels": report.images,
            "seconds": round(report.seconds, 2),
            "unreadable": [str(path) for path in report.unreadable],
        }
        if wanted.out is not None:
            views = [View(item.path, item.digest) for item in readable]
            reader = extraction.Reader(network, plan.recipe, opened.known, names[-1], views)
            classes = plan.index.classes if wanted.labelled else None
            base = plan.recipe.base
            origin = Origin(
                plan.row.name, names[-1], base.image_size, base.resize, str(plan.source)
            )
            meta = export.write(
                wanted.out, wanted.pooling, rows[names[-1]], reader, readable, classes, origin
            )
            done["out"] = {"folder": str(wanted.out), **meta}
    return done


def text(done: dict[str, Any]) -> str:
    """What `extract` has done, as people read it."""
    lines = [
        f"{boundary}: {console.counted(computed, 'row')} computed, "
        f"{done['stored'][boundary]:,} in the store already"
        for boundary, computed in done["computed"].items()
    ]
    if "out" in done:
        shape = " x ".join(map(str, done["out"]["shape"]))
        lines.append(f"{done['out']['folder']}: {FEATURES} ({shape}), {INDEX}, {META}")
    return "\n".join(lines)
