"""Where rows lie: their keys, and the places that the index of a trunk has for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tlcli.features.store_index import wait_for_index

#: A row's key: hex SHA-256 of the photo's bytes, and the view ("0", or "<augment address>/<n>").
RowKey = tuple[str, str]


@dataclass(frozen=True)
class Locations:
    """Where rows are: shard ids and row numbers, -1 where there is none yet, and their CRC-32.

    Shape (n,) each.
    """

    shards: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    checksums: npt.NDArray[np.int64]

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which of the keys have a row."""
        present: npt.NDArray[np.bool_] = self.shards >= 0
        return present

    def replaced(self, positions: npt.NDArray[np.intp], newer: Locations) -> Locations:
        """The same, but with the places in `newer` for the rows at some positions."""
        shards, rows, checksums = self.shards.copy(), self.rows.copy(), self.checksums.copy()
        shards[positions], rows[positions] = newer.shards, newer.rows
        checksums[positions] = newer.checksums
        return Locations(shards, rows, checksums)


def locate_rows(index: sqlite3.Connection, keys: Sequence[RowKey]) -> Locations:
    """Where the rows of `keys` are by the index of a trunk, in that order."""
    places = np.full((len(keys), 3), -1, dtype=np.int64)
    query = "SELECT shard, row, crc32 FROM rows WHERE image = ? AND view = ?"

    def look_up() -> None:
        for position, (image, view) in enumerate(keys):
            row = index.execute(query, (bytes.fromhex(image), view)).fetchone()
            if row is not None:
                places[position] = row

    wait_for_index(look_up)
    return Locations(*places.T)
