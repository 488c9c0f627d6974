"""What computing costs in multiplications and in values moved, from the table in `work.json`."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

from tlcli.networks.bases import PretrainedBase
from tlcli.networks.boundaries import Boundary

#: Cost of a multiplication in a depthwise convolution, in those of a matrix product: it waits for
#: memory, not for arithmetic.
DEPTHWISE = 40.0


def work(
    row: PretrainedBase, size: tuple[int, int], low: Boundary | None, high: Boundary
) -> tuple[float, float]:
    """Multiply-adds (depthwise ones at their cost) and values moved for one image between two
    boundaries.

    The table holds them for the native size, boundary by boundary; each entry grows with the area
    of the activations it ends in.
    """
    names = [boundary.name for boundary in row.boundaries]
    first = names.index(low.name) + 1 if low else 0
    multiply_adds = values = 0.0
    for number in range(first, names.index(high.name) + 1):
        boundary = row.boundaries[number]
        here = np.prod(boundary.shape(*size)[:2])
        native = np.prod(boundary.shape(row.native_size, row.native_size)[:2])
        matrix, depthwise, moved = _table()[row.name][number]
        multiply_adds += (matrix + DEPTHWISE * depthwise) * here / native
        values += moved * here / native
    return float(multiply_adds), float(values)


@cache
def _table() -> dict[str, list[tuple[int, int, int]]]:
    """The contents of `work.json`; `scripts/work.py` says what it holds."""
    text = Path(__file__).with_name("work.json").read_text("utf-8")
    table: dict[str, list[tuple[int, int, int]]] = json.loads(text)
    return table
