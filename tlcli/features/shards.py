"""Append-only `.npy` files that can be read while they grow."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.system.files import open_regular, sync_folder


class ShardError(ValueError):
    """A file that holds no such rows, or not all that it should."""


class ShardWriter:
    """A `.npy` file that one process appends to.

    The header promises the full capacity from the start, and the file is made that long without
    taking the space, so that any reader of `.npy` files may open it while it grows. Rows go through
    `write`, not through a map: a full disk then raises an error, where a map would end the process.

    Args:
        path: of the new file.
        shape: rows that fit, then the shape of one.
        dtype: of the numbers.
        id: the number under which the index knows the shard.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, id: int
    ) -> None:
        self.id = id
        self._path, self._shape, self._dtype = path, shape, dtype
        self._row_bytes = int(np.prod(shape[1:])) * dtype.itemsize
        self._count = 0
        # Unbuffered: a buffer keeps the bytes of a failed write, and writes them on closing.
        self._file = path.open("xb", buffering=0)
        try:
            self._start = self._write_header(shape[0])
            self._file.truncate(self._start + shape[0] * self._row_bytes)
        except OSError:
            self._file.close()
            path.unlink()
            raise
        sync_folder(path.parent)

    @property
    def room(self) -> int:
        """Rows that still fit."""
        return self._shape[0] - self._count

    def write(self, rows: npt.NDArray[Any]) -> int:
        """Append rows, wait until they are on the disk, and return the number of the first."""
        first = self._count
        self._write_at(self._start + first * self._row_bytes, rows.tobytes())
        os.fsync(self._file.fileno())
        self._count += len(rows)
        return first

    def close(self) -> None:
        """Cut the file to the rows it has; the header first, so that it is valid all along."""
        with self._file:
            self._write_header(self._count)
            self._file.truncate(self._start + self._count * self._row_bytes)
            os.fsync(self._file.fileno())

    def _write_header(self, count: int) -> int:
        header = _header(count, self._shape[1:], self._dtype)
        self._write_at(0, header)
        return len(header)

    def _write_at(self, position: int, data: bytes) -> None:
        self._file.seek(position)
        remaining = memoryview(data)
        while remaining:  # the system may write less than it is given
            remaining = remaining[self._file.write(remaining) :]


class ShardReader:
    """The rows of a shard, copied from the file one by one; for one thread at a time.

    The file is not mapped into memory: the system counts the pages of a map as memory of the
    process, and after an epoch these would be the whole store.

    Args:
        path: of the file. Raises `ShardError` where it does not hold such rows, and OSError.
        shape: of one row.
        dtype: of the numbers.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._path = path
        self._file = open_regular(path)
        try:
            self._rows = self._read_count(shape, dtype)
            self._start = self._file.tell()
        except BaseException:
            self._file.close()
            raise

    def _read_count(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        """Rows that the file has room for; its header must be what `ShardWriter` writes.

        numpy would evaluate a damaged header as Python, and could raise any error.
        """
        length = len(_header(0, shape, dtype))
        header = self._file.read(length) or b""
        number = re.search(rb"'shape': \(([0-9]{1,18}),", header)
        if number is None or header != _header(int(number[1]), shape, dtype):
            raise ShardError(f"{self._path.name} does not begin like rows of {dtype} {shape}")
        return int(number[1])

    def read(self, row: int, into: npt.NDArray[Any]) -> None:
        """Copy a row into a contiguous array; `ShardError` where there is no such row."""
        if not 0 <= row < self._rows:
            raise ShardError(f"{self._path.name} has no row {row}")
        self._file.seek(self._start + row * into.nbytes)
        remaining = into.reshape(-1).view(np.uint8).data
        while remaining:  # the system may read less than is asked for
            count = self._file.readinto(remaining)
            if not count:
                raise ShardError(f"{self._path.name} ends before row {row}")
            remaining = remaining[count:]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _header(count: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The bytes that a `.npy` file of `count` rows begins with.

    numpy leaves room in them for a larger count, so that their number is the same for any.
    """
    values = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (count, *shape),
    }
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, values)
    return text.getvalue()
