"""Running a server: its address, its signals, its end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import stat
import webbrowser
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import uvicorn

from tlcli.errors import Problem, RunError, reason
from tlcli.serving.app import Server
from tlcli.serving.guards import Access, allowed_hosts, is_loopback
from tlcli.serving.limits import Limits
from tlcli.serving.metrics import ServerMetrics
from tlcli.serving.models import ModelTable, describe, name_sources
from tlcli.serving.protocol import TimedProtocol
from tlcli.serving.served_model import Shared
from tlcli.system import console, files

#: The environment variable that holds a token.
TOKEN = "TLCLI_TOKEN"

#: Seconds that a connection without a request stays open.
KEEP_ALIVE = 30

_TOKEN_BYTES = 10_000


@dataclass(frozen=True)
class ServerOptions:
    """What the command line says of a server.

    Attributes:
        runs: of --run.
        hosts: of --allow-host.
        raw: whether probabilities are the network's own.
    """

    runs: Sequence[str]
    host: str
    port: int
    hosts: Iterable[str]
    token_file: Path | None
    limits: Limits
    raw: bool = False


def serve(options: ServerOptions, *, as_json: bool = False, browse: bool = False) -> None:
    """Serve until a signal; then answer what has been asked, and return.

    Args:
        as_json: print the address and the models as JSON, not the address alone.
        browse: open the page in a browser.

    Raises:
        RunError: where a run, the token or the address cannot be used.
    """
    sources = name_sources(options.runs)
    token = read_token(options.token_file)
    listener = bind(options.host, options.port)
    with listener:
        models = ModelTable(
            sources, Shared.create(options.limits, ServerMetrics()), raw=options.raw
        )
        url = address(listener)
        for model in models:
            console.note(f"{model.name}: {describe(model)}")
            if model.predictor.engine.name == "keras":
                console.note(f"{model.name}: TensorFlow is loaded: {model.why}")
            model.predictor.calibration.note()
        bound = listener.getsockname()[0]
        if not token and not is_loopback(bound):
            console.warn(
                f"whoever reaches {url} may use it: no token is asked for; see --token-file"
            )
        access = Access(token, allowed_hosts(bound, options.hosts))
        server = _create_uvicorn(models, access, options.limits)
        listener.listen(options.limits.connections)  # whoever reads the address may use it at once
        if as_json:
            names = list(models.slots)
            console.result_json({"url": url, "models": names}, lines=True)
        else:
            console.result(url)
        if browse:
            Timer(0.5, webbrowser.open, (url,)).start()
        with _signals_end_quietly():
            asyncio.run(server.serve(sockets=[listener]))
        console.note("stopped")


def _create_uvicorn(models: ModelTable, access: Access, limits: Limits) -> uvicorn.Server:
    """A server that is ready to run."""

    class Protocol(TimedProtocol):
        head_seconds = limits.seconds

    def connections() -> int:
        return len(server.server_state.connections)

    config = uvicorn.Config(
        Server(models, access, connections).app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=round(limits.seconds),
    )
    server = uvicorn.Server(config)
    return server


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Let SIGINT and SIGTERM mean the usual end of a server, with exit code 0.

    uvicorn handles them while it runs, and afterwards raises them again, to be ignored here.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_token(path: Path | None) -> str:
    """The token of a file, or of the environment variable `TOKEN`; empty where neither is given.

    Raises `RunError` for a file that cannot be read, and for a token that cannot stand in a header.
    """
    where, text = TOKEN, os.environ.get(TOKEN)
    if path is not None:
        where = f"--token-file {path}"
        try:
            text = files.read_bytes(path, _TOKEN_BYTES).decode()
            if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
                console.warn(str(Problem(where, "other users can read it", "chmod 600 it")))
        except (OSError, ValueError) as error:
            raise RunError(Problem(where, f"cannot be read: {reason(error)}")) from error
    if text is None:
        return ""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        hint = "use letters and digits, as `openssl rand -hex 32` prints them"
        raise RunError(Problem(where, "is not a token", hint))
    return token


def bind(host: str, port: int) -> socket.socket:
    """A socket at an address, on which nobody listens yet; raises `RunError` where it is not free.

    Port 0 is any free one.
    """
    where = f"--host {host}"
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = addresses[0]
    except (socket.gaierror, UnicodeError) as error:
        hint = "use 127.0.0.1, 0.0.0.0, or an address of this machine"
        raise RunError(Problem(where, f"is no address: {reason(error)}", hint)) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
    except OSError as error:
        listener.close()
        raise RunError(_address_problem(error, host, port)) from error
    return listener


def _address_problem(error: OSError, host: str, port: int) -> Problem:
    if error.errno == errno.EADDRINUSE:
        hint = "stop what listens there, or name another port; 0 is any free one"
        return Problem(f"--port {port}", "is in use", hint)
    if error.errno == errno.EACCES:
        return Problem(f"--port {port}", "permission denied", "name one from 1024 on")
    return Problem(f"--host {host}", reason(error), "name an address of this machine")


def address(listener: socket.socket) -> str:
    """The address of the page, as a browser on this machine takes it."""
    place: Any = listener.getsockname()
    host, port = place[0], place[1]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
