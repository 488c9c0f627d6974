"""Workers of Ray that are killed, on a cluster of two nodes of this machine."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import ray_workers
from builders.commands import ROOT

from tlcli.cluster.ray_pool import RayPool
from tlcli.errors import TlcliError
from tlcli.images.loader import View

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

WEIGHT = 0.5
VIEWS = [View(f"photo-{number}", f"{number:064x}", number) for number in range(80)]
BATCHES = [VIEWS[first : first + 2] for first in range(0, len(VIEWS), 2)]

#: The most batches that are on their way to two workers.
ON_THE_WAY = 6

#: Seconds from the start of the workers, over which they start, get ready and compute.
MOMENTS = [0.05, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    from tlcli.cluster.ray_extraction import require_ray

    before = dict(os.environ)
    os.environ["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests'}"
    ray = require_ray()
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()
    os.environ.clear()
    os.environ.update(before)


def make_pool(worker: type = ray_workers.AddingWorker, count: int = 2) -> RayPool:
    import ray

    actor = ray.remote(worker).options(
        num_cpus=1, max_restarts=0, max_concurrency=4, scheduling_strategy="SPREAD"
    )
    return RayPool(ray, actor.remote, ray.put([WEIGHT]), count)


def compute(kill: Callable[[], object] = lambda: None, after: float = 0.0, **more: Any) -> int:
    """Compute all batches, each once, while `kill` is called after some seconds.

    Returns how many were left to come in then.
    """
    rows: dict[int, Any] = {}
    left = 0

    def note_and_kill() -> None:
        nonlocal left
        left = len(BATCHES) - len(rows)
        kill()

    pool = make_pool(**more)
    timer = threading.Timer(after, note_and_kill)
    timer.start()
    try:
        for views, computed in pool.compute(BATCHES):
            assert views[0].number not in rows
            rows[views[0].number] = computed.rows[0]
    finally:
        timer.cancel()
        pool.close()
    assert sorted(rows) == [views[0].number for views in BATCHES]
    for number, row in rows.items():
        np.testing.assert_array_equal(row, [number + WEIGHT, number + 1 + WEIGHT])
    return left


def processes_of(name: str) -> list[int]:
    """The processes with such a command line, as Ray names them."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if name in path.read_bytes().decode("utf-8", "replace"):
                pids.append(int(path.parent.name))
    return pids


def end(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("after", MOMENTS)
def test_a_worker_that_is_killed_is_replaced(cluster, after: float, capsys):
    def kill() -> None:
        while not (pids := processes_of("ray::AddingWorker")):
            time.sleep(0.01)
        end(pids[:1])

    left = compute(kill, after)
    err = capsys.readouterr().err
    repeated = sum(int(number) for number in re.findall(r"; (\d+) batch(?:es)? repeated", err))
    assert repeated <= 3
    # Near the end, or after it on a fast machine, a worker may have nothing left to do.
    lost = err.count("a worker was lost")
    assert lost == 1 or (lost == 0 and left <= ON_THE_WAY)


@pytest.mark.parametrize("after", MOMENTS)
def test_a_node_that_is_killed_costs_what_its_worker_had(cluster, after: float, capsys):
    (node,) = cluster.worker_nodes
    raylet = node.all_processes["raylet"][0].process.pid

    def kill() -> None:
        end(below(raylet))

    try:
        compute(kill, after)
    finally:
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=1)
    err = capsys.readouterr().err
    repeated = sum(int(number) for number in re.findall(r"; (\d+) batch(?:es)? repeated", err))
    assert repeated <= 3


def below(command: int) -> list[int]:
    """A process and all that it, and those, have started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            status = path.read_text(encoding="utf-8", errors="replace")
            parents[int(path.parent.name)] = int(status.rpartition(")")[2].split()[1])
    pids, more = {command}, {command}
    while more:
        more = {pid for pid, parent in parents.items() if parent in more}
        pids |= more
    return sorted(pids)


def test_workers_that_never_get_ready_are_an_error(cluster):
    with pytest.raises(TlcliError) as raised:
        compute(worker=ray_workers.WorkerThatEnds)
    assert re.fullmatch(
        r"Ray: 6 workers have ended before they could compute: .*; is there memory for them\? "
        r"--ray-workers starts fewer",
        str(raised.value),
    )


def test_a_node_that_would_compute_other_rows_is_an_error(cluster):
    with pytest.raises(TlcliError) as raised:
        compute(worker=ray_workers.WorkerThatCannot)
    assert str(raised.value) == "node: its rows would differ"


def test_a_batch_that_ends_every_worker_is_named(cluster):
    with pytest.raises(TlcliError) as raised:
        compute(worker=ray_workers.WorkerThatEndsOnABatch)
    assert str(raised.value).startswith(
        "Ray: the batch from photo-10 to photo-11 has ended 3 workers: "
    )
