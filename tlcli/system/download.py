"""Download files, whole or not at all.

A download is written to a `.part` file beside its target and resumed there after a break (with an
HTTP range, also by a later process). It gets its name only after its hash was compared with the
expected one. Proxies are those of the environment, as in urllib.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlcli import __version__
from tlcli.errors import reason
from tlcli.system import console

#: Seconds to wait for a server to answer at all, and for the next bytes of one that has.
ANSWER_TIMEOUT, READ_TIMEOUT = 5.0, 20.0
#: Tries in a row without a new byte, and tries in all, after which a source counts as failed.
MAX_IDLE_TRIES, MAX_TRIES = 4, 100
#: Seconds before the first retry, doubled before each further one; servers may request more. The
#: second number is the most that is waited.
BACK_OFF, MAX_BACK_OFF = 0.5, 30.0
#: Status codes after which another try makes sense.
_TEMPORARY = (408, 429, 500, 502, 503, 504)
_CHUNK = 1 << 18


class DownloadError(Exception):
    """Why a file did not arrive, in a few words."""


class _RetryableError(Exception):
    """This try failed, but another may not; the server requests `wait` seconds before it."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class _WrongPartError(_RetryableError):
    """The bytes received so far are not of the file that the server has now."""


def probe(url: str) -> str:
    """Why the server of `url` does not answer; empty if it answers, with any status.

    Takes `ANSWER_TIMEOUT` seconds at most. The request runs in a thread, which is abandoned after
    that time, since no time limit covers both the name look-up and the tries of each address.
    """
    failure = [f"no answer within {ANSWER_TIMEOUT:g} seconds"]

    def request() -> None:
        try:
            with _open(_request(url, method="HEAD"), ANSWER_TIMEOUT):
                failure[0] = ""
        except urllib.error.HTTPError:
            failure[0] = ""
        except (OSError, http.client.HTTPException, ValueError) as error:
            failure[0] = _reason_of(error)

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(ANSWER_TIMEOUT)
    return failure[0]


def fetch_file(url: str, path: Path, hashes: tuple[str, ...], label: str) -> None:
    """Download the file at `url` to `path`; the caller holds a lock, so that only one process does.

    `hashes` are hex MD5 or SHA-256 sums, of which the file must have one. Without any, the part
    that an earlier process left is not resumed, since nothing could show that the two parts are of
    the same file. Raises `DownloadError`, after which there is no file at `path`.
    """
    part = path.with_name(f".{path.name}.part")
    if not hashes:
        part.unlink(missing_ok=True)
    resumed = part.exists()
    _download_part(url, part, label)
    if hashes and hash_file(part, hashes[0]) not in hashes:
        part.unlink()
        if not resumed:
            raise DownloadError("the file is not the expected one (its hash differs)")
        # The part of the earlier process may be of another version: once more from the beginning.
        fetch_file(url, path, hashes, label)
        return
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def hash_file(path: Path, like: str) -> str:
    """Hex hash of a file, of the same kind as `like`: MD5 for 32 digits, SHA-256 for 64."""
    digest = hashlib.md5(usedforsecurity=False) if len(like) == 32 else hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _download_part(url: str, part: Path, label: str) -> None:
    """Send requests until `part` is as long as the server says that the file is."""
    idle = 0
    for _ in range(MAX_TRIES):
        before = _length(part)
        try:
            _receive(url, part, label)
            return
        except _RetryableError as error:
            if isinstance(error, _WrongPartError):
                part.unlink()
            idle = 0 if _length(part) > before else idle + 1
            if idle >= MAX_IDLE_TRIES:
                raise DownloadError(f"{error}, {idle} times") from error
            time.sleep(min(max(error.wait, BACK_OFF * 2.0**idle), MAX_BACK_OFF))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DownloadError(_reason_of(error)) from error
    raise DownloadError(f"the connection broke off {MAX_TRIES} times")


def _receive(url: str, part: Path, label: str) -> None:
    """Send one request for the missing bytes and append what arrives."""
    start = _length(part)
    with _response_from(url, start) as response:
        if response is None:
            return
        resumed = start > 0 and response.status == 206
        if resumed and _range_start(response) != start:
            raise _WrongPartError("the server sent a different part than requested")
        start = start if resumed else 0  # a server that cannot resume sends everything
        total = _total(response, start)
        with (
            part.open("ab" if resumed else "wb") as file,
            console.progress(total or 0, label, unit="bytes") as bar,
        ):
            bar.update(start)
            while chunk := _next_chunk(response):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _length(part) != total:
        raise _RetryableError(f"the connection broke off after {console.size(_length(part))}")


@contextmanager
def _response_from(url: str, start: int) -> Iterator[Any]:
    """The response to a request for the file from byte `start` on; None if the part is complete.

    Raises `_RetryableError` for a temporary failure, and `DownloadError` for a lasting one.
    """
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        response = _open(_request(url, **headers), READ_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        message = f"the server answered {error.code} {error.reason}".strip()
        if start and error.code == 416:
            # The range begins at the end of the file, or behind the end of another one; where the
            # server does not tell which, the hash will.
            if _size_in_range(error) in (None, start):
                yield None
                return
            raise _WrongPartError(message) from error
        if error.code not in _TEMPORARY:
            raise DownloadError(message) from error
        seconds = error.headers.get("Retry-After") or ""
        wait = float(seconds) if seconds.isdecimal() else 0.0
        raise _RetryableError(message, wait) from error
    except (ConnectionResetError, http.client.RemoteDisconnected, TimeoutError) as error:
        raise _RetryableError(_reason_of(error)) from error
    with response:
        yield response


def _next_chunk(response: Any) -> bytes:
    try:
        data: bytes = response.read(_CHUNK)
    except (OSError, http.client.HTTPException):
        return b""  # the caller sees from the length that the connection broke off
    return data


def _total(response: Any, start: int) -> int | None:
    """Bytes of the whole file, or None where the server does not say."""
    if response.status == 206 and (size := _size_in_range(response)):
        return size
    length = response.headers.get("Content-Length") or ""
    return start + int(length) if length.isdecimal() else None


def _size_in_range(response: Any) -> int | None:
    """The 900 of `Content-Range: bytes 100-899/900`."""
    size = (response.headers.get("Content-Range") or "").rpartition("/")[2]
    return int(size) if size.isdecimal() else None


def _range_start(response: Any) -> int:
    content_range = (response.headers.get("Content-Range") or "").removeprefix("bytes ")
    first = content_range.partition("-")[0].strip()
    return int(first) if first.isdecimal() else -1


def _request(url: str, method: str = "GET", **headers: str) -> urllib.request.Request:
    # Without compression, so that lengths and ranges are those of the file itself.
    agent = {"User-Agent": f"tlcli/{__version__}", "Accept-Encoding": "identity"}
    return urllib.request.Request(url, headers={**agent, **headers}, method=method)


def _open(request: urllib.request.Request, timeout: float) -> Any:
    """Like `urlopen`, but with the proxies of the environment now, not at the first call."""
    return urllib.request.build_opener().open(request, timeout=timeout)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason_of(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    return reason(inner) if isinstance(inner, BaseException) else reason(error)
