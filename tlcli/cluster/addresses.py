"""The workers that train one run together: their addresses, and which of them this process is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Where schedulers say which workers there are, in the form that TensorFlow defines.
VARIABLE = "TF_CONFIG"


@dataclass(frozen=True)
class Workers:
    """The addresses of all workers as host:port, in their order, and the number of this one.

    Raises `ValueError` where these cannot be workers of one run.
    """

    addresses: tuple[str, ...]
    number: int

    def __post_init__(self) -> None:
        for address in self.addresses:
            split_address(address)
        if len(self.addresses) < 2:
            raise ValueError("one worker is no group; leave --workers out, or name two or more")
        if double := {address for address in self.addresses if self.addresses.count(address) > 1}:
            raise ValueError(f"{min(double)} is named twice; every worker needs an address")
        if not 0 <= self.number < len(self.addresses):
            last = len(self.addresses) - 1
            raise ValueError(f"workers are numbered from 0 to {last}, not {self.number}")

    def name(self, number: int) -> str:
        """What messages call a worker."""
        return f"worker {number} ({self.addresses[number]})"


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of 'host:port'; raises `ValueError`."""
    match = re.fullmatch(r"\[([0-9a-fA-F:.]+)\]:([0-9]{1,5})|([\w.-]+):([0-9]{1,5})", address)
    if match is None or not 0 < int(match[2] or match[4]) < 65_536:
        raise ValueError(_no_address(address))
    host, port = match[1] or match[3], int(match[2] or match[4])
    try:
        host.encode("idna")  # as a socket does it
    except UnicodeError as error:  # a part of the name is empty, or too long
        raise ValueError(_no_address(address)) from error
    return host, port


def _no_address(address: str) -> str:
    return f"'{address}' is no address; write host:port, as in 10.0.0.1:5000"


def read_workers(
    listed: str | None, number: int | None, environ: Mapping[str, str] = os.environ
) -> Workers | None:
    """The workers of --workers and --worker, or else of `TF_CONFIG`; None for a process alone.

    Raises `ValueError` for what cannot be.
    """
    if listed is None and number is None:
        return _from_environment(environ)
    if listed is None or number is None:
        raise ValueError("--workers and --worker belong together: all addresses, and which is this")
    return Workers(tuple(part.strip() for part in listed.split(",")), number)


def _from_environment(environ: Mapping[str, str]) -> Workers | None:
    """What `TF_CONFIG` says; a chief is the first worker, and one process alone is no group."""
    if not environ.get(VARIABLE):
        return None
    try:
        content: Any = json.loads(environ[VARIABLE])
        cluster, task = content["cluster"], content["task"]
        chief, others = [*cluster.get("chief", [])], [*cluster.get("worker", [])]
        kind, index = str(task["type"]), int(task["index"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{VARIABLE} cannot be read: it is no JSON with cluster and task"
        ) from error
    if kind not in ("chief", "worker"):
        raise ValueError(f"{VARIABLE} makes this a '{kind}'; tlcli has a chief and workers only")
    if len(chief) + len(others) < 2:
        return None
    return Workers((*chief, *others), index + (len(chief) if kind == "worker" else 0))
