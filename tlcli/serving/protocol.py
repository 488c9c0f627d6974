"""HTTP as uvicorn speaks it, with a limit on how long the head of a request may take.

Without one, clients that send a byte now and then hold connections for ever.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class TimedProtocol(H11Protocol):
    """One connection. Subclasses set `head_seconds`."""

    head_seconds = 30.0

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have come in: those of a head, unless a request is being answered."""
        super().data_received(data)
        if self._answering():
            self._stop_timer()
        elif self._head_timer is None:
            self._start_timer()

    def on_response_complete(self) -> None:
        """A request is answered; the time until the next is limited by uvicorn itself."""
        self._stop_timer()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP."""
        self._answer_and_close(400, "the request is not valid HTTP")

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_is_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self._answering():
            message = f"the head of the request did not arrive within {self.head_seconds:g} s"
            self._answer_and_close(408, message)

    def _answer_and_close(self, status: int, message: str) -> None:
        """Write an answer past h11, which gives none for a request that it cannot read."""
        if self.transport.is_closing():
            return
        if not (self._answering() and self.cycle.response_started):
            body = json.dumps({"error": message}) + "\n"
            head = (
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n"
            )
            self.transport.write((head + body).encode())
        self.transport.close()
