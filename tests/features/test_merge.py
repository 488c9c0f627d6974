"""Joining stores: every row once, damaged ones left out by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from builders.stores import SHAPE, TRUNK, all_rows, key, keys, read, row_values, rows_of
from rig import COMPILER, Rig

from tlcli.errors import TlcliError
from tlcli.features import merge, writers
from tlcli.features.inventory import list_trunks
from tlcli.features.merge import merge_stores
from tlcli.features.store import TrunkRows
from tlcli.features.trunk_address import TrunkAddress
from tlcli.system import files, signals


@pytest.fixture
def store(tmp_path: Path):
    """Make a store with rows of these numbers: `store("name", 1, 2)` gives its cache folder."""

    def make(name: str, *numbers: int, **more: object) -> Path:
        rows = rows_of(files.features_folder(tmp_path / name), **more)
        if numbers:
            rows.append(keys(*numbers), row_values(*numbers))
        rows.close()
        return tmp_path / name

    return make


def opened(cache: Path, **more: object) -> TrunkRows:
    return rows_of(files.features_folder(cache), **more)


def spoil(cache: Path, at: int) -> None:
    """Flip the bits of a byte of the only shard, counted from its end."""
    (shard,) = files.features_folder(cache).glob("*/rows-*.npy")
    content = bytearray(shard.read_bytes())
    content[at] ^= 255
    shard.write_bytes(content)


def test_rows_of_several_stores_are_in_one(store, tmp_path: Path):
    sources = [store("a", 1, 2, 3), store("b", 3, 4), store("c", 5, boundary="block5_pool")]
    report = merge_stores(tmp_path / "all", sources)
    assert (report.added, report.present, report.damaged, report.differing) == (5, 1, 0, 0)
    assert report.is_complete
    np.testing.assert_array_equal(
        read(opened(tmp_path / "all"), 1, 2, 3, 4), row_values(1, 2, 3, 4)
    )
    other = opened(tmp_path / "all", boundary="block5_pool")
    np.testing.assert_array_equal(read(other, 5), row_values(5))
    assert opened(tmp_path / "all").damaged() == []


def test_what_is_there_is_not_read_again(store, tmp_path: Path):
    cache = store("a", 1, 2)
    merge_stores(tmp_path / "all", [cache])
    spoil(cache, -1)
    report = merge_stores(tmp_path / "all", [cache])
    assert (report.added, report.present, report.damaged) == (0, 2, 0)


def test_damaged_rows_are_left_out_and_named(store, tmp_path: Path, capsys):
    cache = store("a", 1, 2, 3)
    spoil(cache, -1)
    report = merge_stores(tmp_path / "all", [cache])
    assert (report.added, report.damaged) == (2, 1)
    assert not report.is_complete
    (trunk,) = files.features_folder(cache).iterdir()
    warning = f"warning: {trunk}: the row of photo {key(3)[0][:16]}, view 0, is damaged"
    assert f"{warning}; it is left out; extract it again" in capsys.readouterr().err
    assert not opened(tmp_path / "all").locate(keys(3)).present.any()
    assert opened(tmp_path / "all").damaged() == []


def test_a_source_with_a_damaged_index_is_left_as_it_is(store, tmp_path: Path, capsys):
    damaged, sound = store("a", 1, 2), store("b", 3)
    (trunk,) = files.features_folder(damaged).iterdir()
    index = trunk / "index.sqlite"
    whole = index.read_bytes()
    index.write_bytes(whole[:100] + b"x" * (len(whole) - 100))
    before = {path: path.read_bytes() for path in (index, *trunk.glob("rows-*.npy"))}
    report = merge_stores(tmp_path / "all", [damaged, sound])
    assert (report.added, report.left_out, report.is_complete) == (1, 1, False)
    assert capsys.readouterr().err.splitlines() == [
        f"warning: {trunk}: its index is damaged; its rows are left as they are; bring the index "
        "back, or extract into that store"
    ]
    assert len(before) == 2
    assert {path: path.read_bytes() for path in before} == before
    index.write_bytes(whole)
    report = merge_stores(tmp_path / "all", [damaged, sound])
    assert (report.added, report.present, report.is_complete) == (2, 1, True)


def everything_in(cache: Path) -> dict[Path, tuple[bytes, int]]:
    """The content and the time of every file of a store, and the time of every folder."""
    paths = [cache, *cache.rglob("*")]
    return {p: (p.read_bytes() if p.is_file() else b"", p.stat().st_mtime_ns) for p in paths}


def test_nothing_changes_in_a_source(store, tmp_path: Path):
    cache = store("a", 1, 2, 3)
    before = everything_in(cache)
    for folder in (path for path in before if path.is_dir()):
        folder.chmod(0o500)
    report = merge_stores(tmp_path / "all", [cache])
    assert (report.added, report.is_complete) == (3, True)
    assert everything_in(cache) == before
    for folder in (path for path in before if path.is_dir()):
        folder.chmod(0o700)


def test_a_source_that_was_copied_without_hidden_files(store, tmp_path: Path):
    cache = store("a", 1, 2)
    for hidden in files.features_folder(cache).glob("*/.*"):
        hidden.unlink()
    before = everything_in(cache)
    assert merge_stores(tmp_path / "all", [cache]).added == 2
    assert everything_in(cache) == before


KILLED_IN_A_COMMIT = """
import os, signal, sqlite3, sys
index = sqlite3.connect(sys.argv[1])
index.execute("PRAGMA cache_size = 5")  # so that half a commit is on the disk
index.execute("BEGIN")
index.execute("DELETE FROM rows WHERE row % 2")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_half_a_commit_of_a_source_is_undone_in_memory(store, tmp_path: Path):
    cache = store("a", *range(2000))
    (index,) = files.features_folder(cache).glob("*/index.sqlite")
    subprocess.run([sys.executable, "-c", KILLED_IN_A_COMMIT, index], check=False, timeout=60)
    assert index.with_name("index.sqlite-journal").stat().st_size
    before = everything_in(cache)
    report = merge_stores(tmp_path / "all", [cache])
    assert (report.added, report.is_complete) == (2000, True)
    assert everything_in(cache) == before
    assert opened(tmp_path / "all").damaged() == []


