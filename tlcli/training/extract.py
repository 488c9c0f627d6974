"""What a plan trains from: its network, and the stored rows of the trunks it is cut at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlcli.data.audit import check_photos
from tlcli.data.dataset import Index
from tlcli.errors import DataError, Problem
from tlcli.features import addresses, export, extraction
from tlcli.features.export import FEATURES, INDEX, META, Origin, Pooling
from tlcli.features.extraction import ExtractionReport
from tlcli.features.open_store import OpenedStore, open_store
from tlcli.images import decode
from tlcli.images.loader import View
from tlcli.networks.bases import BASES
from tlcli.networks.framework import tf
from tlcli.networks.network import Network, build_network
from tlcli.pretrained.weights import WeightSource, load_weights
from tlcli.recipe.recipe import Recipe
from tlcli.system import console, signals
from tlcli.training.plan import Plan


def load_network(recipe: Recipe, source: WeightSource, classes: int) -> Network:
    """The base of a recipe with its weights and a new head for so many classes.

    Where the recipe asks for it, TensorFlow is made deterministic for the rest of the process.
    """
    row = BASES[recipe.base.name]
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    network = build_network(
        row, recipe.base.image_size, recipe.head, classes,
        seed=recipe.seed, precision=recipe.precision,
    )  # fmt: skip
    load_weights(network.base, row, source)
    return network


def fill_store(
    network: Network, recipe: Recipe, index: Index, opened: OpenedStore
) -> ExtractionReport:
    """Extract what training needs and the store lacks."""
    items = index.items
    live = recipe.augment.views == "live"
    if live:
        items = tuple(item for item in items if item.split != "train")
    report = ExtractionReport()
    if views := addresses.views_of(items, recipe.augment, recipe.augment.kept_views):
        report = extraction.extract(network, recipe, views, opened.rows, opened.sources)
        _tell_extraction(report, len(views))
    if live:
        report = replace(report, unreadable={**report.unreadable, **_check_live(recipe, index)})
    for problem in report.unreadable.values():
        console.warn(f"{problem}; left out")
    return report


def _check_live(recipe: Recipe, index: Index) -> dict[Path, Problem]:
    """Decode every training photo once: with live views, damaged ones would show up late."""
    paths = [item.path for item in index.of("train")]
    problems = dict(check_photos(paths, decode.verify))
    if problems and recipe.data.on_bad_image == "error":
        raise DataError(problems.values())
    return problems


def _tell_extraction(report: ExtractionReport, views: int) -> None:
    computed, stored = sum(report.computed.values()), sum(report.stored.values())
    rate = f", {report.images / report.seconds:.1f} views/s" if report.images else ""
    console.note(
        f"features: {console.counted(computed, 'row')} computed in "
        f"{console.duration(report.seconds)}{rate}; {console.counted(stored, 'row')} of "
        f"{console.counted(views, 'view')} were in the store"
    )


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
    with signals.defer():
        done = _extract(plan, wanted)
        signals.ignore_from_now_on()
    return done


def _extract(plan: Plan, wanted: Wanted) -> dict[str, Any]:
    network = load_network(plan.recipe, plan.source, len(plan.index.classes))
    names = [wanted.boundary] if wanted.boundary else [cut.name for cut in plan.cuts]
    items = plan.index.items
    views = addresses.views_of(items, plan.recipe.augment, plan.recipe.augment.kept_views)
    with open_store(network, plan.recipe, plan.cache, names) as opened:
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
            reader = extraction.RowReader(network, plan.recipe, opened.all_rows, names[-1], views)
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
