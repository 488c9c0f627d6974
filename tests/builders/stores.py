"""Small feature stores: rows of one trunk, different for every photo."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.features.inventory import list_trunks
from tlcli.features.locations import RowKey
from tlcli.features.store import TrunkRows
from tlcli.features.trunk_address import TrunkAddress
from tlcli.system import files

SHAPE = (2, 3, 4)
TRUNK = {"base": "VGG16", "boundary": "block4_pool", "image_size": [64, 64]}

#: Rows that tests have opened; `tests/features/conftest.py` closes them.
OPENED: list[TrunkRows] = []


def rows_of(folder: Path, dtype: str = "float32", **more: Any) -> TrunkRows:
    OPENED.append(TrunkRows(folder, TrunkAddress({**TRUNK, **more}, SHAPE, dtype)))
    return OPENED[-1]


def key(number: int, view: str = "0") -> RowKey:
    return hashlib.sha256(str(number).encode()).hexdigest(), view


def keys(*numbers: int) -> list[RowKey]:
    return [key(number) for number in numbers]


def row_values(*numbers: int, dtype: str = "float32") -> np.ndarray:
    """A row for each number, different in every place."""
    return np.stack([np.arange(24, dtype=dtype).reshape(SHAPE) + 100 * n for n in numbers])


def all_rows(cache: Path) -> dict[tuple[str, str, str], bytes]:
    """The bytes of every row of the store in a cache folder, by trunk, photo and view."""
    content = {}
    for trunk in list_trunks(files.features_folder(cache)):
        with closing(trunk.open()) as rows:
            assert rows.damaged() == []
            for page in rows.keys(1000):
                values = rows.read(rows.locate(page), range(len(page)))
                for (photo, view), row in zip(page, values, strict=True):
                    content[trunk.path.name, photo, view] = row.tobytes()
    return content


def row_places(cache: Path) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Shard and place of every row that is in a store now, which a process may be filling."""
    places = {}
    for trunk in list_trunks(files.features_folder(cache)):
        with closing(trunk.open_to_read()) as rows:
            for page in rows.keys(1000):
                locations = rows.locate(page)
                where = zip(locations.shards.tolist(), locations.rows.tolist(), strict=True)
                for (photo, view), place in zip(page, where, strict=True):
                    places[trunk.path.name, photo, view] = place
    return places


def read(rows: TrunkRows, *numbers: int) -> np.ndarray:
    return rows.read(rows.locate(keys(*numbers)), range(len(numbers)))