def test_a_source_without_its_index_is_left_out(store, tmp_path: Path, capsys):
    cache = store("a", 1)
    (index,) = files.features_folder(cache).glob("*/index.sqlite")
    index.unlink()
    report = merge_stores(tmp_path / "all", [cache])
    assert (report.added, report.left_out) == (0, 1)
    assert capsys.readouterr().err == (
        f"warning: {index.parent}: its index is missing; its rows are left as they are; bring the "
        "index back, or extract into that store\n"
    )
    assert not index.exists()


def test_a_source_on_a_network_to_which_another_machine_writes(store, tmp_path, monkeypatch):
    cache = store("a", 1)
    folder = files.features_folder(cache)
    monkeypatch.setattr(
        writers.file_systems, "network_type", lambda path: "nfs4" if path == folder else None
    )
    name = folder / ".writer-node-2-7.json"
    since = "2026-01-01T00:00:00+00:00"
    name.write_text(json.dumps({"pid": 7, "host": "node-2", "since": since}), encoding="utf-8")
    with pytest.raises(TlcliError) as raised:
        merge_stores(tmp_path / "all", [cache])
    assert str(raised.value) == (
        f"{folder}: process 7 on node-2, since {since} writes to it, and on nfs4 it cannot be read "
        f"meanwhile; wait until that has ended (if it has, remove {name})"
    )
    os.utime(name, (0, 0))  # no sign of life for a long time
    assert merge_stores(tmp_path / "all", [cache]).added == 1
    assert name.exists()


def test_many_damaged_rows_are_counted(store, tmp_path: Path, capsys):
    cache = store("a", *range(20))
    (shard,) = files.features_folder(cache).glob("*/rows-*.npy")
    content = shard.read_bytes()
    shard.write_bytes(content[:-2000] + bytes(2000))
    report = merge_stores(tmp_path / "all", [cache])
    messages = capsys.readouterr().err.splitlines()
    assert (report.added, report.damaged) == (0, 20)
    assert len(messages) == 6
    assert "15 more rows damaged; left out; extract them again" in messages[-1]


def test_rows_with_other_bits_do_not_replace_those_that_are_there(store, tmp_path: Path, capsys):
    target = store("all", 1)
    rows = opened(tmp_path / "b")
    rows.append(keys(1, 2), row_values(7, 2))
    rows.close()
    report = merge_stores(target, [tmp_path / "b"])
    assert (report.added, report.present, report.differing) == (1, 1, 1)
    np.testing.assert_array_equal(read(opened(target), 1, 2), row_values(1, 2))
    assert "1 row had other bits than the same ones here; those here are kept" in (
        capsys.readouterr().err
    )


