"""What the store holds, one trunk after the other: listed, verified and removed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from tlcli import audit_cache, inventory
from tlcli.store import TrunkRows

TRUNK = {"boundary": "block4_pool", "image_size": [64, 96]}


def keys(count: int) -> list[tuple[str, str]]:
    return [(f"{number:064x}", "0") for number in range(count)]


def fill(folder: Path, base: str, rows: int, dtype: str = "float32") -> Path:
    opened = TrunkRows(folder, {"base": base, **TRUNK}, (5,), dtype)
    opened.append(keys(rows), np.ones((rows, 5), np.float32))
    opened.close()
    return opened.path


def test_listing_and_removing(tmp_path: Path):
    assert inventory.listed(tmp_path) == []
    path = fill(tmp_path, "VGG16", 2)
    fill(tmp_path, "VGG16", 0, "float16")
    long_ago = time.time() - 3 * 86_400
    os.utime(path / "trunk.json", (long_ago, long_ago))
    newer, older = inventory.listed(tmp_path)
    assert (newer.rows, older.rows) == (0, 2)
    assert (newer.description["dtype"], older.description["dtype"]) == ("float16", "float32")
    assert older.path == path
    assert 2.99 < older.days_unused < 3.01
    assert 200 < older.bytes < 100_000
    opened = older.open()
    assert opened.path == path
    assert opened.damaged() == []
    # Looking after rows is not using them.
    assert inventory.listed(tmp_path)[1].days_unused > 2.9
    np.testing.assert_array_equal(opened.read(opened.locate(keys(2)), [1, 0]), np.ones((2, 5)))
    assert inventory.listed(tmp_path)[0].path == path
    opened.close()
    inventory.remove(older)
    assert [entry.path for entry in inventory.listed(tmp_path)] == [newer.path]
    assert not older.path.exists()


def test_an_interrupted_removal_is_still_listed(tmp_path: Path):
    path = fill(tmp_path, "VGG16", 1)
    (path / "index.sqlite").unlink()
    (entry,) = inventory.listed(tmp_path)
    assert entry.rows == 0
    inventory.remove(entry)
    assert inventory.listed(tmp_path) == []


def test_pruning(tmp_path: Path):
    home = tmp_path / "home"
    fill(tmp_path, "VGG16", 3)
    fill(tmp_path, "ResNet50", 2)
    assert inventory.prune(tmp_path, home, unused_days=1, base=None) == "removed 0 rows, 0 B"
    assert inventory.prune(tmp_path, home, unused_days=None, base="vgg16").startswith(
        "removed 3 rows, "
    )
    assert [entry.rows for entry in inventory.listed(tmp_path)] == [2]
    assert inventory.prune(tmp_path, home, unused_days=0, base=None).startswith("removed 2 rows, ")
    assert list(tmp_path.iterdir()) == []


def test_verifying(tmp_path: Path):
    fill(tmp_path, "VGG16", 1)
    path = fill(tmp_path, "ResNet50", 2)
    assert inventory.verify(tmp_path) == ("3 rows, all intact", 0)
    (shard,) = path.glob("*.npy")
    shard.write_bytes(shard.read_bytes()[:-1] + b"\xff")
    assert inventory.verify(tmp_path) == (
        "1 damaged row of 3; they will be computed again when they are needed",
        1,
    )
    assert inventory.verify(tmp_path) == ("2 rows, all intact", 0)


def test_a_verification_that_fails_lets_go_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = fill(tmp_path, "VGG16", 1)
    closed = []
    close = TrunkRows.close

    def noted(self: TrunkRows) -> None:
        closed.append(self.path)
        close(self)

    def fail(self: TrunkRows, keys: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrunkRows, "close", noted)
    monkeypatch.setattr(TrunkRows, "forget", fail)
    with pytest.raises(KeyboardInterrupt):
        inventory.verify(tmp_path)
    assert closed == [path]


def test_check_results_are_pruned_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    features = tmp_path / "features"
    for version, number in ((audit_cache.VERSION + 1, 900), (audit_cache.VERSION, 100)):
        with monkeypatch.context() as patch, audit_cache.AuditCache(tmp_path) as memory:
            patch.setattr(audit_cache, "VERSION", version)
            memory._way = audit_cache.way()
            memory.keep_looks({f"{n:064}": audit_cache.Look(thumbnail=b"x" * 256)
                               for n in range(number)})  # fmt: skip
    before = audit_cache.size(tmp_path)
    said = inventory.prune(features, tmp_path, unused_days=30)
    assert said.startswith("removed 0 rows, 0 B; and check results of 900 photos, ")
    assert audit_cache.size(tmp_path) < before / 4
    assert inventory.prune(features, tmp_path, unused_days=30) == "removed 0 rows, 0 B"
    with audit_cache.AuditCache(tmp_path) as memory:
        assert len(memory.looks([f"{n:064}" for n in range(900)])) == 100
    assert "; and check results of 100 photos, " in inventory.prune(features, tmp_path)
    with audit_cache.AuditCache(tmp_path) as memory:
        assert memory.looks([f"{n:064}" for n in range(900)]) == {}
