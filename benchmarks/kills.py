"""Kills with no warning: a worker of Ray, a node of Ray, the command itself, and `cache merge`.

    python benchmarks/kills.py [--rounds 10] [--kinds worker node command merge]

The extraction of small painted photos is killed once in each round, ten times later in one round
than in another: rounds divide the time that it takes undisturbed. What is killed is a worker on a
cluster of this machine alone; all processes of one of two nodes; and the command, which is given
again, as is `cache merge`. Afterwards every row must be there once, with the bits of one process.
`repeated` are batches that a warning names, `stored` the rows at the time of the kill.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from harness import ROOT, Bench, Measured, parser, scratch
from PIL import Image

from tlcli.features.inventory import list_trunks
from tlcli.system.files import features_folder

KINDS = ("worker", "node", "command", "merge")

RECIPE = """
data: {{dir: photos}}
base: {{name: MobileNetV3Small, weights: random, image_size: {size}}}
precision: float32
augment: {{views: {views}, rotation_range: 20}}
stages: [{{name: head}}]
"""

#: The most seconds that a command may take: what takes longer hangs.
PATIENCE = 240

#: Seconds in which the processes of Ray must have ended after the command that started them.
ORPHAN_SECONDS = 120

Rows = dict[tuple[str, str, str], bytes]


def main() -> None:
    """Kill and write the table; ends with 1 where a row is lost or has other bits."""
    options = parser(__doc__, rounds=10)
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options.add_argument("--photos", type=int, default=192, help="painted for each run [192]")
    options.add_argument("--views", type=int, default=15)
    options.add_argument("--size", type=int, default=96)
    arguments = options.parse_args()
    settings = {name: getattr(arguments, name) for name in ("photos", "views", "size")}
    settings["moments"] = arguments.rounds
    with scratch() as folder:
        paint(folder / "photos", arguments.photos)
        text = RECIPE.format(size=arguments.size, views=arguments.views)
        (folder / "recipe.yaml").write_text(text, encoding="utf-8")
        bench = Bench.open("kills", settings, arguments)
        bench.run(sides(bench, folder, arguments), arguments.rounds)
    report(bench)
    if any(not done["same"] for turn in bench.rounds for done in turn.values()):
        raise SystemExit("some rows were lost or changed")


def report(bench: Bench) -> None:
    """The table of all kinds that were killed."""
    rows = []
    for kind in KINDS:
        if not (killed := bench.values(kind, "killed")):
            continue
        measured = {name: bench.values(kind, name) for name in ("stored", "repeated", "seconds")}
        rows.append(
            [
                kind,
                f"{sum(bench.values(kind, 'same')):.0f} of {len(killed)}",
                f"{min(killed):.1f} to {max(killed):.1f}",
                f"{min(measured['stored']):,.0f} to {max(measured['stored']):,.0f}",
                f"{max(measured['repeated']):.0f}",
                f"{min(measured['seconds']):.0f} to {max(measured['seconds']):.0f}",
            ]
        )
    headers = ["killed", "all rows, same bits", "after, s", "rows stored then"]
    bench.report("Kills", [*headers, "most batches repeated", "in all, s"], rows)


def sides(
    bench: Bench, folder: Path, arguments: argparse.Namespace
) -> dict[str, Callable[[], Measured]]:
    """What is killed, each a function that kills it once, later in every round."""
    on_ray = ["--on", "ray", "--ray-workers", "2"]
    extraction = Extraction(folder)
    undisturbed: dict[str, float] = {}

    def moment(kind: str, whole: Callable[[], float]) -> float:
        if kind not in undisturbed:
            undisturbed[kind] = whole()
        number = len(bench.values(kind, "killed"))
        return undisturbed[kind] * (number + 0.5) / arguments.rounds

    def worker() -> Measured:
        after = moment("worker", lambda: extraction.run(on_ray, begin=workers))
        return extraction.disturb(on_ray, after, lambda command: end(workers(command)[:1]), workers)

    def node() -> Measured:
        with two_nodes() as cluster:
            words = [*on_ray, "--ray-address", cluster.address]
            # A worker is on each of the nodes; those of the second one are below its processes.
            pids = node_processes(cluster)

            def begin(_: int) -> list[int]:
                return workers(*pids)

            after = moment("node", lambda: extraction.run(words, begin=begin))
            pids = node_processes(cluster)
            return extraction.disturb(words, after, lambda _: end(below(*pids)), begin)

    def command() -> Measured:
        after = moment("command", lambda: extraction.run(on_ray))
        return extraction.disturb(on_ray, after, lambda command: end([command]), again=True)

    def merge() -> Measured:
        after = moment("merge", extraction.merge)
        return extraction.disturb_merge(after)

    all_sides = {"worker": worker, "node": node, "command": command, "merge": merge}
    return {kind: all_sides[kind] for kind in arguments.kinds}


class Extraction:
    """The extraction that is killed, in a folder with its photos and recipe.

    The rows of one process are the truth.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._finish(self._start("extract", "-c", "recipe.yaml", "--cache-dir", "one"))
        self._rows = rows(folder / "one")

    def run(self, words: list[str], begin: Callable[[int], list[int]] | None = None) -> float:
        """Seconds of an undisturbed extraction, from when `begin` finds its processes."""
        shutil.rmtree(self._folder / "two", ignore_errors=True)
        process = self._extract(words)
        wait_for(begin, process)
        started = time.monotonic()
        self._finish(process)
        return time.monotonic() - started

    def disturb(
        self,
        words: list[str],
        after: float,
        kill: Callable[[int], None],
        begin: Callable[[int], list[int]] | None = None,
        *,
        again: bool = False,
    ) -> Measured:
        """Kill what `kill` does some seconds after `begin`, and compare; with `again`, go on."""
        shutil.rmtree(self._folder / "two", ignore_errors=True)
        started = time.monotonic()
        process = self._extract(words)
        wait_for(begin, process)
        time.sleep(after)
        stored = count_rows(self._folder / "two")
        left: list[int] = below(process.pid) if again else []
        kill(process.pid)
        if again:
            process.communicate()
            stored = count_rows(self._folder / "two")
            process = self._extract(words)
        done, err = self._finish(process)
        repeated = sum(map(int, re.findall(r"; (\d+) batch(?:es)? repeated", err)))
        same = rows(self._folder / "two") == self._rows
        if again:  # what was stored is not computed again
            same = same and sum(done["stored"].values()) == stored
            if left := outlive(left, ORPHAN_SECONDS):
                end(left)
                raise SystemExit(f"{len(left)} processes of the killed command were left")
        return self._measured(after, stored, started, same=same, repeated=repeated)

    def merge(self) -> float:
        """Seconds of an undisturbed `cache merge`."""
        shutil.rmtree(self._folder / "two", ignore_errors=True)
        started = time.monotonic()
        self._finish(self._merge())
        return time.monotonic() - started

    def disturb_merge(self, after: float) -> Measured:
        """Kill `cache merge` after some seconds, give it again, and compare."""
        shutil.rmtree(self._folder / "two", ignore_errors=True)
        started = time.monotonic()
        process = self._merge()
        time.sleep(after)
        end([process.pid])
        process.communicate()
        stored = count_rows(self._folder / "two")
        done, _ = self._finish(self._merge())
        same = rows(self._folder / "two") == self._rows and done["present"] == stored
        return self._measured(after, stored, started, same=same)

    @staticmethod
    def _measured(
        after: float, stored: int, started: float, *, same: bool, repeated: int = 0
    ) -> Measured:
        seconds = time.monotonic() - started
        return {
            "killed": after, "stored": stored, "seconds": seconds, "same": float(same),
            "repeated": repeated,
        }  # fmt: skip

    def _extract(self, words: list[str]) -> subprocess.Popen[str]:
        return self._start("extract", "-c", "recipe.yaml", "--cache-dir", "two", *words)

    def _merge(self) -> subprocess.Popen[str]:
        return self._start("cache", "--cache-dir", "two", "merge", "one")

    def _start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tlcli", *words, "--json"],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    @staticmethod
    def _finish(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
        out, err = process.communicate(timeout=PATIENCE)
        if process.returncode or not out.startswith("{"):
            raise SystemExit(f"ended with {process.returncode}:\n{out}\n{err}")
        return json.loads(out), err


def wait_for(begin: Callable[[int], list[int]] | None, process: subprocess.Popen[str]) -> None:
    """Wait until `begin` finds processes of a command that runs."""
    while begin is not None and not begin(process.pid):
        if process.poll() is not None:
            raise SystemExit(process.communicate()[1])
        time.sleep(0.05)


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
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
            yield int(folder.name), int(status.rpartition(")")[2].split()[1]), words


def outlive(pids: list[int], seconds: float) -> list[int]:
    """Those processes that have not ended after some seconds."""
    until = time.monotonic() + seconds
    while left := [pid for pid, _, words in processes() if pid in pids and words]:
        if time.monotonic() > until:
            break
        time.sleep(0.5)
    return left


def end(pids: list[int]) -> None:
    """Kill processes; those that have ended by themselves are none."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def rows(cache: Path) -> Rows:
    """The bytes of all rows of a store, which must match their checksums."""
    content: Rows = {}
    for trunk in list_trunks(features_folder(cache)):
        with closing(trunk.open()) as opened:
            if damaged := opened.damaged():
                raise SystemExit(f"{len(damaged)} damaged rows")
            for keys in opened.keys(1000):
                values = opened.read(opened.locate(keys), range(len(keys)))
                for (photo, view), row in zip(keys, values, strict=True):
                    content[trunk.path.name, photo, view] = row.tobytes()
    return content


def count_rows(cache: Path) -> int:
    """The rows that a store has by now."""
    folder = features_folder(cache)
    return sum(trunk.rows for trunk in list_trunks(folder)) if folder.is_dir() else 0


def paint(folder: Path, photos: int) -> None:
    """Photos of two classes, all of them different, all for training but a few."""
    generator = np.random.default_rng(0)
    for number in range(photos):
        split = "train" if number >= 8 else ("val", "test")[number % 2]
        place = folder / split / ("even", "odd")[number // 2 % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number:04d}.png")


if __name__ == "__main__":
    main()
