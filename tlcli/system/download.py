"""Download files, whole or not at all.

A download is written to a `.part` file beside its target and resumed there after a break (with an
HTTP range, also by a later process). It gets its name only after its hash was compared with the
expected one. Proxies are those of the environment, as in urllib.

No library does this for us: `requests` and `urllib3` repeat a request that fails, but not one whose
answer breaks off in the middle, which would make two rules; Keras' `get_file` and `pooch` begin
again from the first byte; and none ends the look-up of a name when a signal comes.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlcli._version import __version__
from tlcli.system import console, signals
from tlcli.system.network_errors import is_passing, reason_of, requested_wait
from tlcli.system.threads import call_within

#: Seconds in which a server has to answer, the look-up of its name and all redirects included; and
#: seconds to wait for the next bytes of one that has.
ANSWER_TIMEOUT, READ_TIMEOUT = 10.0, 20.0
#: Tries in a row without a new byte, and tries in all, after which a source counts as failed.
MAX_IDLE_TRIES, MAX_TRIES = 4, 100
#: Seconds before the first retry, doubled before each further one without a new byte; and the
#: longest pause that a server may ask for. One that asks for more counts as failed.
BACK_OFF, MAX_WAIT = 0.5, 60.0
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

    Takes `ANSWER_TIMEOUT` seconds at most.
    """
    try:
        with _open(_request(url, method="HEAD")):
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return ""
    except (OSError, http.client.HTTPException, ValueError) as error:
        return reason_of(error)


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
    """Send requests until `part` is as long as the server says that the file is.

    Every trouble that may pass is treated alike, whenever it comes; what does not pass ends it.
    """
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
            _wait(error, BACK_OFF * 2.0**idle, label)
        except OSError as error:  # of the part on the disk
            raise DownloadError(reason_of(error)) from error
    raise DownloadError(f"the connection broke off {MAX_TRIES} times")


def _wait(error: _RetryableError, back_off: float, label: str) -> None:
    """Wait before the next try, as long as the server requests; the first signal ends it."""
    if error.wait > MAX_WAIT:
        asked = console.duration(error.wait)
        raise DownloadError(f"{error}, and asks for a pause of {asked}") from error
    pause = max(error.wait, back_off)
    if pause >= 1:
        console.note(f"{label}: {error}; trying again in {console.duration(pause)}")
    with signals.interruptible():
        time.sleep(pause)


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
        response = _open(_request(url, **headers))
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
        if not is_passing(error):
            raise DownloadError(message) from error
        raise _RetryableError(message, requested_wait(error)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        kind = _RetryableError if is_passing(error) else DownloadError
        raise kind(reason_of(error)) from error
    with response:
        yield response


def _next_chunk(response: Any) -> bytes:
    try:
        with signals.interruptible():
            data: bytes = response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _RetryableError(f"the connection broke off: {reason_of(error)}") from error
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


def _open(request: urllib.request.Request) -> Any:
    """Like `urlopen`, but with the proxies of the environment now, not at the first call.

    The request is sent from a thread, since no time limit and no signal ends a look-up of a name,
    and since the limit of a socket covers each address by itself. Raises `TimeoutError` if there is
    no answer within `ANSWER_TIMEOUT` seconds, and whatever `urlopen` raises.
    """
    opener = urllib.request.build_opener()
    try:
        return call_within(
            ANSWER_TIMEOUT,
            lambda: opener.open(request, timeout=READ_TIMEOUT),
            drop=lambda response: response.close(),
        )
    except TimeoutError as error:
        raise TimeoutError(f"no answer within {ANSWER_TIMEOUT:g} seconds") from error


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
