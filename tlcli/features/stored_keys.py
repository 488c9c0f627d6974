"""Which rows the feature store has, looked up without changing anything in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from tlcli.features.locations import Locations, RowKey, locate_rows
from tlcli.features.store_index import INDEX, open_index_to_read


class StoredKeys:
    """The keys of a trunk's rows; none where there is no index, or it cannot be read.

    Args:
        folder: of the trunk; None for one that is not known, of which nothing is stored.
    """

    def __init__(self, folder: Path | None) -> None:
        self._index: sqlite3.Connection | None = None
        if folder is not None and (folder / INDEX).is_file():
            with suppress(sqlite3.DatabaseError):
                self._index = open_index_to_read(folder / INDEX)

    def locate(self, keys: Sequence[RowKey]) -> Locations:
        """Where the rows of `keys` are, in that order; see `Locations`."""
        if self._index is not None:
            try:
                return locate_rows(self._index, keys)
            except sqlite3.DatabaseError:
                pass  # the next extraction repairs it, and computes its rows again
        return Locations(*np.full((3, len(keys)), -1, np.int64))

    def close(self) -> None:
        """Let go of the index."""
        if self._index is not None:
            self._index.close()
