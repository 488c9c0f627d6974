"""How long a plan will take on this machine, from half a second of calibration.

Without TensorFlow, whose import alone takes longer: the plan knows how many multiplications it asks
for (`work.json`, counted by `scripts/work.py`), and three small measurements say what one costs
here: a matrix product, which is what a convolution becomes; a pass over memory; the decoding of a
few of the very photos. It is a model of a processor, so a machine with a GPU gets no estimate.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.data.dataset import Item
from tlcli.errors import ImageError
from tlcli.images.decode import load_image
from tlcli.images.loader import THREADS
from tlcli.networks.bases import PretrainedBase
from tlcli.networks.boundaries import PIXELS, Boundary
from tlcli.system.console import duration
from tlcli.training.plan import Plan
from tlcli.training.stage_plan import StagePlan

# What the calibration cannot see, as factors that were measured against it; docs/performance.md
# has how well they fit.

#: Cost of a multiplication in a depthwise convolution, in those of a matrix product: it waits for
#: memory, not for arithmetic.
DEPTHWISE = 40.0
#: Cost of a multiplication of the backward pass: gradients of kernels run slower.
BACKWARD = 1.5
#: Values moved to augment one channel of a pixel.
AUGMENT = 50.0
#: Bytes that Adam moves for a parameter: gradient, two moments and the parameter, read and written.
UPDATE = 32.0
#: Seconds of a training step beside its arithmetic.
STEP = 0.008

#: What live views may add to the time of a stage to be called as fast.
AS_FAST = 0.1

#: Seconds that each of the two measurements of arithmetic may take, and the decoding of photos.
BUDGET = 0.15

_SIDE = 768


@dataclass(frozen=True)
class Speed:
    """What this machine does in a second: multiply-adds, bytes moved; and seconds for a photo."""

    multiply_adds: float
    bytes: float
    decode: float


@dataclass(frozen=True)
class Estimate:
    """Seconds of a plan: of filling an empty feature store, and of each stage by its name.

    Attributes:
        live_adds: the share that live views would add to the total; None where no stage trains from
            stored pixels, or no view differs from its photo.
    """

    extract: float
    stages: tuple[tuple[str, float], ...]
    live_adds: float | None = None

    @property
    def total(self) -> float:
        """Of the whole run."""
        return self.extract + sum(seconds for _, seconds in self.stages)

    def text(self) -> str:
        """The estimate as people read it."""
        parts = [f"features {duration(self.extract)}, less what the store has"]
        parts += [f"{name} {duration(seconds)}" for name, seconds in self.stages]
        text = f"estimate: about {duration(self.total)} ({'; '.join(parts)})"
        if self.live_adds is None or self.live_adds > AS_FAST:
            return text
        return (
            f"{text}\naugment.views=live would be about as fast ({100 * self.live_adds:+.0f} %), "
            "would store no training photo, and show a new view in every epoch"
        )

    def as_json(self) -> dict[str, Any]:
        """The form in `finetune --dry-run --json`, seconds."""
        stages = [{"name": name, "seconds": round(s, 1)} for name, s in self.stages]
        return {
            "seconds": round(self.total, 1), "extract": round(self.extract, 1), "stages": stages,
            "live_adds": None if self.live_adds is None else round(self.live_adds, 3),
        }  # fmt: skip


def plan_with_estimate(plan: Plan) -> tuple[str, dict[str, Any]]:
    """What `finetune --dry-run` prints: the plan with its estimate, as text and for JSON."""
    guess = estimate(plan)
    text = plan.text() + (f"\n\n{guess.text()}" if guess else "")
    return text, {**plan.as_json(), "estimate": guess.as_json() if guess else None}


def estimate(plan: Plan, speed: Speed | None = None) -> Estimate | None:
    """The seconds of a plan whose features are not stored yet; None on a machine with a GPU.

    `speed` is measured if it is not given. Early stopping is not foreseen: stages run to their end.
    """
    speed = speed or machine_speed(plan)
    if speed is None:
        return None
    live = plan.recipe.augment.views == "live"
    guess = _estimate(plan, speed, live=live)
    stores_pixels = any(cut.name == PIXELS for cut in plan.cuts)
    if live or not stores_pixels or not plan.recipe.augment.changes_pixels:
        return guess
    return replace(guess, live_adds=_estimate(plan, speed, live=True).total / guess.total - 1)


def _estimate(plan: Plan, speed: Speed, *, live: bool) -> Estimate:
    """The estimate with live views or stored ones, whatever the plan has."""
    trunk = max(plan.cuts, key=_order(plan.row))
    counts = {split: len(plan.index.of(split)) for split in ("train", "val", "test")}
    plain = len(plan.index.items) - (counts["train"] if live else 0)
    augmented = 0 if live else plan.recipe.augment.kept_views * counts["train"]
    whole = forward(plan, None, trunk, speed)
    drawn = augmentation(plan, speed)
    extract = plain * (speed.decode + whole) + augmented * (drawn + whole)
    stages = []
    for planned in plan.stages:
        photo, evaluated = stage_photo(plan, planned, speed)
        if live:
            photo += speed.decode + drawn + forward(plan, None, planned.cut, speed)
        steps = planned.steps * step(planned, speed)
        epoch = counts["train"] * photo + steps + counts["val"] * evaluated
        seconds = planned.stage.epochs * epoch + counts["test"] * evaluated
        stages.append((planned.stage.name, seconds))
    return Estimate(extract, tuple(stages))


def machine_speed(plan: Plan) -> Speed | None:
    """What this machine does in a second; None on one with a GPU, for which there is no model."""
    if Path("/proc/driver/nvidia/version").exists():
        return None
    return calibrate(plan.index.items, plan.recipe.base.image_size)


def forward(plan: Plan, low: Boundary | None, high: Boundary, speed: Speed) -> float:
    """Seconds of one photo from the pixels, or from the boundary `low`, to `high`."""
    multiply_adds, values = work(plan.row, plan.recipe.base.image_size, low, high)
    return multiply_adds / speed.multiply_adds + 4 * values / speed.bytes


def stage_photo(plan: Plan, planned: StagePlan, speed: Speed) -> tuple[float, float]:
    """Seconds of one photo of a stage: trained on, and scored.

    Whatever lies above the cut runs forward. Gradients run down to the stage's own boundary, for
    kernels and for activations, of which the lowest layer needs none; it is counted all the same.
    """
    row, size = plan.row, plan.recipe.base.image_size
    scored = forward(plan, planned.cut, row.top, speed)
    scored += 4 * float(np.prod(planned.cut.shape(*size))) / speed.bytes
    trained = scored
    if planned.stage.freeze_until:
        own = row.boundary(planned.stage.freeze_until)
        trained += 2 * BACKWARD * work(row, size, own, row.top)[0] / speed.multiply_adds
    return trained, scored


def step(planned: StagePlan, speed: Speed) -> float:
    """Seconds of a training step that do not depend on how many photos it has."""
    return STEP + UPDATE * planned.trainable / speed.bytes


def augmentation(plan: Plan, speed: Speed) -> float:
    """Seconds to draw one view of a decoded photo."""
    height, width = plan.recipe.base.image_size
    return AUGMENT * 4 * height * width * 3 / speed.bytes


def work(
    row: PretrainedBase, size: tuple[int, int], low: Boundary | None, high: Boundary
) -> tuple[float, float]:
    """Multiply-adds (depthwise ones at their cost) and values moved for one image between two
    boundaries.

    The table holds them for the native size, boundary by boundary; each entry grows with the area
    of the activations it ends in.
    """
    names = [boundary.name for boundary in row.boundaries]
    first = names.index(low.name) + 1 if low else 0
    multiply_adds = values = 0.0
    for number in range(first, names.index(high.name) + 1):
        boundary = row.boundaries[number]
        here = np.prod(boundary.shape(*size)[:2])
        native = np.prod(boundary.shape(row.native_size, row.native_size)[:2])
        matrix, depthwise, moved = _table()[row.name][number]
        multiply_adds += (matrix + DEPTHWISE * depthwise) * here / native
        values += moved * here / native
    return float(multiply_adds), float(values)


def calibrate(items: Sequence[Item], size: tuple[int, int]) -> Speed:
    """Measure this machine for about half a second."""
    rng = np.random.default_rng(0)
    left, right = (rng.random((_SIDE, _SIDE), np.float32) for _ in range(2))
    product = _seconds(lambda: left @ right)
    # Larger than any cache, or the caches would be measured.
    source, target = np.ones(8_000_000, np.float32), np.empty(8_000_000, np.float32)
    moved = _seconds(lambda: np.add(source, 1, out=target))
    return Speed(_SIDE**3 / product, 2 * source.nbytes / moved, _decoding(items, size))


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


def _order(row: PretrainedBase) -> Callable[[Boundary], int]:
    names = [boundary.name for boundary in row.boundaries]
    return lambda boundary: names.index(boundary.name)


@cache
def _table() -> dict[str, list[tuple[int, int, int]]]:
    """The contents of `work.json`; `scripts/work.py` says what it holds."""
    text = Path(__file__).with_name("work.json").read_text("utf-8")
    table: dict[str, list[tuple[int, int, int]]] = json.loads(text)
    return table
