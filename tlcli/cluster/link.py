"""Messages between two workers: a kind, a length, and so many bytes, over one connection.

Both sides send a sign of life every few seconds, so that a machine that has lost its network or its
power is noticed as well as a process that has ended. The connection is neither encrypted nor
protected by a password, as TensorFlow's own between workers is not: it is for trusted networks.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

#: Kinds of messages: a value, bytes, a sign of life, a good end, and an end with its reason.
VALUE, BYTES, SIGN, END, STOP = b"V", b"B", b"L", b"E", b"S"

#: Seconds between two signs of life, and without any message until a worker counts as lost.
SIGN_SECONDS, SILENT_SECONDS = 5.0, 30.0

#: The most bytes of a value, and of a message of bytes.
VALUE_BYTES, MESSAGE_BYTES = 64_000_000, 64_000_000_000

#: Bytes that are sent and received at a time.
_PORTION = 1 << 20

_HEADER = struct.Struct(">cQ")


class LinkError(Exception):
    """The other worker cannot be heard any more, or says what no worker of tlcli would say."""


class Link:
    """One end of a connection; any thread may send, and one receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = threading.Lock()
        connection.settimeout(SILENT_SECONDS)
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, kind: bytes, content: bytes = b"") -> None:
        """Send a message; raises `LinkError` where nobody takes it."""
        with self._sending:
            self._send(kind, content)

    def give_sign(self) -> None:
        """Send a sign of life, unless something is being sent, which is one, too."""
        if self._sending.acquire(blocking=False):
            try:
                self._send(SIGN, b"")
            finally:
                self._sending.release()

    def _send(self, kind: bytes, content: bytes) -> None:
        try:
            self._socket.sendall(_HEADER.pack(kind, len(content)))
            # The time that the socket allows is that of a call, however slow the network is.
            for first in range(0, len(content), _PORTION):
                self._socket.sendall(content[first : first + _PORTION])
        except OSError as error:
            raise LinkError("the connection was closed") from error

    def send_value(self, value: Any) -> None:
        """Send what JSON can say."""
        self.send(VALUE, json.dumps(value).encode())

    def receive(self, seconds: float = SILENT_SECONDS) -> tuple[bytes, bytes]:
        """The next message, its kind and content; `LinkError` if there is none in some seconds."""
        try:
            self._socket.settimeout(seconds)
        except OSError as error:  # this side has closed it meanwhile
            raise LinkError("the connection was closed") from error
        kind, length = _HEADER.unpack(self._read(_HEADER.size))
        if kind not in (VALUE, BYTES, SIGN, END, STOP):
            raise LinkError("it does not speak as a worker of this version of tlcli does")
        if length > (MESSAGE_BYTES if kind == BYTES else VALUE_BYTES):
            raise LinkError("it sent a message that is too long")
        return kind, self._read(length)

    def receive_value(self, seconds: float) -> Any:
        """The value that comes next; `LinkError` for anything else."""
        kind, content = self.receive(seconds)
        if kind != VALUE:
            raise LinkError("it does not speak as a worker of this version of tlcli does")
        return parse_value(content)

    def close(self) -> None:
        """Close the connection; what was sent still arrives."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read(self, length: int) -> bytes:
        parts, left = [], length
        while left:
            try:
                part = self._socket.recv(min(left, _PORTION))
            except TimeoutError:
                raise LinkError("nothing was heard of it") from None
            except OSError as error:
                raise LinkError("the connection was closed") from error
            if not part:
                raise LinkError("the connection was closed")
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


def parse_value(content: bytes) -> Any:
    """The value of a message; `LinkError` for what is no JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LinkError("it sent what cannot be read") from error
