"""Locks on ranges: those that do not overlap are held side by side."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tlcli.system import range_locks
from tlcli.system.range_locks import NoRangeLocksError, lock_range

#: Locks the range of its arguments, says so, and holds it until its input ends.
HOLDER = """
import sys
from pathlib import Path
from tlcli.system import console
from tlcli.system.range_locks import lock_range
console.configure(quiet=False)
with lock_range(Path(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[3])), waiting="it works"):
    print("held", flush=True)
    sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(range_locks.fcntl is None, reason="no such locks on this system")


def hold(path: Path, start: int, stop: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", HOLDER, str(path), str(start), str(stop)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_ranges_side_by_side_and_one_after_the_other(tmp_path: Path):
    path = tmp_path / "ranges"
    first = hold(path, 0, 10)
    assert first.stdout.readline() == "held\n"
    beside = hold(path, 10, 4_294_967_296)
    assert beside.stdout.readline() == "held\n"
    overlapping = hold(path, 5, 6)
    note = overlapping.stderr.readline()
    expected = f"waiting for process {first.pid} (it works)\n"
    assert note == (expected if sys.platform == "linux" else note)
    first.kill()  # the system releases the lock
    assert overlapping.stdout.readline() == "held\n"
    for process in (first, beside, overlapping):
        process.communicate()
    assert path.stat().st_size == 0


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch):
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(range_locks.fcntl, "lockf", refuse)
    with pytest.raises(NoRangeLocksError), lock_range(tmp_path / "x", range(1), waiting="it works"):
        pass


def test_a_folder_that_is_not_there(tmp_path: Path):
    lock = lock_range(tmp_path / "none" / "x", range(1), waiting="it works")
    with pytest.raises(FileNotFoundError), lock:
        pass
