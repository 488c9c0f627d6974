"""Who may ask a server, and what every answer says to browsers: a layer around the application."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tlcli.serving.limits import Limits
from tlcli.serving.metrics import ServerMetrics
from tlcli.serving.refusals import Refusal, busy, error_response

#: Names of this machine's own address.
LOOPBACK = ("localhost", "127.0.0.1", "::1")

#: What is answered without the token: whether the server works, and the page, which asks for it.
_OPEN_PATHS = ("/", "/health")

#: Many clients read an answer only when their whole body is sent. So much of a refused body is read
#: and dropped, in so many seconds, before the connection is closed.
_DROPPED, _DROPPED_SECONDS = 4, 2.0

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        token: what `Authorization: Bearer ...` must hold; empty where none is asked for.
        hosts: names in the header Host that are answered; None for all. A page of another site can
            have its own name lead to this machine (DNS rebinding), but not change that header.
    """

    token: str = ""
    hosts: frozenset[str] | None = None

    def check(self, scope: Scope) -> None:
        """Raise `Refusal` for a request that may not be answered."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin", "")
        if self.hosts is not None and host_name(host) not in self.hosts:
            message = f"the server does not answer to the host '{host[:80]}'; see --allow-host"
            raise Refusal(403, message)
        if origin and not self._is_own(origin, host):
            raise Refusal(403, f"pages of '{origin[:80]}' may not use this server")
        if self.token and scope["path"] not in _OPEN_PATHS:
            given = headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(given[2].strip().encode(), self.token.encode())
            if given[0].lower() != "bearer" or not right:
                message = "a token is needed: Authorization: Bearer TOKEN"
                raise Refusal(401, message, {"WWW-Authenticate": "Bearer"})

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether a page was loaded from this server, directly or through a proxy."""
        try:
            site = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return site == host.lower() or host_name(site) in (self.hosts or frozenset()).difference(
            LOOPBACK
        )


def host_name(host: str) -> str:
    """The name in a header Host, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def allowed_hosts(bound: str, more: Iterable[str]) -> frozenset[str] | None:
    """The hosts that are answered; all, where the server is open to other machines anyway."""
    named = {host.lower() for host in more}
    if not is_loopback(bound):
        return frozenset({*named, *LOOPBACK, bound}) if named else None
    return frozenset({*named, *LOOPBACK, bound})


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


class CountedRoute(Route):
    """A route that says in the scope of a request that it answers it, as Starlette 1 does."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["route"] = self
        await super().handle(scope, receive, send)


class Guards:
    """Checks every request before the application sees it, and counts its answer.

    Args:
        connections: how many are open now.
    """

    def __init__(
        self, app: ASGIApp, access: Access, limits: Limits, metrics: ServerMetrics,
        connections: Callable[[], int],
    ) -> None:  # fmt: skip
        self._app, self._access, self._limits = app, access, limits
        self._metrics, self._connections = metrics, connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        body = _Body(receive)

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if not body.complete(scope):
                    headers["Connection"] = "close"
                    await self._drop(scope, body)
            await send(message)

        try:
            await self._answer(scope, body.receive, send_guarded)
        finally:
            route = getattr(scope.get("route"), "path", "other").replace(":model}", "}")
            self._metrics.requests.add(route, str(status))
            self._metrics.request_seconds.observe(time.perf_counter() - started, route)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self._connections() > self._limits.connections:
                most = self._limits.connections
                raise busy(f"more than {most} connections are open, the limit here", 1)
            self._access.check(scope)
        except Refusal as refusal:
            headers = {**refusal.headers, "Connection": "close"}
            response = error_response(refusal.status, refusal.message, headers)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _drop(self, scope: Scope, body: _Body) -> None:
        """Read and drop the rest of a refused body, so that its client reads the answer."""
        if Headers(scope=scope).get("expect", "").lower() == "100-continue" and not body.taken:
            return  # the client has not begun to send it
        with suppress(TimeoutError):
            async with asyncio.timeout(_DROPPED_SECONDS):
                while not body.ended and body.taken < _DROPPED * self._limits.body:
                    await body.receive()


class _Body:
    """The body of a request on its way in."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self.ended, self.taken = receive, False, 0

    async def receive(self) -> Message:
        """The next message of the server."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.taken += len(message.get("body", b""))
            self.ended = not message.get("more_body", False)
        else:
            self.ended = True
        return message

    def complete(self, scope: Scope) -> bool:
        """Whether nothing of the body is left to come."""
        headers = Headers(scope=scope)
        empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        return self.ended or empty


async def until_disconnected(request: Request) -> None:
    """Return when the client of a request, whose body has been read, has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
