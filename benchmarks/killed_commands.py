"""The commands whose processes `kills.py` kills, and what their stores hold afterwards."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import ROOT, Measured
from moments import PATIENCE, Moment
from processes import (
    FindProcesses,
    below,
    kill,
    node_processes,
    outlive,
    two_nodes,
    wait_for,
    workers,
)
from stored_rows import Rows, count_rows, count_rows_left, digests

KINDS = ("worker", "node", "command", "merge")

#: Seconds in which the processes of Ray must have ended after the command that started them.
ORPHAN_SECONDS = 120

Process = subprocess.Popen[str]


@dataclass(frozen=True)
class Target:
    """What is killed.

    Attributes:
        start: starts the command that fills the store.
        victims: the processes to kill, by that of the command.
        begin: finds processes from which on the moment is waited for; None for the command.
    """

    start: Callable[[], Process]
    victims: FindProcesses
    begin: FindProcesses | None = None


@dataclass(frozen=True)
class Kill:
    """What was seen of a kill and of the store.

    Attributes:
        hit: whether processes lived before it, and none of them afterwards.
        stored: rows in the store then.
        repeated: batches that a warning names.
        goes_on: whether a command that was given again took all that was stored for computed.
    """

    hit: bool
    stored: int
    repeated: int = 0
    goes_on: bool = True


class KilledCommands:
    """Extractions and merges in a folder with photos and recipe; a store of one process is truth.

    Args:
        folder: where a store is made for every kill.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._store = folder, folder / "two"
        self._orphans: list[int] = []

    def end_orphans(self) -> None:
        """End the benchmark where processes of a killed command have not ended by themselves."""
        if left := outlive(self._orphans, ORPHAN_SECONDS):
            kill(left)
            raise SystemExit(f"{len(left)} processes of killed commands were left")

    @cached_property
    def truth(self) -> Rows:
        """The rows of one process."""
        self._finish(self._start("extract", "-c", "recipe.yaml", "--cache-dir", "one"))
        return digests(self._folder / "one")

    def undisturbed(self, kind: str) -> float:
        """Seconds of a command of which nothing is killed, from the beginning of the wait."""
        assert self.truth  # which is what a merge adds
        shutil.rmtree(self._store, ignore_errors=True)
        with self._target(kind) as target:
            process = target.start()
            wait_for(target.begin, process)
            started = time.monotonic()
            self._finish(process)
        return time.monotonic() - started

    def kill(self, kind: str, moment: Moment) -> Measured:
        """Kill at a moment, let or make the command go on, and compare all rows."""
        truth = self.truth
        shutil.rmtree(self._store, ignore_errors=True)
        started = time.monotonic()
        with self._target(kind) as target:
            process = target.start()
            wait_for(target.begin, process)
            begun = time.monotonic()
            moment.wait(self._store, process)
            killed = time.monotonic() - begun
            go_on = self._go_on if target.begin else self._give_again
            done = go_on(target, process)
        stored = digests(self._store)
        identical = sum(stored.get(key) == digest for key, digest in truth.items())
        is_same = done.goes_on and identical == len(stored) == len(truth)
        return {
            "killed": killed, "seconds": time.monotonic() - started, "hit": float(done.hit),
            "amid": float(done.hit and 0 < done.stored < len(truth)),
            "stored": done.stored, "rows": len(stored), "identical": identical,
            "repeated": done.repeated, "same": float(is_same),
        }  # fmt: skip

    @contextmanager
    def _target(self, kind: str) -> Iterator[Target]:
        on_ray = ["--on", "ray", "--ray-workers", "2"]
        if kind == "merge":
            yield Target(self._merge, lambda command: [command])
        elif kind == "command":
            yield Target(lambda: self._extract(on_ray), lambda command: [command])
        elif kind == "worker":
            yield Target(
                lambda: self._extract(on_ray), lambda command: workers(command)[:1], workers
            )
        else:
            with two_nodes() as cluster:
                words, pids = [*on_ray, "--ray-address", cluster.address], node_processes(cluster)
                # A worker is on each of the nodes; those of the second one are below its processes.
                yield Target(
                    lambda: self._extract(words), lambda _: below(*pids), lambda _: workers(*pids)
                )

    def _go_on(self, target: Target, process: Process) -> Kill:
        """Kill what a command has started, and let it end."""
        victims = target.victims(process.pid)
        stored = count_rows(self._store)
        hit = process.poll() is None and kill(victims)
        _, err = self._finish(process)
        repeated = sum(map(int, re.findall(r"; (\d+) batch(?:es)? repeated", err)))
        return Kill(hit, stored, repeated)

    def _give_again(self, target: Target, process: Process) -> Kill:
        """Kill a command, and give it again; what was stored must not be computed again."""
        # It rests meanwhile: what it has started is known before the kill alone.
        process.send_signal(signal.SIGSTOP)
        self._orphans += below(process.pid)
        hit = kill(target.victims(process.pid))
        process.communicate()
        hit = hit and process.returncode == -signal.SIGKILL
        stored = count_rows_left(self._store)
        done, _ = self._finish(target.start())
        present = done["present"] if "present" in done else sum(done["stored"].values())
        return Kill(hit, stored, goes_on=present == stored)

    def _extract(self, words: list[str]) -> Process:
        return self._start("extract", "-c", "recipe.yaml", "--cache-dir", "two", *words)

    def _merge(self) -> Process:
        return self._start("cache", "--cache-dir", "two", "merge", "one")

    def _start(self, *words: str) -> Process:
        return subprocess.Popen(
            [sys.executable, "-m", "tlcli", *words, "--json"],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    @staticmethod
    def _finish(process: Process) -> tuple[dict[str, Any], str]:
        out, err = process.communicate(timeout=PATIENCE)
        if process.returncode or not out.startswith("{"):
            raise SystemExit(f"ended with {process.returncode}:\n{out}\n{err}")
        return json.loads(out), err
