"""Processes of this machine that are looked up and killed, those of Ray among them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from moments import PATIENCE

#: What finds processes, below that of a command.
FindProcesses = Callable[[int], list[int]]

#: Seconds in which a process that was killed must be gone.
HIT_SECONDS = 10


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A cluster of two nodes on this machine, with a processor each; the second is killed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


def node_processes(cluster: Any) -> list[int]:
    """The processes of the second node that it was started with."""
    (node,) = cluster.worker_nodes
    return [info.process.pid for several in node.all_processes.values() for info in several]


def below(*commands: int) -> list[int]:
    """Some processes and all that they, and those, have started."""
    parents = {pid: parent for pid, parent, _ in processes()}
    pids, more = {*commands}, {*commands}
    while more:
        more = {pid for pid, parent in parents.items() if parent in more}
        pids |= more
    return sorted(pids)


def workers(*commands: int) -> list[int]:
    """The processes below some that hold a network for Ray."""
    inside = {*below(*commands)}
    return [pid for pid, _, name in processes() if pid in inside and "ray::RayWorker" in name]


def processes() -> Iterator[tuple[int, int, str]]:
    """The number of every process, that of its parent, and its command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            status = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            yield int(folder.name), int(status.rpartition(")")[2].split()[1]), _words(folder)


def wait_for(begin: FindProcesses | None, process: subprocess.Popen[str]) -> None:
    """Wait until `begin` finds processes of a command that runs."""
    started = time.monotonic()
    while begin is not None and not begin(process.pid):
        if process.poll() is not None:
            raise SystemExit(process.communicate()[1])
        if time.monotonic() - started > PATIENCE:
            process.kill()
            raise SystemExit(f"a command has started no worker after {PATIENCE} s")
        time.sleep(0.05)


def kill(pids: list[int]) -> bool:
    """Kill processes without warning; whether there were any that lived, and none does now."""
    living = outlive(pids, 0)
    for pid in living:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(living) and not outlive(living, HIT_SECONDS)


def outlive(pids: list[int], seconds: float) -> list[int]:
    """Those processes that have not ended after some seconds."""
    until = time.monotonic() + seconds
    while (left := [*filter(_lives, pids)]) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def _lives(pid: int) -> bool:
    """Whether there is a process that has not ended; one nobody has waited for has no words."""
    with suppress(OSError):
        return bool(_words(Path(f"/proc/{pid}")))
    return False


def _words(folder: Path) -> str:
    return (folder / "cmdline").read_bytes().decode("utf-8", "replace")
