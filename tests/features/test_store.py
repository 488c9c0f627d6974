"""The feature store: rows that last, whoever writes beside you and whenever you are stopped."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.stores import OPENED, SHAPE, TRUNK, key, keys, read, row_values, rows_of

from tlcli.errors import StoreError
from tlcli.features import store, store_index, stored_rows
from tlcli.features.store import TrunkRows
from tlcli.features.trunk_address import TrunkAddress, number_type

ROOT = Path(__file__).parents[2]


def run(code: str, *arguments: object, **settings: Any) -> subprocess.Popen[str]:
    """Another process, with the helpers of `builders.stores` at hand."""
    preamble = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
    preamble += "from pathlib import Path\nfrom builders.stores import *\n"
    preamble += "from tlcli.errors import StoreError\n"
    return subprocess.Popen(
        [sys.executable, "-c", preamble + code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def test_rows_come_back(tmp_path: Path):
    rows = rows_of(tmp_path)
    rows.append(keys(1, 2, 3), row_values(1, 2, 3))
    # While the shard is open, after it is closed, and from another opening.
    np.testing.assert_array_equal(read(rows, 3, 1), row_values(3, 1))
    rows.append(keys(4), row_values(4))
    np.testing.assert_array_equal(read(rows, 4, 1, 4), row_values(4, 1, 4))
    rows.close()
    again = rows_of(tmp_path)
    np.testing.assert_array_equal(read(again, 1, 2, 3, 4), row_values(1, 2, 3, 4))
    again.close()


def test_locating_keeps_the_order(tmp_path: Path):
    rows = rows_of(tmp_path)
    rows.append([*keys(1), key(1, "abc/1"), *keys(2)], row_values(1, 7, 2))
    locations = rows.locate([*keys(9, 2), key(1, "abc/1"), *keys(1), key(2, "abc/1")])
    assert locations.present.tolist() == [False, True, True, True, False]
    assert locations.rows.tolist() == [-1, 2, 1, 0, -1]
    np.testing.assert_array_equal(rows.read(locations, [2, 1]), row_values(7, 2))
    assert rows.read(locations, []).shape == (0, *SHAPE)
    assert rows.locate([]).present.tolist() == []
    rows.close()


def test_reading_a_row_that_is_not_there(tmp_path: Path):
    rows = rows_of(tmp_path)
    with pytest.raises(
        StoreError, match="1 rows are not in the feature store; they were pruned or never extracted"
    ):
        read(rows, 1)
    rows.close()


def test_a_row_is_a_copy(tmp_path: Path):
    rows = rows_of(tmp_path)
    rows.append(keys(1), row_values(1))
    read(rows, 1)[...] = 0
    np.testing.assert_array_equal(read(rows, 1), row_values(1))
    rows.close()


def test_the_first_row_of_a_key_stays(tmp_path: Path):
    rows = rows_of(tmp_path)
    rows.append(keys(1, 1), row_values(1, 5))
    rows.append(keys(1, 2), row_values(6, 2))
    np.testing.assert_array_equal(read(rows, 1, 2), row_values(1, 2))
    rows.close()


def test_float16(tmp_path: Path):
    rows = rows_of(tmp_path, "float16")
    rows.append(keys(1), row_values(1) / 3)
    stored = read(rows, 1)
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, (row_values(1) / 3).astype(np.float16))
    assert rows.row_bytes == 48
    assert rows.path != rows_of(tmp_path).path
    rows.close()


def test_the_address_is_of_everything_that_computes(tmp_path: Path):
    first = rows_of(tmp_path)
    assert first.path.name == f"VGG16-block4_pool-{first.address}"
    assert rows_of(tmp_path).address == first.address
    others = [
        rows_of(tmp_path, image_size=[64, 65]),
        rows_of(tmp_path, weights="x"),
        rows_of(tmp_path, "float16"),
        TrunkRows(tmp_path, TrunkAddress(TRUNK, (2, 3, 5), "float32")),
    ]
    OPENED.append(others[-1])
    assert len({rows.address for rows in [first, *others]}) == 5


def test_shards_roll_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 3 * 96 + 50)
    rows = rows_of(tmp_path)
    rows.append(keys(*range(7)), row_values(*range(7)))
    rows.append(keys(7, 8, 9), row_values(7, 8, 9))
    np.testing.assert_array_equal(read(rows, *range(10)), row_values(*range(10)))
    rows.close()
    shards = [np.load(path) for path in rows.path.glob("*.npy")]
    assert sorted(map(len, shards)) == [1, 3, 3, 3]
    np.testing.assert_array_equal(np.sort(np.concatenate(shards), axis=0), row_values(*range(10)))


def test_a_row_larger_than_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 10)
    rows = rows_of(tmp_path)
    rows.append(keys(1, 2), row_values(1, 2))
    np.testing.assert_array_equal(read(rows, 1, 2), row_values(1, 2))
    rows.close()


def test_two_writers_in_one_process(tmp_path: Path):
    first, second = rows_of(tmp_path), rows_of(tmp_path)
    first.append(keys(1), row_values(1))
    second.append(keys(2, 1), row_values(2, 5))
    first.append(keys(3), row_values(3))
    for rows in (first, second):
        np.testing.assert_array_equal(read(rows, 1, 2, 3), row_values(1, 2, 3))
    first.close()
    np.testing.assert_array_equal(read(second, 3, 2, 1), row_values(3, 2, 1))
    second.close()


APPEND = """
rows = rows_of(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), 60, int(sys.argv[3])):
    rows.append(keys(number, number + 1), row_values(number, number + 1))
