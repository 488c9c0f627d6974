"""Downloads over a bad network: the right file arrives, or nothing under its name."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from builders.interrupts import MODES, interrupted
from builders.weight_files import Server, serving

from tlcli.system import console, download
from tlcli.system.download import DownloadError

ROOT = Path(__file__).parents[2]
DATA = bytes(range(256)) * 4_000
HASHES = (hashlib.sha256(DATA).hexdigest(),)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "BACK_OFF", 0.01)
    with serving(DATA) as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "w.h5"


def failure(url: str, target: Path, hashes: tuple[str, ...] = HASHES) -> str:
    """The error of a failed download; nothing is left under the final name."""
    with pytest.raises(DownloadError) as caught:
        download.fetch_file(url, target, hashes, "weights")
    assert not target.exists()
    return str(caught.value)


def test_a_whole_file(server: Server, target: Path):
    download.fetch_file(server.url, target, HASHES, "weights")
    assert target.read_bytes() == DATA
    assert list(target.parent.iterdir()) == [target]
    assert server.gets == [None]


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_hashes_of_both_kinds(server: Server, target: Path, kind: str):
    digest = hashlib.new(kind, DATA).hexdigest()
    download.fetch_file(server.url, target, (digest,), "weights")
    assert download.hash_file(target, digest) == digest


def test_a_break_at_every_tenth(server: Server, target: Path):
    server.part = len(DATA) // 10
    download.fetch_file(server.url, target, HASHES, "weights")
    assert target.read_bytes() == DATA
    assert server.gets == [None, *(f"bytes={n * server.part}-" for n in range(1, 10))]


def test_breaks_without_ranges_end(server: Server, target: Path):
    server.part, server.ranges = len(DATA) // 10, False
    assert failure(server.url, target) == "the connection broke off after 102.4 kB, 4 times"


class UnsteadyNetwork:
    """A network that is away at some tries, and the pauses between the tries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, url: str, *troubles: OSError) -> None:
        self.pauses: list[float] = []
        self._troubles, self._port = list(troubles), urlsplit(url).port
        self._connect = socket.create_connection
        monkeypatch.setattr(socket, "create_connection", self.connect)
        monkeypatch.setattr(download, "time", SimpleNamespace(sleep=self.pauses.append))

    def connect(self, address: tuple[str, int], *rest: Any, **named: Any) -> socket.socket:
        assert address[1] == self._port
        if self.pauses and self._troubles:  # from the second try on
            raise self._troubles.pop(0)
        return self._connect(address, *rest, **named)


TROUBLES = (
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    OSError(errno.ENETUNREACH, "Network is unreachable"),
)


def test_any_trouble_after_a_break_is_waited_out(server: Server, target: Path, monkeypatch):
    server.part = len(DATA) // 2
    network = UnsteadyNetwork(monkeypatch, server.url, *TROUBLES)
    download.fetch_file(server.url, target, HASHES, "weights")
    assert target.read_bytes() == DATA
    assert server.gets == [None, f"bytes={len(DATA) // 2}-"]
    assert network.pauses == [0.01, 0.02, 0.04, 0.08]


def test_trouble_that_does_not_pass_ends_the_source(server: Server, target: Path, monkeypatch):
    server.part = len(DATA) // 2
    network = UnsteadyNetwork(monkeypatch, server.url, *TROUBLES[:1] * 9)
    assert failure(server.url, target) == "temporary failure in name resolution, 4 times"
    assert network.pauses == [0.01, 0.02, 0.04, 0.08]


def test_a_certificate_that_is_not_valid_is_final(server: Server, target: Path, monkeypatch):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    server.failures = [503]
    network = UnsteadyNetwork(monkeypatch, server.url, error)
    assert "certificate verify failed" in failure(server.url, target)
    assert len(network.pauses) == 1


def test_a_server_says_how_long_to_wait(server: Server, target: Path, monkeypatch, capsys):
    server.failures, server.retry_after = [429, 503], "7"
    network = UnsteadyNetwork(monkeypatch, server.url)
    download.fetch_file(server.url, target, HASHES, "weights")
    assert network.pauses == [7, 7]
    assert capsys.readouterr().err.splitlines() == [
        "weights: the server answered 429 Too Many Requests; trying again in 7.0 s",
        "weights: the server answered 503 Service Unavailable; trying again in 7.0 s",
    ]
    server.failures, server.retry_after = [429], "7200"
    target.unlink()
    assert failure(server.url, target) == (
        "the server answered 429 Too Many Requests, and asks for a pause of 2 h 00 min"
    )


def test_503_twice(server: Server, target: Path):
    server.failures = [503, 503]
    download.fetch_file(server.url, target, HASHES, "weights")
    assert (target.read_bytes(), len(server.gets)) == (DATA, 3)


@pytest.mark.parametrize(
    ("code", "message", "tries"),
    [
        (503, "the server answered 503 Service Unavailable, 4 times", 4),
        (404, "the server answered 404 Not Found", 1),
        (403, "the server answered 403 Forbidden", 1),
    ],
)
def test_errors_that_stay(server: Server, target: Path, code: int, message: str, tries: int):
    server.failures = [code] * 9
    assert failure(server.url, target) == message
    assert len(server.gets) == tries


