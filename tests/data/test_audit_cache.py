"""What is remembered of files, and when it is not believed."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from tlcli.data.audit_cache import FILE, AuditCache, Inspection
from tlcli.errors import Problem

LOOK = Inspection("", "", "JPEG", "RGB", 30, 20, 5, b"thumbnail")


def test_files_are_known_until_they_change(tmp_path: Path):
    path = tmp_path / "名前.jpg"
    path.write_bytes(b"one")
    with AuditCache(tmp_path / "cache") as memory:
        assert memory.digests([path]) == {}
        memory.keep({path: "d1"})
        assert memory.digests([path]) == {path: "d1"}
    with AuditCache(tmp_path / "cache") as memory:
        assert memory.digests([path, tmp_path / "gone.jpg"]) == {path: "d1"}
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert memory.digests([path]) == {}
        path.write_bytes(b"longer")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert memory.digests([path]) == {}


def test_a_copy_of_the_same_size_with_the_old_time_is_noticed(tmp_path: Path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    status = path.stat()
    with AuditCache(tmp_path) as memory:
        memory.digests([path])
        memory.keep({path: "of one"})
        path.write_bytes(b"two")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert memory.digests([path]) == {}


def test_times_that_no_database_holds_are_not_remembered(tmp_path: Path):
    old, far = tmp_path / "old.jpg", tmp_path / "far.jpg"
    for path in (old, far):
        path.write_bytes(b"x")
    year_2300 = 10_413_792_000
    os.utime(far, (year_2300, year_2300))
    if far.stat().st_mtime != year_2300:
        pytest.skip("this file system has no such times")
    with AuditCache(tmp_path) as memory:
        assert memory.digests([old, far]) == {}
        memory.keep({old: "d1", far: "d2"})
        assert memory.digests([old, far]) == {old: "d1"}


def test_what_earlier_versions_knew_of_files_is_dropped(tmp_path: Path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    base = sqlite3.connect(tmp_path / FILE)
    base.execute("CREATE TABLE files (path TEXT PRIMARY KEY, size, changed, digest) WITHOUT ROWID")
    base.execute("INSERT INTO files VALUES (?, 3, ?, 'd')", [str(path), path.stat().st_mtime_ns])
    base.commit()
    base.close()
    with AuditCache(tmp_path) as memory:
        assert memory.digests([path]) == {}
        memory.keep({path: "d1"})
        assert memory.digests([path]) == {path: "d1"}


def test_a_change_while_a_file_is_read_is_noticed(tmp_path: Path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"old")
    with AuditCache(tmp_path) as memory:
        memory.digests([path])
        path.write_bytes(b"newer")  # after it was looked at, before its old hash is kept
        memory.keep({path: "of old"})
        assert memory.digests([path]) == {}


def test_looks_are_known_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    many = {f"{number:064x}": LOOK for number in range(1200)}
    with AuditCache(tmp_path) as memory:
        memory.keep_looks(many)
    with AuditCache(tmp_path) as memory:
        assert memory.looks([*many, "unknown"]) == many
    # With another limit other files can be decoded.
    monkeypatch.setenv("TLCLI_PIXEL_LIMIT", "1000")
    with AuditCache(tmp_path) as memory:
        assert memory.looks(many) == {}


def test_why_a_file_cannot_be_decoded_is_remembered_whole(tmp_path: Path):
    path = tmp_path / "a.jpg"
    told = Problem("b.jpg", "cannot be decoded: x: y", "do", kind="no image", detail="y")
    with AuditCache(tmp_path) as memory:
        memory.keep_looks({"good": LOOK, "bad": Inspection.of(told)})
    with AuditCache(tmp_path) as memory:
        assert memory.unusable() == {"bad": Inspection.of(told)}
        found = memory.looks(["bad"])["bad"].problem(path)
    assert found == Problem(str(path), "cannot be decoded: x: y", "do")
    assert (found.kind, found.detail, found.general) == ("no image", "y", "cannot be decoded: x")


def test_what_an_earlier_version_remembered_of_looks_makes_room(tmp_path: Path):
    base = sqlite3.connect(tmp_path / FILE)
    base.execute("CREATE TABLE looks (digest TEXT, way TEXT, message TEXT)")
    base.execute("INSERT INTO looks VALUES ('x', '1-3', '')")
    base.commit()
    base.close()
    with AuditCache(tmp_path) as memory:
        memory.keep_looks({"x": LOOK})
        assert memory.looks(["x"]) == {"x": LOOK}
    base = sqlite3.connect(tmp_path / FILE)
    tables = [name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE sql <> ''")]
    base.close()
    assert sorted(tables) == ["hashes", "looks2"]


def test_two_writers_do_not_disturb_each_other(tmp_path: Path):
    def write(start: int) -> None:
        with AuditCache(tmp_path) as memory:
            for number in range(start, start + 50):
                memory.keep_looks({str(number): LOOK})

    threads = [threading.Thread(target=write, args=(50 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with AuditCache(tmp_path) as memory:
        assert len(memory.looks(map(str, range(200)))) == 200


def test_a_damaged_memory_is_begun_anew(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with AuditCache(tmp_path) as memory:
        memory.keep_looks({"x": LOOK})
        assert memory.looks(["x"]) == {"x": LOOK}


def test_without_a_place_nothing_is_remembered(tmp_path: Path):
    (tmp_path / "file").touch()
    path = tmp_path / "a.jpg"
    path.touch()
    with AuditCache(tmp_path / "file") as memory:
        memory.digests([path])
        memory.keep({path: "d"})
        memory.keep_looks({"d": LOOK})
        assert memory.digests([path]) == {}
        assert memory.looks(["d"]) == {}


def test_a_memory_that_breaks_meanwhile_is_done_without(tmp_path: Path):
    with AuditCache(tmp_path) as memory:
        memory.keep_looks({"x": LOOK})
        other = sqlite3.connect(tmp_path / FILE)
        other.execute("DROP TABLE looks2")
        other.close()
        assert memory.looks(["x"]) == {}
        memory.keep_looks({"y": LOOK})
        assert memory.digests([tmp_path]) == {}
