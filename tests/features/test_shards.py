"""Shards: files of rows that any reader of `.npy` opens, and every kind of damage to them."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from builders.stores import key, keys, read, row_values, rows_of

from tlcli.errors import StoreError


def test_a_shard_is_a_plain_npy_file(tmp_path: Path):
    rows = rows_of(tmp_path)
    rows.append(keys(1, 2), row_values(1, 2))
    (path,) = rows.path.glob("*.npy")
    # Sparse while it is open: as long as it may become, as large as it is.
    assert path.stat().st_size > 200_000_000
    assert path.stat().st_blocks * 512 < 1_000_000
    rows.close()
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), row_values(1, 2))
    assert path.stat().st_size == 128 + 2 * 96


@pytest.mark.parametrize("harm", ["cut", "remove", "no header"])
def test_a_damaged_shard_is_told(tmp_path: Path, harm: str):
    rows = rows_of(tmp_path)
    rows.append(keys(1, 2), row_values(1, 2))
    rows.close()
    (path,) = rows.path.glob("*.npy")
    if harm == "cut":
        os.truncate(path, 130)
    elif harm == "remove":
        path.unlink()
    else:
        path.write_bytes(b"hello")
    rows = rows_of(tmp_path)
    hint = "; `tlcli cache verify` finds damaged rows and has them computed again"
    with pytest.raises(StoreError) as caught:
        read(rows, 1)
    assert str(caught.value).startswith(f"{rows.path}: the feature store: ")
    assert str(caught.value).endswith(hint)
    assert rows.damaged() == keys(1, 2)
    rows.close()


def test_a_shard_that_was_cut_short_loses_its_last_rows_alone(tmp_path: Path):
    rows = rows_of(tmp_path)
    rows.append(keys(1, 2, 3), row_values(1, 2, 3))
    rows.close()
    (path,) = rows.path.glob("*.npy")
    os.truncate(path, path.stat().st_size - 1)
    rows = rows_of(tmp_path)
    np.testing.assert_array_equal(read(rows, 1, 2), row_values(1, 2))
    assert rows.damaged() == keys(3)
    with pytest.raises(StoreError, match=f"{path.name} ends before row 2; "):
        read(rows, 3)
    rows.close()


def test_a_shard_of_other_rows_is_told(tmp_path: Path):
    rows = rows_of(tmp_path)
    rows.append(keys(1), row_values(1))
    rows.close()
    (path,) = rows.path.glob("*.npy")
    np.save(path, np.zeros((1, 7)))
    rows = rows_of(tmp_path)
    shape = row_values(1).shape[1:]
    expected = re.escape(f"{path.name} does not begin like rows of float32 {shape}; ")
    with pytest.raises(StoreError, match=expected):
        read(rows, 1)
    rows.close()


def test_no_flipped_bit_of_a_shard_is_more_than_damage(tmp_path: Path):
    rows = rows_of(tmp_path)
    rows.append(keys(1, 2), row_values(1, 2))
    rows.close()
    (path,) = rows.path.glob("*.npy")
    sound = path.read_bytes()
    for bit in range(8 * 128):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        again = rows_of(tmp_path)
        # A count of more rows than there are is no harm.
        assert again.damaged() in ([], keys(2), keys(1, 2)), f"bit {bit}"
        again.close()
    path.write_bytes(sound)
    assert rows_of(tmp_path).damaged() == []


def test_a_pipe_in_the_place_of_a_shard_is_not_waited_for(tmp_path: Path):
    rows = rows_of(tmp_path)
    rows.append(keys(1), row_values(1))
    rows.close()
    (path,) = rows.path.glob("*.npy")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StoreError, match="not a regular file"):
        read(rows_of(tmp_path), 1)


def test_a_row_that_no_shard_can_have_is_damaged(tmp_path: Path):
    rows = rows_of(tmp_path)
    rows.append(keys(1, 2, 3), row_values(1, 2, 3))
    with sqlite3.connect(rows.path / "index.sqlite") as index:
        for number, row in ((1, -5), (2, 2**62)):
            key_of = bytes.fromhex(key(number)[0])
            index.execute("UPDATE rows SET row = ? WHERE image = ?", (row, key_of))
    index.close()
    assert sorted(rows.damaged()) == sorted(keys(1, 2))
