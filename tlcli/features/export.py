"""Features in files of their own, for use outside of tlcli."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tlcli.data.dataset import Item
from tlcli.data.layout import SPLITS
from tlcli.errors import DataError, Problem
from tlcli.features import extraction
from tlcli.features.store import TrunkRows
from tlcli.system import files, own_files
from tlcli.system.object_stores import written

Array = npt.NDArray[Any]

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


@dataclass(frozen=True)
class PhotoFeatures:
    """The features of photos, and what is known of each; all have the order of the photos.

    Attributes:
        values: float32, shape (photos, ...) as `pooled_shape` says.
        paths: of the files.
        labels: the name of each photo's class; empty for photos without labels.
        splits: `train`, `val` or `test`; empty for photos without labels.
        digests: hex SHA-256 of the bytes of each file.
        classes: the names of the classes, sorted.
    """

    values: Array
    paths: tuple[Path, ...]
    labels: Array
    splits: Array
    digests: tuple[str, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def of(self, split: str) -> tuple[Array, Array]:
        """Values and labels of one split: what scikit-learn calls X and y."""
        if split not in SPLITS:
            raise DataError(Problem("split", f"'{split}' is none", f"allowed: {', '.join(SPLITS)}"))
        chosen = self.splits == split
        return self.values[chosen], self.labels[chosen]

    def columns(self) -> dict[str, Any]:
        """A table, column by column, for `pandas.DataFrame`: what is known, then f0, f1, ...

        Features of more than one axis are flattened.
        """
        flat = self.values.reshape(len(self), -1)
        return {
            "path": [written(path) for path in self.paths],
            "label": self.labels,
            "split": self.splits,
            "sha256": list(self.digests),
            **{f"f{number}": flat[:, number] for number in range(flat.shape[1])},
        }


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
            written(item.path),
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


def read(
    pooling: Pooling,
    rows: TrunkRows,
    reader: extraction.RowReader,
    items: Sequence[Item],
    classes: Sequence[str] | None,
) -> PhotoFeatures:
    """The same rows in memory; `classes` as in `write`."""
    values = np.empty((len(items), *pooled_shape(rows.shape, pooling)), np.float32)
    for start in range(0, len(items), CHUNK):
        chosen = np.arange(start, min(start + CHUNK, len(items)))
        values[chosen] = pool(reader.read(chosen).astype("<f4"), pooling)
    known = classes or ()
    return PhotoFeatures(
        values,
        tuple(item.path for item in items),
        np.array([known[item.label] if known else "" for item in items], dtype=np.str_),
        np.array([item.split if known else "" for item in items], dtype=np.str_),
        tuple(item.digest for item in items),
        tuple(known),
    )


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
