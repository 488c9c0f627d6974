"""Locks between processes."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest

from tlcli.system import locks, signals

HOLD = """
import sys, time
from pathlib import Path
from tlcli.system import locks
with locks.lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process that holds the lock of a folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_holder_is_named(other: subprocess.Popen[str], tmp_path: Path):
    with pytest.raises(locks.LockHeldError) as held, locks.lock_folder(tmp_path):
        pass
    assert str(held.value).startswith(f"process {other.pid} on {socket.gethostname()}, since 20")


def test_a_killed_holder_holds_nothing(other: subprocess.Popen[str], tmp_path: Path):
    other.send_signal(signal.SIGKILL)
    other.wait()
    with locks.lock_folder(tmp_path) as left:
        assert left is not None
        assert left.pid == other.pid
        assert left.is_dead
    with locks.lock_folder(tmp_path) as left:
        assert left is None, "it was let go in order"


def test_waiting_says_for_whom(other: subprocess.Popen[str], tmp_path: Path, capsys):
    threading.Timer(0.5, other.kill).start()
    started = time.monotonic()
    with locks.lock_folder(tmp_path, waiting="it bakes bread"):
        assert time.monotonic() - started > 0.3
    assert capsys.readouterr().err.startswith(f"waiting for process {other.pid} on ")
    assert not (tmp_path / locks.HOLDER_FILE).exists()


def test_waiting_can_be_interrupted(other: subprocess.Popen[str], tmp_path: Path):
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with (
        pytest.raises(signals.Interrupted) as stopped,
        signals.defer(),
        locks.lock_folder(tmp_path, waiting="it takes long"),
    ):
        pass
    assert stopped.value.exit_code == 143


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch):
    """A file system that has none."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", fail)


@pytest.mark.parametrize(
    ("pid", "host", "free"),
    [
        pytest.param(os.getpid(), None, False, id="own"),
        (2**22 + 1, None, True),
        (1, "elsewhere", False),
        (0, None, True),
        (-1, None, True),
        (10**18, None, True),
        (10**18, "elsewhere", False),
    ],
)
def test_where_the_file_system_has_no_locks_the_holders_file_decides(
    tmp_path: Path, no_locks: None, pid: int, host: str | None, free: bool
):
    holder = {"pid": pid, "host": host or socket.gethostname(), "since": "2026-01-01T00:00:00"}
    path = tmp_path / locks.HOLDER_FILE
    path.write_text(json.dumps(holder), encoding="utf-8")
    assert locks.is_locked(tmp_path) is not free
    if free:
        with locks.lock_folder(tmp_path) as left:
            assert left is not None
            assert left.pid == pid
        assert list(tmp_path.iterdir()) == []
    else:
        with pytest.raises(locks.LockHeldError) as held, locks.lock_folder(tmp_path):
            pass
        assert str(held.value).startswith(f"process {pid} on ")
        assert str(held.value).endswith(f" (if that has ended, remove {path})")


def test_a_holders_file_that_is_being_written_holds(tmp_path: Path, no_locks: None):
    (tmp_path / locks.HOLDER_FILE).touch()
    with pytest.raises(locks.LockHeldError, match="another process"), locks.lock_folder(tmp_path):
        pass
    assert locks.is_locked(tmp_path)


def test_only_one_takes_what_a_dead_one_left(
    tmp_path: Path, no_locks: None, monkeypatch: pytest.MonkeyPatch
):
    dead = {"pid": 0, "host": socket.gethostname(), "since": "2026-01-01T00:00:00"}
    alive = {**dead, "pid": os.getpid()}
    path = tmp_path / locks.HOLDER_FILE
    path.write_text(json.dumps(dead), encoding="utf-8")
    rename = Path.rename

    def be_late(self: Path, target: Path) -> Path:
        if self == path:  # another process was faster
            path.write_text(json.dumps(alive), encoding="utf-8")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", be_late)
    with (
        pytest.raises(locks.LockHeldError, match=f"process {os.getpid()} on "),
        locks.lock_folder(tmp_path),
    ):
        pass
    assert json.loads(path.read_text("utf-8")) == alive
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, "[]", '{"pid": 1e999}', '{"pid": [], "host": "h", "since": "s"}',
    ],
    ids=["deep", "a list", "infinite", "no number"],
)  # fmt: skip
def test_a_damaged_file_of_the_holder_names_nobody(tmp_path: Path, text: str):
    (tmp_path / locks.HOLDER_FILE).write_text(text)
    with locks.lock_folder(tmp_path) as left:
        assert left is None


def test_a_holder_is_named_on_one_line():
    holder = locks.LockHolder(7, "a\nerror: b", "2030\nerror: your disk is full\x1b[2J")
    assert str(holder) == (
        "process 7 on a\\nerror: b, since 2030\\nerror: your disk is full\\x1b[2J"
    )