print(rows.damaged())
rows.close()
"""


def test_processes_append_side_by_side(tmp_path: Path):
    writers = [run(APPEND, tmp_path, first, step) for first, step in ((0, 1), (1, 2), (0, 3))]
    for writer in writers:
        assert writer.communicate(timeout=60) == ("[]\n", "")
    rows = rows_of(tmp_path)
    np.testing.assert_array_equal(read(rows, *range(61)), row_values(*range(61)))
    assert rows.damaged() == []
    rows.close()
    assert len(list(rows.path.glob("*.npy"))) == 3


ENDLESS = """
rows = rows_of(Path(sys.argv[1]))
for number in range(10**6):
    rows.append(keys(2 * number, 2 * number + 1), row_values(2 * number, 2 * number + 1))
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_what_it_committed(tmp_path: Path):
    for wait in (0.0, 0.013, 0.029):
        writer = run(ENDLESS, tmp_path / str(wait))
        assert writer.stdout
        for _ in range(5):
            writer.stdout.readline()
        time.sleep(wait)
        writer.send_signal(signal.SIGKILL)
        last = [4, *map(int, writer.communicate()[0].split())][-1]
        rows = rows_of(tmp_path / str(wait))
        committed = rows.locate(keys(*range(2 * last + 6))).present.sum()
        assert committed in (2 * last + 2, 2 * last + 4)
        np.testing.assert_array_equal(read(rows, *range(committed)), row_values(*range(committed)))
        assert rows.damaged() == []
        rows.append(keys(10**7), row_values(7))
        np.testing.assert_array_equal(read(rows, 10**7, 0), row_values(7, 0))
        rows.close()


LIMITED = """
import resource, shutil
rows = rows_of(Path(sys.argv[1]))
rows.append(keys(1), row_values(1))
(shard,) = rows.path.glob("*.npy")
for more in (shard.stat().st_size, 128 + 96 + 40, 100_000):
    # First there is room for the whole shard, then for one row and a half, then for no new shard.
    resource.setrlimit(resource.RLIMIT_FSIZE, (more, resource.RLIM_INFINITY))
    if more == 100_000:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        rows.append(keys(2), row_values(2))
        rows.close()
        rows = rows_of(Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (more, resource.RLIM_INFINITY))
    try:
        rows.append(keys(3 + more), row_values(3))
        print("written")
    except StoreError as error:
        print(str(error).replace(sys.argv[1], "HERE").replace(rows.path.name, "TRUNK"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
rows.append(keys(4), row_values(4))
print((read(rows, 1, 2, 4) == row_values(1, 2, 4)).all(), rows.damaged())
rows.close()
print(len(list(rows.path.glob("*.npy"))))
"""


def test_a_full_disk_is_told_and_survived(tmp_path: Path):
    out, err = run(LIMITED, tmp_path).communicate(timeout=60)
    expected = (
        "HERE/TRUNK: the feature store: file too large; move the store with --cache-dir or "
        "TLCLI_CACHE, or make room with `tlcli cache prune`"
    )
    assert err == ""
    assert out.splitlines() == ["written", expected, expected, "True []", "2"]


