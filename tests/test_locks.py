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

from tlcli import interrupts, locks

HOLD = """
import sys, time
from pathlib import Path
from tlcli import locks
with locks.locked(Path(sys.argv[1])):
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
    with pytest.raises(locks.Held) as held, locks.locked(tmp_path):
        pass
    assert str(held.value).startswith(f"process {other.pid} on {socket.gethostname()}, since 20")


def test_a_killed_holder_holds_nothing(other: subprocess.Popen[str], tmp_path: Path):
    other.send_signal(signal.SIGKILL)
    other.wait()
    with locks.locked(tmp_path) as left:
        assert left is not None
        assert left.pid == other.pid
        assert left.dead
    with locks.locked(tmp_path) as left:
        assert left is None, "it was let go in order"


def test_waiting_says_for_whom(other: subprocess.Popen[str], tmp_path: Path, capsys):
    threading.Timer(0.5, other.kill).start()
    started = time.monotonic()
    with locks.locked(tmp_path, waiting="it bakes bread"):
        assert time.monotonic() - started > 0.3
    assert capsys.readouterr().err.startswith(f"waiting for process {other.pid} on ")
    assert not (tmp_path / locks.HOLDER).exists()


def test_waiting_can_be_interrupted(other: subprocess.Popen[str], tmp_path: Path):
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with (
        pytest.raises(interrupts.Interrupted) as stopped,
        interrupts.graceful(),
        locks.locked(tmp_path, waiting="it takes long"),
    ):
        pass
    assert stopped.value.exit_code == 143


@pytest.mark.parametrize(
    ("pid", "host", "free"),
    [(os.getpid(), None, False), (2**22 + 1, None, True), (1, "elsewhere", False)],
)
def test_where_the_file_system_has_no_locks_the_holders_file_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pid: int, host: str | None, free: bool
):
    def no_locks(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", no_locks)
    holder = {"pid": pid, "host": host or socket.gethostname(), "since": "2026-01-01T00:00:00"}
    (tmp_path / locks.HOLDER).write_text(json.dumps(holder), encoding="utf-8")
    if free:
        with locks.locked(tmp_path) as left:
            assert left is not None
            assert left.pid == pid
        assert not (tmp_path / locks.HOLDER).exists()
    else:
        with pytest.raises(locks.Held, match=f"process {pid} on "), locks.locked(tmp_path):
            pass


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, "[]", '{"pid": 1e999}', '{"pid": 99999999999, "host": "h", "since": "s"}',
        '{"pid": 0, "host": "h", "since": "s"}', '{"pid": [], "host": "h", "since": "s"}',
    ],
    ids=["deep", "a list", "infinite", "too large", "zero", "no number"],
)  # fmt: skip
def test_a_damaged_file_of_the_holder_names_nobody(tmp_path: Path, text: str):
    (tmp_path / locks.HOLDER).write_text(text)
    with locks.locked(tmp_path) as left:
        assert left is None


def test_a_holder_is_named_on_one_line():
    holder = locks.Holder(7, "a\nerror: b", "2030\nerror: your disk is full\x1b[2J")
    assert str(holder) == (
        "process 7 on a\\nerror: b, since 2030\\nerror: your disk is full\\x1b[2J"
    )
