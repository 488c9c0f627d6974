"""Features in files of their own, for use outside of tlcli."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tlcli.data.dataset import Item
from tlcli.errors import DataError, Problem
from tlcli.features import extraction
from tlcli.features.store import TrunkRows
from tlcli.system import files, own_files

Pooling = Literal["none", "avg", "max", "flatten"]


FEATURES, INDEX, META = "features.npy", "index.csv", "meta.json"


#: Rows copied at a time from the store to `features.npy`.
CHUNK = 256


@dataclass(frozen=True)
class Origin:
    """What computed the rows that are written, as the file beside them says.

    Attributes:
        weights: words for where the weights of the base came from.
    """

    base: str
    boundary: str
    image_size: tuple[int, int]
    resize: str
    weights: str


def check_target(out: Path, *, force: bool) -> None:
    """Raise `DataError` where features may not be written into the folder `out`."""
    if out.exists() and not out.is_dir():
        raise DataError(Problem(f"--out {out}", "exists and is not a folder", "name another"))
    if problems := files.check_writable(out):
        raise DataError(problems)
    if problems := own_files.check_folder(out, (FEATURES, INDEX, META), force=force):
        raise DataError(problems)


def write(
    out: Path,
    pooling: Pooling,
    rows: TrunkRows,
    reader: extraction.RowReader,
    items: Sequence[Item],
    classes: Sequence[str] | None,
    origin: Origin,
) -> dict[str, Any]:
    """Write the rows of `items`, an index of them, and what they are, into the folder `out`.

    `classes` are the names of the items' labels; None for photos without labels. Returns what
    `META` holds.
    """
    out.mkdir(parents=True, exist_ok=True)
    shape = (len(items), *pooled_shape(rows.shape, pooling))
    with files.replacing(out / FEATURES) as temporary, temporary.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(items), CHUNK):
            chosen = np.arange(start, min(start + CHUNK, len(items)))
            values = reader.read(chosen).astype("<f4")
            file.write(np.ascontiguousarray(pool(values, pooling)).tobytes())
    table = (
        (
            item.path,
            *(("", "") if classes is None else (classes[item.label], item.split)),
            item.digest,
        )
        for item in items
    )
    files.write_table(out / INDEX, ("path", "label", "split", "sha256"), table)
    meta = {
        "base": origin.base,
        "boundary": origin.boundary,
        "pooling": pooling,
        "shape": list(shape),
        "image_size": list(origin.image_size),
        "resize": origin.resize,
        "weights": origin.weights,
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