def test_damaged_rows_are_found_and_forgotten(tmp_path: Path):
    rows = rows_of(tmp_path)
    rows.append(keys(1, 2, 3), row_values(1, 2, 3))
    rows.close()
    (path,) = rows.path.glob("*.npy")
    with path.open("r+b") as file:
        file.seek(128 + 96 + 5)
        file.write(b"\xff")
    rows = rows_of(tmp_path)
    assert rows.damaged() == keys(2)
    rows.forget(rows.damaged())
    assert rows.locate(keys(1, 2, 3)).present.tolist() == [True, False, True]
    rows.append(keys(2), row_values(2))
    assert rows.damaged() == []
    np.testing.assert_array_equal(read(rows, 1, 2, 3), row_values(1, 2, 3))
    rows.close()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_a_shard_that_cannot_be_read_just_now_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
):
    rows = rows_of(tmp_path)
    rows.append(keys(1, 2), row_values(1, 2))

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(stored_rows, "ShardReader", fail)
        with pytest.raises(StoreError, match=f"store: {os.strerror(code).lower()}; "):
            rows.damaged()
        with pytest.raises(StoreError, match=f"store: {os.strerror(code).lower()}; "):
            rows.damaged_at(rows.locate(keys(1, 2)), np.array([0]))
    assert rows.damaged() == []


def test_few_shards_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 96)
    monkeypatch.setattr(stored_rows, "OPEN_SHARDS", 3)
    rows = rows_of(tmp_path)
    rows.append(keys(*range(8)), row_values(*range(8)))
    np.testing.assert_array_equal(read(rows, *range(8), 0, 7), row_values(*range(8), 0, 7))
    assert rows.damaged() == []
    assert len(rows._readers) == 3


def test_a_damaged_index_is_told_and_made_anew(tmp_path: Path, capsys):
    rows = rows_of(tmp_path)
    rows.append(keys(0, 1, 2), row_values(0, 1, 2))
    rows.close()
    (rows.path / "index.sqlite").write_bytes(b"not a database, really not" * 100)
    again = rows_of(tmp_path)
    assert capsys.readouterr().err == (
        f"warning: {rows.path}: the index was damaged; its rows are computed again\n"
    )
    assert not again.locate(keys(0, 1, 2)).present.any()
    again.append(keys(0, 1, 2), row_values(0, 1, 2))
    np.testing.assert_array_equal(read(again, 0, 1, 2), row_values(0, 1, 2))
    again.close()
    assert len(list(rows.path.glob("rows-*.npy"))) == 1, "rows that nothing points to are removed"


def test_a_busy_index_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_index, "BUSY_TIMEOUT", 0.05)
    rows = rows_of(tmp_path)
    other = sqlite3.connect(rows.path / "index.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="the feature store: database is locked; move the store"):
        rows.append(keys(1), row_values(1))
    other.execute("ROLLBACK")
    other.close()
    rows.append(keys(1), row_values(1))
    np.testing.assert_array_equal(read(rows, 1), row_values(1))
    rows.close()


def test_verifying_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_index, "BUSY_TIMEOUT", 0.05)
    reader, writer = rows_of(tmp_path), rows_of(tmp_path)
    writer.append(keys(*range(5)), row_values(*range(5)))
    opened = reader._shard_reader

    def append_meanwhile(shard: int) -> Any:
        writer.append(keys(9), row_values(9))
        return opened(shard)

    monkeypatch.setattr(reader, "_shard_reader", append_meanwhile)
    assert reader.damaged() == []
    reader.close()
    writer.close()


def test_a_store_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError) as caught:
        rows_of(tmp_path / "file")
    assert "the feature store: not a directory; move the store with --cache-dir" in str(
        caught.value
    )


def test_a_store_can_be_moved(tmp_path: Path):
    rows = rows_of(tmp_path / "a")
    rows.append(keys(1), row_values(1))
    rows.close()
    shutil.move(tmp_path / "a", tmp_path / "b")
    moved = rows_of(tmp_path / "b")
    np.testing.assert_array_equal(read(moved, 1), row_values(1))
    moved.close()


def test_rows_of_bfloat16_are_kept_in_two_bytes_without_a_loss(tmp_path: Path):
    bfloat16 = number_type("bfloat16")
    values = np.random.default_rng(0).standard_normal((3, *SHAPE)).astype(bfloat16)
    rows = rows_of(tmp_path, "bfloat16")
    rows.append(keys(1, 2, 3), values)
    assert rows.row_bytes == 2 * values[0].size
    got = read(rows_of(tmp_path, "bfloat16"), 3, 1)
    assert got.dtype == bfloat16
    assert (got.astype(np.float32) == values[[2, 0]].astype(np.float32)).all()
    assert rows.path != rows_of(tmp_path, "float32").path
    # Any reader of .npy files finds the bits.
    (shard,) = rows.path.glob("rows-*.npy")
    bits = np.load(shard, mmap_mode="r")[:3]
    assert (np.left_shift(bits.astype(np.uint32), 16).view(np.float32) == values.astype("f4")).all()
    assert rows.damaged() == []
