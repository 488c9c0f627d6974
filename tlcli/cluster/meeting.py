"""How workers find each other: worker 0 waits at its address, and the others come to it."""

from __future__ import annotations

import socket
import time
from typing import Any

from tlcli._version import __version__
from tlcli.cluster.addresses import Workers, split_address
from tlcli.cluster.group import Group
from tlcli.cluster.link import Link, LinkError
from tlcli.cluster.listening import listen
from tlcli.errors import Problem, RunError, reason
from tlcli.system import console, signals
from tlcli.system.packages import installed_version

#: Seconds that workers wait for each other.
WAIT_SECONDS = 25.0

#: Seconds in which whoever connects must say which worker it is, and between two tries to connect.
_HELLO_SECONDS, _PAUSE = 2.0, 0.2

#: Packages whose versions decide what a step computes.
_PACKAGES = ("keras", "numpy", "tensorflow")


def versions() -> dict[str, str]:
    """The versions that all workers must have."""
    packages = {name: installed_version(name) or "unknown" for name in _PACKAGES}
    return {"tlcli": __version__, **packages}


def meet(workers: Workers, seconds: float = WAIT_SECONDS) -> Group:
    """The group of all workers, once they have come.

    Raises `RunError` where one does not come in some seconds, cannot be reached, or has other
    versions or another list of workers; for a port that is in use, and for an address that is not
    one of this machine.
    """
    hello = {"number": workers.number, "workers": workers.addresses, "versions": versions()}
    note = f"{workers.name(workers.number)}: waiting for the others"
    if workers.number:
        listen(workers).close()  # TensorFlow takes the port later; what is in its way is said now
        console.note(note)
        return _go_to_first(workers, hello, time.monotonic() + seconds)
    with listen(workers) as listener:
        console.note(note)
        return _wait_for_others(workers, listener, time.monotonic() + seconds)


def _wait_for_others(workers: Workers, listener: socket.socket, until: float) -> Group:
    """What worker 0 does."""
    links: dict[int, Link] = {}
    server = _server_address(workers, listener)
    try:
        while len(links) < len(workers.addresses) - 1:
            signals.raise_if_interrupted()
            if (left := until - time.monotonic()) <= 0:
                raise RunError(_missing(workers, links))
            listener.settimeout(min(left, _PAUSE))
            try:
                link = Link(listener.accept()[0])
            except TimeoutError:
                continue
            try:
                hello = link.receive_value(_HELLO_SECONDS)
                number = int(hello["number"])
                problems = _refusal(workers, hello, number, number in links)
            except (LinkError, TypeError, ValueError, KeyError):
                link.close()  # no worker of tlcli
                continue
            if problems:
                link.send_value({"refused": [str(problem) for problem in problems]})
                link.close()
                raise RunError(problems)
            links[number] = link
        for link in links.values():
            link.send_value({"servers": [server, *workers.addresses[1:]]})
    except BaseException as error:
        lines = str(error).split("\n") if isinstance(error, RunError) else ["worker 0 was stopped"]
        for link in links.values():
            try:
                link.send_value({"refused": lines})
            except LinkError:
                continue
            link.close()
        if isinstance(error, LinkError):
            raise RunError(Problem("", "a worker has left before all had come")) from error
        raise
    return Group(workers, links, [server, *workers.addresses[1:]])


def _server_address(workers: Workers, listener: socket.socket) -> str:
    """Where TensorFlow of worker 0 is going to listen: beside the port at which it meets others."""
    host, _ = split_address(workers.addresses[0])
    shown = f"[{host}]" if ":" in host else host
    with socket.socket(listener.family) as free:
        free.bind((listener.getsockname()[0], 0))
        return f"{shown}:{free.getsockname()[1]}"


def _missing(workers: Workers, links: dict[int, Link]) -> list[Problem]:
    return [
        Problem(
            workers.name(number),
            f"has not come in {WAIT_SECONDS:.0f} s",
            f"start it with --worker {number} and the same --workers; its machine must reach "
            f"{workers.addresses[0]}",
        )
        for number in range(1, len(workers.addresses))
        if number not in links
    ]


def _refusal(workers: Workers, hello: Any, number: int, is_second: bool) -> list[Problem]:
    """Why a worker that has come cannot take part."""
    if [*hello["workers"]] != [*workers.addresses]:
        listed = ",".join(map(str, hello["workers"]))
        what = f"has other --workers: {listed}; here {','.join(workers.addresses)}"
        return [Problem(f"worker {number}", what, "give all of them the same list")]
    if is_second or not 0 < number < len(workers.addresses):
        hint = "give every worker a number of its own"
        return [Problem(workers.name(number), "has come twice", hint)]
    reported: dict[str, Any] = dict(hello["versions"])
    return [
        Problem(
            workers.name(number),
            f"has {name} {reported.get(name)}, worker 0 has {version}",
            "install the same version on all",
        )
        for name, version in versions().items()
        if reported.get(name) != version
    ]


def _go_to_first(workers: Workers, hello: dict[str, Any], until: float) -> Group:
    """What every other worker does."""
    link = Link(_connect(workers, until))
    try:
        link.send_value(hello)
        # Worker 0 waits for the others as long as this one, and may have begun later.
        answer = link.receive_value(WAIT_SECONDS + 5)
        if refused := answer.get("refused"):
            raise RunError([Problem("", str(line)) for line in refused])
        return Group(workers, {0: link}, [str(server) for server in answer["servers"]])
    except (LinkError, AttributeError, KeyError, TypeError) as error:
        link.close()
        what = f"{reason(error)}; what answers there is no worker 0 of this run, or it has ended"
        raise RunError(Problem(workers.name(0), what, "check --workers")) from error
    except BaseException:
        link.close()
        raise


def _connect(workers: Workers, until: float) -> socket.socket:
    host, port = split_address(workers.addresses[0])
    while True:
        signals.raise_if_interrupted()
        try:
            return socket.create_connection((host, port), timeout=_HELLO_SECONDS)
        except OSError as error:
            if time.monotonic() > until:
                what = f"cannot be reached in {WAIT_SECONDS:.0f} s: {reason(error)}"
                hint = "start it with --worker 0, and check its address in --workers"
                raise RunError(Problem(workers.name(0), what, hint)) from error
        time.sleep(_PAUSE)