def test_many_rows_come_in_pages(store, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(merge, "MOST_KEYS", 7)
    monkeypatch.setattr(merge, "BATCH_BYTES", 3 * 24 * 4)
    numbers = [*range(40)]
    report = merge_stores(store("all", 3, 4), [store("a", *numbers)])
    assert (report.added, report.present) == (38, 2)
    np.testing.assert_array_equal(read(opened(tmp_path / "all"), *numbers), row_values(*numbers))


def test_a_stop_in_the_middle_loses_nothing(store, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(merge, "BATCH_BYTES", 3 * 24 * 4)
    cache, steps = store("a", *range(12)), iter(range(9))

    def stop_at_the_second() -> None:
        if next(steps) == 1:
            raise signals.Interrupted(2)

    monkeypatch.setattr(merge.signals, "raise_if_interrupted", stop_at_the_second)
    with pytest.raises(signals.Interrupted):
        merge_stores(tmp_path / "all", [cache])
    report = merge_stores(tmp_path / "all", [cache])
    assert (report.added, report.present) == (6, 6)
    np.testing.assert_array_equal(
        read(opened(tmp_path / "all"), *range(12)), row_values(*range(12))
    )


def test_large_rows_are_committed_a_few_at_a_time(tmp_path: Path, monkeypatch):
    address = TrunkAddress(TRUNK, (250_000,), "float32")  # a megabyte each
    with closing(TrunkRows(files.features_folder(tmp_path / "a"), address)) as rows:
        rows.append(keys(*range(20)), np.zeros((20, 250_000), np.float32))
    committed = []

    def count() -> None:
        (trunk,) = list_trunks(files.features_folder(tmp_path / "all"))
        committed.append(trunk.rows)

    monkeypatch.setattr(merge.signals, "raise_if_interrupted", count)
    merge_stores(tmp_path / "all", [tmp_path / "a"])
    assert committed == [8, 16, 20]


def test_folders_that_hold_no_store_are_all_named(store, tmp_path: Path):
    target = store("all", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(TlcliError) as raised:
        merge_stores(target, [tmp_path / "none", tmp_path / "empty", tmp_path / "link"])
    assert str(raised.value).splitlines() == [
        f"{tmp_path}/none: no such folder; name a cache folder",
        f"{tmp_path}/empty: holds no feature store; name the folder that another process had as "
        "--cache-dir",
        f"{tmp_path}/link: is the store that the others go into; name other stores, or another one "
        "to join them in: `tlcli cache --cache-dir DIR merge ...`",
    ]


def test_a_store_named_twice_is_joined_once(store, tmp_path: Path):
    cache = store("a", 1)
    assert merge_stores(tmp_path / "all", [cache, cache]).present == 0


def test_a_trunk_of_another_version_is_left_out_and_named(store, tmp_path: Path, capsys):
    cache = store("a", 1)
    (record,) = files.features_folder(cache).glob("*/trunk.json")
    record.write_text(json.dumps({**TRUNK, "shape": SHAPE, "dtype": "float8"}), encoding="utf-8")
    report = merge_stores(tmp_path / "all", [cache])
    assert not report.is_complete
    assert (report.added, report.left_out) == (0, 1)
    assert (
        f"warning: {record.parent}: its trunk.json is damaged, or does not match the folder's name;"
        " its rows are left out; another version of tlcli may have written it"
    ) in capsys.readouterr().err
    assert not files.features_folder(tmp_path / "all").exists()


def test_a_store_in_use_is_joined_as_it_is_now(store, tmp_path: Path, capsys):
    cache = store("a", 1)
    writer = opened(cache)
    writer.append(keys(2), row_values(2))
    assert merge_stores(tmp_path / "all", [cache]).added == 2
    assert "join it again when that has ended" in capsys.readouterr().err


def test_the_command(store, cli, tmp_path: Path):
    first, second = store("a", 1, 2), store("b", 2, 3)
    done = cli("cache", "--cache-dir", tmp_path / "all", "merge", first, second)
    (trunk,) = files.features_folder(tmp_path / "all").iterdir()
    assert (done.exit_code, done.stdout) == (
        0, f"{trunk.name}: 3 rows added, 1 there already\n3 rows added, 1 there already\n"
    )  # fmt: skip
    spoil(second, -1)
    done = cli("cache", "--cache-dir", tmp_path / "more", "merge", second, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {
        "added": 1, "present": 0, "differing": 0, "damaged": 1, "left_out": 0,
        "trunks": {trunk.name: {"added": 1, "present": 0, "damaged": 1, "differing": 0}},
    }  # fmt: skip
    done = cli("cache", "merge", tmp_path / "none")
    assert (done.exit_code, done.stderr) == (
        1, f"error: {tmp_path}/none: no such folder; name a cache folder\n"
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None or sys.platform != "linux", reason="needs a C compiler")
def test_a_merge_that_is_killed_at_a_change_of_a_file_is_given_again(tmp_path: Path):
    rig = Rig(tmp_path)
    part = rig.work / "part"
    for boundary in ("block3_pool", "block4_pool", "block5_pool"):
        rows = rows_of(files.features_folder(part), boundary=boundary)
        rows.append(keys(*range(40)), row_values(*range(40)))
        rows.close()
    expected = all_rows(part)
    command = ("cache", "merge", "part", "--json")
    whole = rig.run(*command)
    assert whole.code == 0, whole.said
    assert all_rows(rig.work / "cache") == expected
    for number in range(10):
        rig.reset()
        killed = rig.run(*command, action="kill", at=1 + number * whole.changes // 10)
        assert killed.code == -signal.SIGKILL, killed.said
        done = rig.run(*command)
        assert done.code == 0, done.said
        report = json.loads(done.said[done.said.index("{") :])
        assert (report["added"], report["present"]) == (120 - killed.rows, killed.rows)
        assert all_rows(rig.work / "cache") == expected
    rig.close()
