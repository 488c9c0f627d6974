"""Which troubles of the network may pass."""

from __future__ import annotations

import errno
import http.client
import io
import socket
import ssl
import urllib.error
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime

import pytest

from tlcli.system.network_errors import is_passing, reason_of, requested_wait


def status(code: int, retry_after: str | None = None) -> urllib.error.HTTPError:
    headers = Message()
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    return urllib.error.HTTPError("http://x", code, "", headers, io.BytesIO())


PASSING = [
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    TimeoutError("no answer within 10 seconds"),
    OSError(errno.ENETUNREACH, "Network is unreachable"),
    OSError(errno.EHOSTUNREACH, "No route to host"),
    ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
    http.client.RemoteDisconnected("Remote end closed connection without response"),
    http.client.BadStatusLine("x"),
    http.client.IncompleteRead(b"", 5),
    OSError("Tunnel connection failed: 503 Service Unavailable"),
    *map(status, (408, 425, 429, 500, 502, 503, 504, 520)),
]
LASTING = [
    ssl.SSLCertVerificationError(1, "certificate verify failed"),
    http.client.InvalidURL("control characters"),
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError("Tunnel connection failed: 407 Proxy Authentication Required"),
    urllib.error.URLError("unknown url type: gopher"),
    ValueError("unknown url type: 'x'"),
    *map(status, (301, 400, 401, 403, 404, 410, 451)),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_passing_trouble(error: Exception):
    assert is_passing(error)
    assert is_passing(urllib.error.URLError(error))  # as `urllib` wraps it


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_lasting_trouble(error: Exception):
    assert not is_passing(error)
    assert not is_passing(urllib.error.URLError(error))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), (" 0 ", 0), (None, 0), ("soon", 0), ("-5", 0), ("1e3", 0)],
)
def test_a_pause_that_a_server_requests(text: str | None, seconds: float):
    assert requested_wait(status(429, text)) == seconds


def test_a_pause_until_a_date():
    later = datetime.now(UTC) + timedelta(hours=1)
    assert 3_500 < requested_wait(status(503, format_datetime(later, usegmt=True))) <= 3_600
    assert requested_wait(status(503, "Wed, 21 Oct 2015 07:28:00 GMT")) == 0


def test_reasons():
    assert reason_of(urllib.error.URLError(PASSING[2])) == "connection refused"
    assert reason_of(PASSING[0]) == "temporary failure in name resolution"
