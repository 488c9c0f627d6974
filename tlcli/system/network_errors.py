"""Errors of the network: which of them may pass, and what they say in a few words.

What may pass: a name that cannot be looked up just now, a connection that is refused, reset, not
answered in time or has no route, an answer that breaks off, and the statuses by which a server or a
proxy says that it is busy. What stays: a file that is not there or not allowed, a certificate that
is not valid, an address that is none.
"""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
import urllib.error
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tlcli.errors import reason

#: Statuses below 500 after which another try makes sense.
_BUSY = (408, 425, 429)
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)


def is_passing(error: BaseException) -> bool:
    """Whether another try may end better."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _BUSY or error.code >= 500
    inner = getattr(error, "reason", None)
    if isinstance(error, urllib.error.URLError) and isinstance(inner, BaseException):
        return is_passing(inner)
    if isinstance(error, ssl.SSLCertVerificationError | http.client.InvalidURL):
        return False
    kinds = (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)
    if isinstance(error, (*kinds, http.client.HTTPException)):
        return True
    if isinstance(error, OSError):
        # What a proxy answers to the request for a tunnel is in the text alone.
        refused = re.match(r"Tunnel connection failed: (\d{3})", str(error))
        status = int(refused[1]) if refused else 0
        return error.errno in _UNREACHABLE or status in _BUSY or status >= 500
    return False


def requested_wait(error: urllib.error.HTTPError) -> float:
    """The seconds to wait that a server names in Retry-After, or 0: a number, or a date."""
    text = (error.headers.get("Retry-After") or "").strip()
    if text.isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def reason_of(error: BaseException) -> str:
    """What an error says, in one line; that of `urllib` says what is inside."""
    inner = getattr(error, "reason", None)
    return reason(inner if isinstance(inner, BaseException) else error)
