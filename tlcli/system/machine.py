"""The processors of this machine: how many may be used, which they are, what they compute fast."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

#: Where Linux tells about the machine; the folders `proc` and `sys` lie in it.
ROOT = Path("/")


def usable_processors(root: Path = ROOT) -> int:
    """The number of processors whose time this process may have, at least one.

    These are the processors that the system lets it run on (its affinity), or fewer, where it is in
    a control group, such as a container, that has a quota of their time. A part of a processor
    counts as one.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quotas = [math.ceil(quota) for quota in _control_group_quotas(root)]
    return max(1, min([count, *quotas]))


def has_quota(root: Path = ROOT) -> bool:
    """Whether a control group gives this process less time than its affinity does."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return usable_processors(root) < affinity


def _control_group_quotas(root: Path) -> Iterator[float]:
    """Processors' worth of time that this process's control group and those above it may have.

    Version 2 has `cpu.max` ("200000 100000" or "max 100000"), version 1 two files, -1 for no limit.
    """
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, name = line.split(":", 2) if line.count(":") >= 2 else ("", "-", "/")
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = ("", "unified") if not controllers else ("cpu", "cpu,cpuacct", controllers)
        inside = PurePosixPath(name).relative_to("/") if name.startswith("/") else PurePosixPath()
        for mount in dict.fromkeys(mounts):
            # In a container the group's own folder may be mounted as the whole tree.
            for group in (inside, *inside.parents):
                folder = root / "sys/fs/cgroup" / mount / group
                words = " ".join(_lines(folder / "cpu.max")).split()
                words = words or [
                    word
                    for file in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                    for word in _lines(folder / file)
                ]
                with suppress(ValueError, ZeroDivisionError):
                    quota, period = map(int, words)
                    if quota > 0:
                        yield quota / period


def processor_name() -> str:
    """The processor's model name, as Linux gives it; elsewhere what Python knows."""
    return next(_cpuinfo("model name", ROOT), "") or platform.processor()


@cache
def bfloat16_units(root: Path = ROOT) -> tuple[str, ...]:
    """The instructions for products of bfloat16 numbers that the processor says it has.

    Of `amx_bf16` and `avx512_bf16` on x86, `bf16` on ARM; the name of the feature on macOS.
    """
    if sys.platform == "darwin" and root == ROOT:
        feature = "hw.optional.arm.FEAT_BF16"
        with suppress(OSError, subprocess.SubprocessError):
            asked = ["/usr/sbin/sysctl", "-n", feature]
            answer = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True)
            return ("FEAT_BF16",) if answer.stdout.strip() == "1" else ()
        return ()
    words = _instructions(root)
    return tuple(name for name in ("amx_bf16", "avx512_bf16", "bf16") if name in words)


@cache
def has_avx2_alone(root: Path = ROOT) -> bool:
    """Whether the processor has AVX2 and none of the instructions for neural networks beyond it.

    These are AVX-512 VNNI, AVX-512 BF16, AVX-VNNI and AMX.
    """
    words = _instructions(root)
    beyond = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
    return "avx2" in words and not words & beyond


def _instructions(root: Path) -> set[str]:
    """What the processor says that it can do: `flags` on x86, `Features` on ARM."""
    return set(" ".join([*_cpuinfo("flags", root), *_cpuinfo("Features", root)]).split())


def gpu_names(root: Path = ROOT) -> tuple[str, ...]:
    """The models of NVIDIA GPUs that the driver of this machine knows and the user has not hidden.

    Whether the installed TensorFlow can use them is not known without importing it. Linux within
    Windows (WSL) has the driver's library alone, which does not name them.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1", "NoDevFiles"):
        return ()
    names = []
    for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        models = [line.partition(":")[2] for line in _lines(path) if line.startswith("Model:")]
        names.append(models[0].strip() if models else "NVIDIA GPU")
    if not names and (root / "usr/lib/wsl/lib/libcuda.so.1").exists():
        names.append("NVIDIA GPU")
    return tuple(names)


def _cpuinfo(key: str, root: Path) -> Iterator[str]:
    """The value of a key in the part of /proc/cpuinfo about the first processor that has it."""
    for line in _lines(root / "proc/cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() == key:
            yield value.strip()
            return


def _lines(path: Path) -> list[str]:
    """The lines of a small file of the system; none where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def use_one_thread() -> AbstractContextManager[Any]:
    """A block in which matrix products take one thread: for these small ones, several only wait for
    each other, several times as long as the product takes."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits
