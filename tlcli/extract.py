"""`tlcli extract`: fill the store, and write features for use elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tlcli import addresses, features, trunks
from tlcli.data.dataset import Item
from tlcli.errors import DataError, Problem
from tlcli.images.loader import View
from tlcli.plan import Plan
from tlcli.store import TrunkRows
from tlcli.system import console, files, signals

Pooling = Literal["none", "avg", "max", "flatten"]

FEATURES, INDEX, META = "features.npy", "index.csv", "meta.json"

#: Rows copied at a time from the store to `features.npy`.
CHUNK = 256


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
        _check_out(wanted.out, force=force)
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
    with trunks.open_store(network, plan, names) as opened:
        rows, sources = opened.rows, opened.sources
        report = features.extract(network, plan.recipe, views, rows, sources)
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
            reader = features.Reader(network, plan.recipe, opened.known, names[-1], views)
            meta = _write(plan, wanted, names[-1], rows[names[-1]], reader, readable)
            done["out"] = {"folder": str(wanted.out), **meta}
    return done


def _check_out(out: Path, *, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(Problem(f"--out {out}", "exists and is not a folder", "name another"))
    if problems := files.check_writable(out):
        raise DataError(problems)
    present = [name for name in (FEATURES, INDEX, META) if (out / name).exists()]
    if present and not force:
        hint = "name another folder, or replace them with --force"
        raise DataError(Problem(f"--out {out}", f"has {', '.join(present)} already", hint))


def _write(
    plan: Plan,
    wanted: Wanted,
    boundary: str,
    rows: TrunkRows,
    reader: features.Reader,
    items: Sequence[Item],
) -> dict[str, Any]:
    out = wanted.out
    assert out is not None
    out.mkdir(parents=True, exist_ok=True)
    shape = (len(items), *pooled_shape(rows.shape, wanted.pooling))
    with files.replacing(out / FEATURES) as temporary, temporary.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(items), CHUNK):
            chosen = np.arange(start, min(start + CHUNK, len(items)))
            values = reader.read(chosen).astype("<f4")
            file.write(np.ascontiguousarray(pool(values, wanted.pooling)).tobytes())
    classes = plan.index.classes
    table = (
        (
            item.path,
            *((classes[item.label], item.split) if wanted.labelled else ("", "")),
            item.digest,
        )
        for item in items
    )
    files.write_table(out / INDEX, ("path", "label", "split", "sha256"), table)
    meta = {
        "base": plan.row.name,
        "boundary": boundary,
        "pooling": wanted.pooling,
        "shape": list(shape),
        "image_size": list(plan.recipe.base.image_size),
        "resize": plan.recipe.base.resize,
        "weights": str(plan.source),
        "trunk": rows.address,
    }
    files.write_json(out / META, meta)
    return meta


def pool(values: np.ndarray[Any, Any], pooling: Pooling) -> np.ndarray[Any, Any]:
    """Reduce rows of shape (n, h, w, c): avg and max to (n, c), flatten to (n, h * w * c)."""
    if pooling == "avg":
        return np.asarray(values.mean(axis=(1, 2)))
    if pooling == "max":
        return np.asarray(values.max(axis=(1, 2)))
    return values.reshape(len(values), -1) if pooling == "flatten" else values


def pooled_shape(shape: tuple[int, ...], pooling: Pooling) -> tuple[int, ...]:
    """The shape of one row after `pool`."""
    if pooling in ("avg", "max"):
        return (shape[-1],)
    return (int(np.prod(shape)),) if pooling == "flatten" else shape


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
