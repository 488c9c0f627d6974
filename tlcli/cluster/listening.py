"""The socket at which a worker can be reached by the others."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Any

from tlcli.cluster.addresses import Workers, split_address
from tlcli.errors import Problem, RunError, reason

#: What listens at all addresses of a machine.
_EVERYWHERE = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}

#: A family of addresses, and an address as sockets take it.
_Place = tuple[socket.AddressFamily, tuple[Any, ...]]


def listen(workers: Workers) -> socket.socket:
    """A socket that listens at the address of this worker.

    Raises `RunError` for a port that is in use, and for an address that is not of this machine.
    """
    address = workers.addresses[workers.number]
    try:
        family, place = _own_place(workers)
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise RunError(_problem(address, error)) from error
    return listener


def _own_place(workers: Workers) -> _Place:
    """Where this worker listens; raises `socket.gaierror` for a host that is not known.

    Debian and others give a machine's own name the address 127.0.1.1, at which no other machine can
    reach it. Where some worker is on another one, it listens at all of its addresses instead.
    """
    host, port = split_address(workers.addresses[workers.number])
    places = _places(host, port)
    reachable = [place for place in places if not _is_loopback(place)]
    family, place = (reachable or places)[0]
    if reachable or _is_number(host) or _all_are_here(workers):
        return family, place
    return family, (_EVERYWHERE[family], *place[1:])


def _places(host: str, port: int) -> list[_Place]:
    """What a host's name stands for, with IPv4 first, since TensorFlow listens there."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    places = [(family, place) for family, *_, place in answers if family in _EVERYWHERE]
    return sorted(places, key=lambda place: place[0] != socket.AF_INET)


def _all_are_here(workers: Workers) -> bool:
    """Whether all workers have addresses that only this machine can reach."""
    for address in workers.addresses:
        try:
            places = _places(*split_address(address))
        except OSError:  # only the others may know that name
            return False
        if not all(map(_is_loopback, places)):
            return False
    return True


def _is_loopback(place: _Place) -> bool:
    return ipaddress.ip_address(place[1][0].partition("%")[0]).is_loopback


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _problem(address: str, error: OSError) -> Problem:
    if error.errno == errno.EADDRINUSE:
        what, hint = "the port is in use", "name another one in --workers, on every worker"
    elif isinstance(error, socket.gaierror):
        what, hint = "no such host is known", "correct --workers, on every worker"
    elif error.errno == errno.EADDRNOTAVAIL:
        what = "is no address of this machine"
        hint = "--worker says which of --workers this one is, counted from 0"
    else:
        what, hint = reason(error), "name another address in --workers, on every worker"
    return Problem(address, what, hint)
