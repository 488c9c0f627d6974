"""Extraction on Ray: the rows of one process, and what happens where workers are lost."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders.commands import ROOT
from builders.photos import paint_splits
from builders.stores import all_rows, row_places

from tlcli.cluster import ray_extraction
from tlcli.cluster.ray_extraction import share_gpus, share_out
from tlcli.cluster.ray_worker import Job, RayWorker
from tlcli.errors import TlcliError
from tlcli.images.loader import View

RECIPE = """
data: {dir: photos}
base: {name: VGG16, weights: random, image_size: 32}
augment: {views: 4, rotation_range: 20}
precision: float32
stages:
  - {name: head, epochs: 2}
  - {name: top, freeze_until: block4_pool, epochs: 1}
"""


def test_without_ray_a_line_says_how_to_install_it(cli, monkeypatch, photos, write_recipe):
    monkeypatch.setitem(sys.modules, "ray", None)
    recipe = RECIPE.replace("photos", str(photos))
    config = write_recipe(recipe, "small.yaml")
    line = "error: Ray is not installed; install it with pip install 'tlcli[ray]'\n"
    for words in (("extract", "--on", "ray"), ("finetune", "--extract-on", "ray")):
        done = cli(*words, "-c", config)
        assert done.exit_code == 1
        assert done.stderr.endswith(line)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("extract", "--ray-workers", "2"), "--ray-address and --ray-workers need --on ray"),
        (
            ("finetune", "--ray-address", "auto"),
            "--ray-address and --ray-workers need --extract-on ray",
        ),
        (
            ("finetune", "--extract-on", "ray", "--workers", "a:1,b:2", "--worker", "0"),
            "--extract-on ray and --workers: extract first, with tlcli extract",
        ),
    ],
)
def test_options_that_do_not_go_together(cli, words, message):
    done = cli(*words)
    assert done.exit_code == 2
    assert f"Error: {message}\n" in done.stderr


def test_nothing_needs_ray_or_what_comes_with_it():
    code = "import sys; sys.modules.update(dict.fromkeys(['ray', 'fsspec', 'pyarrow', 'msgpack', "
    code += "'jsonschema'])); import tlcli.cli, tlcli.training.train, tlcli.training.extract, "
    code += "tlcli.cluster.ray_extraction, tlcli.cluster.ray_worker, tlcli.cluster.workers"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("sizes", "threads", "workers", "expected"),
    [
        ([64, 64], 16, None, (8, 16)),
        ([64, 64, 2], 16, None, (8, 16)),  # the small node gets none
        ([2, 2, 4], 16, None, (3, 2)),  # each gets one
        ([1, 1], 1, 2, (2, 1)),
        ([2], 2, 2, (2, 1)),
        ([2], 2, 4, (4, 0.5)),
        ([64, 64], 16, 3, (3, 16)),
    ],
)
def test_nodes_have_as_many_workers_as_their_processors_allow(sizes, threads, workers, expected):
    assert share_out(sizes, threads, workers) == expected


@pytest.mark.parametrize(
    ("sizes", "workers", "most", "expected"),
    [
        ([(4, 64)], None, 100, (4, 1, 1)),
        ([(4, 64), (4, 64)], None, 3, (3, 1, 1)),  # no more have something to do
        ([(2, 16)], 4, 100, (4, 0.5, 1)),
        ([(2, 16)], 3, 100, (3, 0.5, 1)),  # a third one fits only if two share
        ([(1, 2)], 3, 100, (3, 0.3333, 0.6666)),
        ([(1, 16)], 6, 100, (6, 0.1666, 1)),
        ([(2, 16), (1, 1)], 6, 100, (6, 0.5, 0.5)),
    ],
)
def test_more_workers_than_gpus_share_them(sizes, workers, most, expected):
    count, gpus, _ = share_gpus(sizes, workers, most)
    assert share_gpus(sizes, workers, most) == expected
    assert sum(int(of_node) * int(1 / gpus) for of_node, _ in sizes) >= count


def test_a_cluster_without_processors():
    with pytest.raises(TlcliError, match="no node of the cluster has processors to give"):
        share_out([], 2, None)


@pytest.mark.parametrize(("value", "threads"), [("3", 3), ("0", 7), ("many", 7), ("", 7)])
def test_threads_of_a_worker(monkeypatch, value: str, threads: int):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", value)
    monkeypatch.setattr(ray_extraction, "usable_processors", lambda: 7)
    assert ray_extraction._thread_count() == threads


def test_a_photo_that_a_node_cannot_reach_is_named_with_the_node(tmp_path: Path, load):
    job = Job(load(""), ("top",), False, {}, tmp_path / "a.png")
    with pytest.raises(TlcliError) as raised:
        RayWorker(job).compute([View(str(tmp_path / "a.png"), "0" * 64)])
    assert str(raised.value) == (
        f"{tmp_path}/a.png on {socket.gethostname()}: cannot be decoded: no such file; "
        "the photos must lie at the same path on every node, or in an object store"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    paint_splits(tmp_path / "photos", train=24, val=3, test=2)
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


def start(
    folder: Path, cache: str, *words: str, command: str = "extract",
    program: tuple[str, ...] = ("-m", "tlcli"),
) -> subprocess.Popen[str]:  # fmt: skip
    options = ["--config", "recipe.yaml", "--cache-dir", cache, "--json", *words]
    return subprocess.Popen(
        [sys.executable, *program, command, *options], cwd=folder, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[dict, str]:
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    return json.loads(out), err


def processes_below(process: subprocess.Popen[str]) -> dict[int, str]:
    """The processes that a command has started, and those that these have, with their words."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    rows = [line.split(None, 2) for line in listed]
    below: dict[int, str] = {}
    for pid, parent, words in sorted(rows, key=lambda row: int(row[0])):
        if int(parent) == process.pid or int(parent) in below:
            below[int(pid)] = words
    return below


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes of Ray that hold a network, below a command."""
    below = processes_below(process)
    return [pid for pid, words in below.items() if re.match(r"ray::RayWorker", words)]


@pytest.mark.slow
def test_two_workers_compute_the_rows_of_one_process(folder: Path):
    pytest.importorskip("ray")
    plain, _ = finish(start(folder, "one"))
    on_ray, err = finish(start(folder, "two", "--on", "ray", "--ray-workers", "2"))
    assert plain["computed"] == on_ray["computed"] == {"block4_pool": 375, "block5_pool": 375}
    assert "Ray: 2 workers of 1 thread on 1 node\n" in err
    assert all_rows(folder / "two") == all_rows(folder / "one")


def wait_for_rows(process: subprocess.Popen[str], cache: Path) -> dict:
    """The places of the rows that are stored once there are some; the command must be running."""
    while not (places := row_places(cache) if cache.is_dir() else {}):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return places


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_batches(folder: Path):
    pytest.importorskip("ray")
    expected, _ = finish(start(folder, "one"))
    process = start(folder, "two", "--on", "ray", "--ray-workers", "2")
    before = wait_for_rows(process, folder / "two")
    workers = workers_of(process)
    os.kill(workers[0], signal.SIGKILL)
    done, err = finish(process)
    rows = all_rows(folder / "one")
    assert 0 < len(before) < len(rows) == sum(expected["computed"].values())
    assert "Ray: a worker was lost" in err
    assert done["computed"] == expected["computed"]
    assert before.items() <= row_places(folder / "two").items()
    assert all_rows(folder / "two") == rows


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_from_what_is_stored(folder: Path):
    pytest.importorskip("ray")
    expected, _ = finish(start(folder, "one"))
    process = start(folder, "two", "--on", "ray", "--ray-workers", "2")
    before = wait_for_rows(process, folder / "two")
    process.kill()
    process.communicate()
    at_the_end = row_places(folder / "two")
    done, _ = finish(start(folder, "two", "--on", "ray", "--ray-workers", "2"))
    rows = all_rows(folder / "one")
    assert 0 < len(before) <= len(at_the_end) < len(rows) == sum(expected["computed"].values())
    assert before.items() <= at_the_end.items() <= row_places(folder / "two").items()
    assert sum(done["stored"].values()) == len(at_the_end)
    for boundary, count in expected["computed"].items():
        assert done["computed"][boundary] + done["stored"][boundary] == count
    assert all_rows(folder / "two") == rows


#: A cluster that is told of a GPU, which Ray counts without looking for it.
ONE_GPU = """
import functools, sys, ray
ray.init = functools.partial(ray.init, num_gpus=1)
from tlcli.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_two_workers_share_a_gpu(folder: Path):
    pytest.importorskip("ray")
    process = start(folder, "two", "--on", "ray", "--ray-workers", "2", program=("-c", ONE_GPU))
    most = 0
    while process.poll() is None:
        most = max(most, len(workers_of(process)))
        time.sleep(0.2)
    done, err = finish(process)
    assert "Ray: 2 workers of 1 thread on 1 node\n" in err
    assert most == 2
    assert done["computed"] == {"block4_pool": 375, "block5_pool": 375}


@pytest.mark.slow
def test_ray_has_ended_when_training_begins_and_is_not_started_without_need(folder: Path):
    pytest.importorskip("ray")
    words = ("--extract-on", "ray", "--ray-workers", "1", "--no-instant")
    process = start(folder, "one", *words, command="finetune")
    said, seen = [], []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if line.startswith("Ray: "):
            seen = [*processes_below(process).values()]
        if line.startswith("stage 1 of 2"):
            break
    below = processes_below(process)
    finish(process)
    assert any("raylet" in words for words in seen), said
    assert [words for words in below.values() if "ray" in words] == []
    # Every row is stored now: an address at which there is no cluster is not looked at.
    process = start(folder, "one", "--extract-on", "ray", "--ray-address", "127.0.0.1:1",
                    "--no-instant", command="finetune")  # fmt: skip
    finish(process)
