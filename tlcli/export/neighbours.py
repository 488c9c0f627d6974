"""The features of the training photos beside an exported model: it, too, tells unknown photos.

Only the features travel, without names, classes and hashes of the photos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError, reason
from tlcli.export.records import NEIGHBOURS, Quantize, UnknownCard
from tlcli.networks.bases import lookup
from tlcli.networks.nearest import NearestRows
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.model_file import DAMAGED
from tlcli.runs.neighbour_file import NeighbourFile, NeighbourFileError, read_neighbours
from tlcli.system import console, files

Array = npt.NDArray[Any]

#: The name of the array in the file.
ROWS = "rows"

#: Weights with which features are close enough to those that the limit was chosen on.
EXACT: tuple[Quantize | None, ...] = (None, "float16")


def find_features(run: Run, classes: int, quantize: Quantize | None) -> NeighbourFile | None:
    """The features that a run has of its training photos, if an export of it can use them.

    A damaged file is a warning.
    """
    path = run.file(directory.NEIGHBOURS)
    if quantize not in EXACT:
        return None
    try:
        return read_neighbours(path, run.file(directory.MODEL), classes)
    except FileNotFoundError:
        return None
    except NeighbourFileError as error:
        hint = "restore it; the export calls no photo unknown"
        console.warn(str(Problem(str(path), str(error), hint)))
        return None


def describe_features(content: NeighbourFile, base: str) -> UnknownCard:
    """What the card of an export says of them; `base` is the name of the base."""
    row = lookup(base)
    assert row is not None  # its features were read, so that it is known
    record = content.record
    return UnknownCard(
        file=NEIGHBOURS,
        rows=len(content.rows),
        layer=row.top.name,
        limit=record.limit,
        rate=record.rate,
        rooted=record.rooted,
    )


def write_features(folder: Path, content: NeighbourFile) -> None:
    """Write them beside the model."""
    arrays: dict[str, Any] = {ROWS: content.rows}
    with files.replacing(folder / NEIGHBOURS) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def open_features(folder: Path, *, rooted: bool) -> NearestRows:
    """Those beside an exported model, with what its card says of them; a `RunError` where they are
    missing or damaged."""
    path = folder / NEIGHBOURS
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return NearestRows(arrays[ROWS], rooted=rooted)
    except (OSError, ValueError, KeyError, *DAMAGED) as error:
        raise RunError(
            Problem(str(path), f"cannot be read: {reason(error)}", "export it again")
        ) from error