def test_a_redirect(server: Server, target: Path):
    download.fetch_file(server.url.replace("file", "moved"), target, HASHES, "weights")
    assert target.read_bytes() == DATA


def test_a_length_that_is_too_long(server: Server, target: Path):
    server.promised = len(DATA) + 5
    download.fetch_file(server.url, target, HASHES, "weights")
    assert target.read_bytes() == DATA
    assert server.gets == [None, f"bytes={len(DATA)}-"]


def test_a_length_that_is_too_short(server: Server, target: Path):
    server.promised = len(DATA) - 5
    message = failure(server.url, target)
    assert message == "the file is not the expected one (its hash differs)"
    assert list(target.parent.iterdir()) == []


def test_another_file(server: Server, target: Path):
    server.data = b"<html>" + DATA[6:]
    message = failure(server.url, target)
    assert message == "the file is not the expected one (its hash differs)"
    assert list(target.parent.iterdir()) == []


def test_the_beginning_of_another_version_is_not_kept(server: Server, target: Path):
    target.with_name(".w.h5.part").write_bytes(b"old" * 100)
    download.fetch_file(server.url, target, HASHES, "weights")
    assert target.read_bytes() == DATA
    assert server.gets == ["bytes=300-", None]


def test_a_part_that_is_too_long_is_downloaded_again(server: Server, target: Path):
    target.with_name(".w.h5.part").write_bytes(DATA + b"more")
    download.fetch_file(server.url, target, HASHES, "weights")
    assert target.read_bytes() == DATA


def test_without_a_hash_nothing_old_is_resumed(server: Server, target: Path):
    target.with_name(".w.h5.part").write_bytes(b"old")
    download.fetch_file(server.url, target, (), "weights")
    assert (target.read_bytes(), server.gets) == (DATA, [None])


def test_a_server_that_is_not_there(target: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download, "BACK_OFF", 0.01)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file.h5"
        assert download.probe(url) == "connection refused"
        assert failure(url, target) == "connection refused, 4 times"


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download, "ANSWER_TIMEOUT", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file.h5"
        assert download.probe(url) == "no answer within 0.3 seconds"


def test_any_answer_is_an_answer(server: Server):
    assert download.probe(server.url) == ""
    assert download.probe(server.url.replace("file", "missing")) == ""


def test_a_proxy(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/file.h5"))
    download.fetch_file("http://weights.invalid/file.h5", target, HASHES, "weights")
    assert target.read_bytes() == DATA
    assert server.paths == ["http://weights.invalid/file.h5"]


def test_progress_in_bytes(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(console, "PLAIN_INTERVAL", 0.0)
    download.fetch_file(server.url, target, HASHES, "weights of X")
    first, *_, last = [line for line in capsys.readouterr().err.splitlines() if "(0%)" not in line]
    assert first.startswith("weights of X: 262.1 kB of 1.0 MB (25%), ")
    assert last.startswith("weights of X: 1.0 MB of 1.0 MB (100%), ")
    assert "B/s, " in last


def test_a_killed_download_leaves_no_file_and_is_resumed(server: Server, target: Path):
    server.part, server.pause = 500_000, threading.Event()
    line = "import sys; from pathlib import Path; from tlcli.system import download; "
    line += "download.fetch_file(sys.argv[1], Path(sys.argv[2]), (sys.argv[3],), 'w')"
    process = subprocess.Popen(
        [sys.executable, "-c", line, server.url, str(target), *HASHES],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    part = target.with_name(".w.h5.part")
    for _ in range(600):
        if part.exists() and part.stat().st_size > 200_000:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.pause.set()
    server.part, server.pause = len(DATA), None
    assert not target.exists()
    size = part.stat().st_size
    assert 200_000 < size <= 500_000
    download.fetch_file(server.url, target, HASHES, "weights")
    assert target.read_bytes() == DATA
    assert server.gets == [None, f"bytes={size}-"]


FETCH = """
from tlcli.system import download
download.fetch_file(sys.argv[2], Path(sys.argv[3]), (), "weights")
"""
LOOK_UP = """
import socket, time
socket.getaddrinfo = lambda *_, **__: time.sleep(40)
"""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wait", ["look-up", "connection", "answer", "body", "pause"])
def test_a_signal_ends_any_wait(server: Server, target: Path, wait: str, mode: str):
    lines, url = FETCH, server.url
    with socket.socket() as silent, ExitStack() as waiting:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        if wait == "look-up":
            lines = LOOK_UP + FETCH
        elif wait == "connection":
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/file.h5"
            for _ in range(2):  # a full queue: the next connection gets no answer
                before = waiting.enter_context(socket.socket())
                before.setblocking(False)
                before.connect_ex(silent.getsockname())
        elif wait == "answer":
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/file.h5"
        elif wait == "body":
            server.part, server.pause = 500_000, threading.Event()
        else:
            server.failures, server.retry_after = [503] * 9, "50"
        try:
            interrupted(mode, lines, url, target)
        finally:
            if server.pause:
                server.pause.set()
    assert not target.exists()
