"""The stored hashes and results of decoding, and when they are not used any more."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from tlcli.data.audit_cache import FILE, AuditCache, Inspection
from tlcli.data.hashing import file_states
from tlcli.errors import Problem

INSPECTION = Inspection("", "", "JPEG", "RGB", 30, 20, 5, b"thumbnail")


def test_a_hash_is_used_until_the_file_changes(tmp_path: Path):
    path = tmp_path / "名前.jpg"
    path.write_bytes(b"one")
    with AuditCache(tmp_path / "cache") as cache:
        assert cache.digests(file_states([path])) == {}
        cache.store_digests({path: "d1"}, file_states([path]))
        assert cache.digests(file_states([path])) == {path: "d1"}
    with AuditCache(tmp_path / "cache") as cache:
        assert cache.digests(file_states([path, tmp_path / "gone.jpg"])) == {path: "d1"}
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert cache.digests(file_states([path])) == {}
        path.write_bytes(b"longer")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert cache.digests(file_states([path])) == {}


def test_a_copy_of_the_same_size_with_the_old_time_is_noticed(tmp_path: Path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    status = path.stat()
    with AuditCache(tmp_path) as cache:
        cache.store_digests({path: "of one"}, file_states([path]))
        path.write_bytes(b"two")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert cache.digests(file_states([path])) == {}


def test_times_that_no_database_holds_are_not_remembered(tmp_path: Path):
    old, far = tmp_path / "old.jpg", tmp_path / "far.jpg"
    for path in (old, far):
        path.write_bytes(b"x")
    year_2300 = 10_413_792_000
    os.utime(far, (year_2300, year_2300))
    if far.stat().st_mtime != year_2300:
        pytest.skip("this file system has no such times")
    with AuditCache(tmp_path) as cache:
        assert cache.digests(file_states([old, far])) == {}
        cache.store_digests({old: "d1", far: "d2"}, file_states([old, far]))
        assert cache.digests(file_states([old, far])) == {old: "d1"}


def test_the_hashes_of_earlier_versions_are_dropped(tmp_path: Path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    base = sqlite3.connect(tmp_path / FILE)
    base.execute("CREATE TABLE files (path TEXT PRIMARY KEY, size, changed, digest) WITHOUT ROWID")
    base.execute("INSERT INTO files VALUES (?, 3, ?, 'd')", [str(path), path.stat().st_mtime_ns])
    base.commit()
    base.close()
    with AuditCache(tmp_path) as cache:
        assert cache.digests(file_states([path])) == {}
        cache.store_digests({path: "d1"}, file_states([path]))
        assert cache.digests(file_states([path])) == {path: "d1"}


def test_a_change_while_a_file_is_read_is_noticed(tmp_path: Path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"old")
    with AuditCache(tmp_path) as cache:
        states = file_states([path])
        path.write_bytes(b"newer")  # after its state was taken, before its old hash is stored
        cache.store_digests({path: "of old"}, states)
        assert cache.digests(file_states([path])) == {}


def test_results_are_stored_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    many = {f"{number:064x}": INSPECTION for number in range(1200)}
    with AuditCache(tmp_path) as cache:
        cache.store_inspections(many)
    with AuditCache(tmp_path) as cache:
        assert cache.inspections([*many, "unknown"]) == many
    # With another limit other files can be decoded.
    monkeypatch.setenv("TLCLI_PIXEL_LIMIT", "1000")
    with AuditCache(tmp_path) as cache:
        assert cache.inspections(many) == {}


def test_why_a_file_cannot_be_decoded_is_stored_whole(tmp_path: Path):
    path = tmp_path / "a.jpg"
    problem = Problem("b.jpg", "cannot be decoded: x: y", "do", kind="no image", detail="y")
    with AuditCache(tmp_path) as cache:
        cache.store_inspections({"good": INSPECTION, "bad": Inspection.of_unusable(problem)})
    with AuditCache(tmp_path) as cache:
        assert cache.unusable() == {"bad": Inspection.of_unusable(problem)}
        stored = cache.inspections(["bad"])["bad"].problem(path)
    assert stored == Problem(str(path), "cannot be decoded: x: y", "do")
    assert (stored.kind, stored.detail, stored.general) == ("no image", "y", "cannot be decoded: x")


def test_the_results_of_earlier_versions_are_dropped(tmp_path: Path):
    base = sqlite3.connect(tmp_path / FILE)
    base.execute("CREATE TABLE looks (digest TEXT, way TEXT, message TEXT)")
    base.execute("INSERT INTO looks VALUES ('x', '1-3', '')")
    base.commit()
    base.close()
    with AuditCache(tmp_path) as cache:
        cache.store_inspections({"x": INSPECTION})
        assert cache.inspections(["x"]) == {"x": INSPECTION}
    base = sqlite3.connect(tmp_path / FILE)
    tables = [name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE sql <> ''")]
    base.close()
    assert sorted(tables) == ["hashes", "looks2"]


def test_two_writers_do_not_disturb_each_other(tmp_path: Path):
    def write(start: int) -> None:
        with AuditCache(tmp_path) as cache:
            for number in range(start, start + 50):
                cache.store_inspections({str(number): INSPECTION})

    threads = [threading.Thread(target=write, args=(50 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with AuditCache(tmp_path) as cache:
        assert len(cache.inspections(map(str, range(200)))) == 200


def test_a_damaged_cache_is_replaced(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with AuditCache(tmp_path) as cache:
        cache.store_inspections({"x": INSPECTION})
        assert cache.inspections(["x"]) == {"x": INSPECTION}


def test_where_no_file_can_be_made_nothing_is_stored(tmp_path: Path):
    (tmp_path / "file").touch()
    path = tmp_path / "a.jpg"
    path.touch()
    with AuditCache(tmp_path / "file") as cache:
        cache.store_digests({path: "d"}, file_states([path]))
        cache.store_inspections({"d": INSPECTION})
        assert cache.digests(file_states([path])) == {}
        assert cache.inspections(["d"]) == {}


def test_a_cache_that_breaks_meanwhile_is_empty(tmp_path: Path):
    with AuditCache(tmp_path) as cache:
        cache.store_inspections({"x": INSPECTION})
        other = sqlite3.connect(tmp_path / FILE)
        other.execute("DROP TABLE looks2")
        other.close()
        assert cache.inspections(["x"]) == {}
        cache.store_inspections({"y": INSPECTION})
        assert cache.digests(file_states([tmp_path])) == {}
