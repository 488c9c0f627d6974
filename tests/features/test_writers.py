"""Who may write rows: shares side by side, and on a network file system one machine."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from tlcli.errors import StoreError
from tlcli.features import store_upkeep, writers
from tlcli.features.shares import WHOLE, Share
from tlcli.features.writers import lock_share, one_machine
from tlcli.system import locks, range_locks
from tlcli.system.locks import LOCK_FILE, LockHeldError, lock_folder

OTHER = {"pid": 7, "host": "node-2", "since": "2026-01-01T00:00:00+00:00"}


@pytest.fixture
def on_nfs(monkeypatch):
    monkeypatch.setattr(writers.file_systems, "network_type", lambda path: "nfs4")


def test_the_whole_is_locked_as_before_and_a_share_is_not(tmp_path: Path):
    with lock_share(tmp_path, WHOLE, waiting="it works"):
        assert locks.is_locked(tmp_path)
    with lock_share(tmp_path, Share(1, 2), waiting="it works"):
        assert not locks.is_locked(tmp_path)
        assert not (tmp_path / LOCK_FILE).exists() or not locks.is_locked(tmp_path)


def test_without_locks_on_ranges_shares_take_turns(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(range_locks, "fcntl", None)
    held = lock_share(tmp_path, Share(1, 2), waiting="it works")
    with held, pytest.raises(LockHeldError), lock_folder(tmp_path):
        pass
    with lock_share(tmp_path, WHOLE, waiting="it works"):
        assert locks.is_locked(tmp_path)


def test_on_a_disk_of_this_machine_nobody_leaves_a_name(tmp_path: Path):
    with one_machine(tmp_path / "store"):
        assert not (tmp_path / "store").exists()


def test_on_a_network_a_writer_leaves_its_name_until_it_ends(tmp_path: Path, on_nfs):
    with one_machine(tmp_path / "store"):
        (name,) = (tmp_path / "store").iterdir()
        assert name.name == f".writer-{socket.gethostname()}-{os.getpid()}.json"
        assert json.loads(name.read_text(encoding="utf-8"))["pid"] == os.getpid()
    assert not [*(tmp_path / "store").iterdir()]


def test_a_block_inside_another_one_leaves_the_name_where_it_is(tmp_path: Path, on_nfs):
    with one_machine(tmp_path):
        with one_machine(tmp_path):
            pass
        assert len([*tmp_path.iterdir()]) == 1
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "change", [store_upkeep.verify_store, lambda store: store_upkeep.prune_store(store, store)]
)
def test_what_another_machine_writes_is_neither_verified_nor_pruned(tmp_path: Path, on_nfs, change):
    (tmp_path / ".writer-node-2-7.json").write_text(json.dumps(OTHER), encoding="utf-8")
    with pytest.raises(StoreError, match="process 7 on node-2, since"):
        change(tmp_path)


def test_processes_of_one_machine_write_together(tmp_path: Path, on_nfs):
    beside = tmp_path / f".writer-{socket.gethostname()}-1.json"
    beside.write_text(json.dumps({**OTHER, "host": socket.gethostname()}), encoding="utf-8")
    with one_machine(tmp_path):
        pass
    assert beside.exists()


def test_another_machine_is_refused_until_it_has_been_silent(tmp_path: Path, on_nfs):
    other = tmp_path / ".writer-node-2-7.json"
    other.write_text(json.dumps(OTHER), encoding="utf-8")
    with pytest.raises(StoreError) as raised, one_machine(tmp_path):
        pass
    assert str(raised.value) == (
        f"{tmp_path}: process 7 on node-2, since 2026-01-01T00:00:00+00:00 writes to it, and on "
        "nfs4 only one machine may; name a store of this machine with --cache-dir, and join them "
        f"with `tlcli cache merge` (if that process has ended, remove {other})"
    )
    assert [*tmp_path.iterdir()] == [other]
    os.utime(other, (0, other.stat().st_mtime - writers.DEAD_SECONDS - 1))
    with one_machine(tmp_path):
        assert not other.exists()


def test_a_writer_gives_signs_of_life(tmp_path: Path, on_nfs, monkeypatch):
    monkeypatch.setattr(writers, "SIGN_SECONDS", 0.01)
    with one_machine(tmp_path):
        (name,) = tmp_path.iterdir()
        os.utime(name, (0, 0))
        while name.stat().st_mtime == 0:
            pass
