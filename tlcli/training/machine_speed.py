"""What this machine does in a second, measured in about half a second, without TensorFlow."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tlcli.data.dataset import Item
from tlcli.errors import ImageError
from tlcli.images.decode import load_image
from tlcli.images.loader import THREADS
from tlcli.networks.precision import NO_GAIN, Speedup, known_speedup, usual_speedup
from tlcli.system.machine import gpu_names, usable_processors, use_one_thread
from tlcli.training.plan import Plan

#: Seconds that each of the three measurements of speed may take, and the decoding of photos.
BUDGET = 0.15

_SIDE = 768

#: Turns of the loop that stands for all that Python does, and the seconds that they took on the
#: machine on which the seconds of `estimate` that are not arithmetic were measured: an EPYC with
#: AVX2 at 2.4 GHz.
_TURNS, _TURNS_SECONDS = 100_000, 0.0051


@dataclass(frozen=True)
class MachineSpeed:
    """What this machine does.

    Attributes:
        multiply_adds: in a second, in float32.
        bytes: moved in a second.
        decode: seconds for a photo.
        overhead: how many times as long as on the machine of `_TURNS_SECONDS` one thread takes for
            what is not arithmetic, such as compiling.
        bfloat16: how many times as fast the arithmetic is in the precision of the plan.
        bfloat16_assumed: whether that was measured on other processors of this kind alone.
    """

    multiply_adds: float
    bytes: float
    decode: float
    overhead: float = 1.0
    bfloat16: Speedup = NO_GAIN
    bfloat16_assumed: bool = False

    def text(self) -> str:
        """How it was measured, as people read it."""
        faster = ""
        if self.bfloat16 != NO_GAIN:
            how = ", as on other processors of this kind" if self.bfloat16_assumed else ""
            faster = f" (in bfloat16 {self.bfloat16.forward:.2g} times that{how})"
        return (
            f"measured here: a matrix product at {self.multiply_adds / 1e9:.3g} G multiply-adds/s"
            f"{faster}, memory at {self.bytes / 1e9:.2g} GB/s, a photo decoded in "
            f"{1e3 * self.decode:.2g} ms"
        )

    def as_json(self) -> dict[str, Any]:
        """The form in `finetune --dry-run --json`."""
        return {
            "multiply_adds_per_second": round(self.multiply_adds),
            "bytes_per_second": round(self.bytes),
            "decode_seconds": round(self.decode, 6),
            "overhead": round(self.overhead, 3),
            "bfloat16": {
                "forward": self.bfloat16.forward,
                "step": self.bfloat16.step,
                "assumed": self.bfloat16_assumed,
            },
        }


def machine_speed(plan: Plan) -> MachineSpeed | None:
    """The speed for a plan; None on a machine with a GPU, for which there is no model."""
    if gpu_names():
        return None
    speed = calibrate(plan.index.items, plan.recipe.base.image_size)
    if plan.recipe.precision != "mixed_bfloat16":
        return speed
    known = known_speedup(plan.cache)
    return replace(speed, bfloat16=known or usual_speedup(), bfloat16_assumed=known is None)


def calibrate(items: Sequence[Item], size: tuple[int, int]) -> MachineSpeed:
    """Measure this machine for about half a second."""
    rng = np.random.default_rng(0)
    left, right = (rng.random((_SIDE, _SIDE), np.float32) for _ in range(2))
    workers = usable_processors()
    # NumPy's own threads wait for each other, so that other work on the machine halves their speed
    # and not that of TensorFlow. So each processor gets products of its own.
    with use_one_thread(), ThreadPoolExecutor(workers) as pool:
        product = _seconds(lambda: list(pool.map(lambda _: left @ right, range(workers))))
    # Larger than any cache, or the caches would be measured.
    source, target = np.ones(8_000_000, np.float32), np.empty(8_000_000, np.float32)
    moved = _seconds(lambda: np.add(source, 1, out=target))
    multiply_adds = workers * _SIDE**3 / product
    decode = _decoding(items, size)
    overhead = _seconds(lambda: sum(number & 7 for number in range(_TURNS))) / _TURNS_SECONDS
    return MachineSpeed(multiply_adds, 2 * source.nbytes / moved, decode, overhead)


def _seconds(act: Callable[[], Any]) -> float:
    """The median time of an act; the first time, when threads and pages are new, is left out."""
    act()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < BUDGET:
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _decoding(items: Sequence[Item], size: tuple[int, int]) -> float:
    """Seconds to decode a photo in all threads: the mean over an even sample of the photos."""
    started = time.perf_counter()
    count = 0
    for item in items[:: max(len(items) // 32, 1)]:
        try:
            load_image(item.path, height=size[0], width=size[1], resize="squash")
        except ImageError:
            continue  # the check of photos reports it
        count += 1
        if time.perf_counter() - started > BUDGET:
            break
    return (time.perf_counter() - started) / max(count, 1) / THREADS
