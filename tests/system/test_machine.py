"""How many processors may be used and what they can do, told by a made-up /proc and /sys."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlcli.system import machine


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process may run on eight processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


V1 = "proc/self/cgroup", "3:cpuset:/a\n2:cpu,cpuacct:/a/b\n0::/\n"


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/a/b\n"}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "10000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "9900000 100000\n"}, 8),
        # The group above has less.
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
          "sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3),
        # In a container its own group is the root of what is mounted.
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
        ({V1[0]: V1[1], "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us": "250000\n",
          "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n"}, 3),
        ({V1[0]: V1[1], "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "200000\n"}, 2),
        ({V1[0]: V1[1], "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"proc/self/cgroup": "what\n\n0::/a\n", "sys/fs/cgroup/a/cpu.max": "some words\n"}, 8),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "100000 0\n"}, 8),
    ],
)  # fmt: skip
def test_the_processors_are_those_of_affinity_and_quota(tmp_path: Path, files: dict, count: int):
    root = write(tmp_path, files)
    assert machine.usable_processors(root) == count
    assert machine.has_quota(root) == (count < 8)


def test_affinity_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert machine.usable_processors(tmp_path) == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.usable_processors(tmp_path) == 6


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("model name\t: A\nflags\t\t: fpu avx512_bf16 amx_bf16 ht\n", ("amx_bf16", "avx512_bf16")),
        ("flags : fpu avx512_bf16\n\nprocessor : 1\nflags : fpu amx_bf16\n", ("avx512_bf16",)),
        ("flags : fpu avx2\n", ()),
        ("Features\t: fp asimd i8mm bf16\n", ("bf16",)),
        ("", ()),
    ],
)
def test_units_are_read_from_the_flags(tmp_path: Path, text: str, units: tuple[str, ...]):
    assert machine.bfloat16_units(write(tmp_path, {"proc/cpuinfo": text})) == units


@pytest.mark.parametrize(
    ("flags", "alone"),
    [("fpu fma avx2", True), ("avx2 avx_vnni", False), ("avx2 avx512f avx512_vnni", False),
     ("fpu avx", False)],
)  # fmt: skip
def test_a_processor_has_avx2_and_nothing_beyond(tmp_path: Path, flags: str, alone: bool):
    assert machine.has_avx2_alone(write(tmp_path, {"proc/cpuinfo": f"flags : {flags}\n"})) == alone


def test_gpus_are_those_of_the_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    gpu = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   45\n"
    root = write(tmp_path, {"proc/driver/nvidia/gpus/0000:19:00.0/information": gpu})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.gpu_names(root) == ("NVIDIA H100 80GB HBM3",)
    assert machine.gpu_names(tmp_path / "other") == ()
    windows = write(tmp_path / "wsl", {"usr/lib/wsl/lib/libcuda.so.1": ""})
    assert machine.gpu_names(windows) == ("NVIDIA GPU",)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert machine.gpu_names(root) == machine.gpu_names(windows) == ()


QUOTA = """
import os
from tlcli.system import machine
machine._control_group_quotas = lambda root: iter([1.0])
os.sched_getaffinity = lambda _: {0, 1}
from tlcli.networks.framework import tf
print(tf.config.threading.get_intra_op_parallelism_threads(),
      tf.config.threading.get_inter_op_parallelism_threads())
"""


def test_tensorflow_starts_no_more_threads_than_the_quota_has_processors():
    asked = [sys.executable, "-c", QUOTA]
    environ = {"TF_NUM_INTEROP_THREADS": "2", **os.environ}
    done = subprocess.run(asked, capture_output=True, text=True, env=environ, check=True)
    assert done.stdout.split() == ["1", "0"]
