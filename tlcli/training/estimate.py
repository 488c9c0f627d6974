"""How long a plan will take on this machine, from half a second of calibration.

Without TensorFlow, whose import alone takes longer: the plan knows how many multiplications it asks
for (`work.json`, counted by `scripts/work.py`), the index of the feature store which rows there
are, and three small measurements say what one costs here: a matrix product, which is what a
convolution becomes; a pass over memory; the decoding of a few of the very photos. It is a model of
a processor, so a machine with a GPU gets no estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tlcli.errors import WeightsError
from tlcli.features.addresses import stored_dtype, views_of
from tlcli.features.open_store import foresee_passes
from tlcli.features.passes import Pass, PassPlan
from tlcli.features.trunk_address import number_type
from tlcli.networks.boundaries import PIXELS, Boundary
from tlcli.networks.checksums import compute_checksums
from tlcli.networks.precision import known_speedup, usual_speedup
from tlcli.pretrained.tensors import checksum_boundaries
from tlcli.pretrained.weight_files import read_weights
from tlcli.system import console
from tlcli.system.console import duration
from tlcli.training.machine_speed import MachineSpeed, machine_speed
from tlcli.training.plan import Plan
from tlcli.training.stage_plan import StagePlan
from tlcli.training.work import work

# What the calibration cannot see, as factors that were measured against it; docs/performance.md
# has how well they fit.

#: Cost of a multiplication of the backward pass: gradients of kernels run slower.
BACKWARD = 1.1
#: Values moved to augment one channel of a pixel.
AUGMENT = 50.0
#: Bytes that Adam moves for a parameter: gradient, two moments and the parameter, read and written.
UPDATE = 32.0
#: Seconds of a training step beside its arithmetic; all times `overhead` of the machine.
STEP = 0.012
#: Seconds to trace and compile, for each layer: of a forward pass, and of a training step; and
#: those of a step that has hardly any layers. The same times `overhead`.
COMPILE, COMPILE_STEP, COMPILE_STAGE = 0.008, 0.035, 0.6
#: Bytes of a checkpoint for a parameter that trains, with two moments; and written in a second.
CHECKPOINT, WRITTEN = 12.0, 180e6

#: What live views may add to the time of a stage to be called as fast.
AS_FAST = 0.1


@dataclass(frozen=True)
class Estimate:
    """Seconds of a plan: of filling the feature store, and of each stage by its name.

    Attributes:
        rows: how many rows the plan needs, at all boundaries.
        stored: how many of them the store has; None where that depends on weights that are not on
            this machine, or are drawn at random.
        precision: that the base computes in.
        assumed: whether that is what `auto` means on processors like this one, since it has still
            to be measured here.
        live_adds: the share that live views would add to the total; None where no stage trains from
            stored pixels, or no view differs from its photo.
    """

    extract: float
    stages: tuple[tuple[str, float], ...]
    speed: MachineSpeed
    rows: int
    stored: int | None
    precision: str = "float32"
    assumed: bool = False
    live_adds: float | None = None

    @property
    def total(self) -> float:
        """Of the whole run."""
        return self.extract + sum(seconds for _, seconds in self.stages)

    def text(self) -> str:
        """The estimate as people read it."""
        parts = [f"features {duration(self.extract)}{self.stored_text()}"]
        parts += [f"{name} {duration(seconds)}" for name, seconds in self.stages]
        text = f"estimate: about {duration(self.total)} ({'; '.join(parts)})\n"
        text += self.speed.text()
        if self.live_adds is None or self.live_adds > AS_FAST:
            return text
        return (
            f"{text}\naugment.views=live would be about as fast ({100 * self.live_adds:+.0f} %), "
            "would store no training photo, and show a new view in every epoch"
        )

    def stored_text(self) -> str:
        """What the feature store has of the rows, to follow the seconds of the features."""
        if self.stored is None:
            return ", less what the store has"
        return f", {self.stored:,} of {console.counted(self.rows, 'row')} in the store"

    def as_json(self) -> dict[str, Any]:
        """The form in `finetune --dry-run --json`, seconds."""
        stages = [{"name": name, "seconds": round(s, 1)} for name, s in self.stages]
        return {
            "seconds": round(self.total, 1), "extract": round(self.extract, 1), "stages": stages,
            "rows": self.rows, "stored": self.stored, "precision": self.precision,
            "precision_assumed": self.assumed, "machine": self.speed.as_json(),
            "live_adds": None if self.live_adds is None else round(self.live_adds, 3),
        }  # fmt: skip


def plan_with_estimate(plan: Plan) -> tuple[str, dict[str, Any]]:
    """What `finetune --dry-run` prints: the plan with its estimate, as text and for JSON."""
    guess = estimate(plan)
    text = plan.text() + (f"\n\n{guess.text()}" if guess else "")
    return text, {**plan.as_json(), "estimate": guess.as_json() if guess else None}


def estimate(plan: Plan, speed: MachineSpeed | None = None) -> Estimate | None:
    """The seconds that a plan will take with what the store has; None on a machine with a GPU.

    `speed` is measured if it is not given. Early stopping is not foreseen: stages run to their end.
    """
    asked = plan.recipe.precision
    plan = _with_precision(plan)
    speed = speed or machine_speed(plan)
    if speed is None:
        return None
    checksums = _known_checksums(plan)
    live = plan.recipe.augment.views == "live"
    guess = _estimate(plan, speed, checksums, live=live)
    guess = replace(guess, precision=plan.recipe.precision, assumed=asked == "auto")
    stores_pixels = any(cut.name == PIXELS for cut in plan.cuts)
    if live or not stores_pixels or not plan.recipe.augment.changes_pixels:
        return guess
    with_live = _estimate(plan, speed, checksums, live=True).total
    return replace(guess, live_adds=with_live / guess.total - 1)


def _with_precision(plan: Plan) -> Plan:
    """The plan with a precision: where `auto` is still to be measured, what it mostly means."""
    if plan.recipe.precision != "auto":
        return plan
    faster = (known_speedup(plan.cache) or usual_speedup()).pays
    likely = plan.recipe.with_precision("mixed_bfloat16" if faster else "float32")
    return replace(plan, recipe=likely)


def _estimate(
    plan: Plan, speed: MachineSpeed, checksums: dict[str, str], *, live: bool
) -> Estimate:
    """The estimate with live views or stored ones, whatever the plan has."""
    items = [item for item in plan.index.items if not live or item.split != "train"]
    augment = plan.recipe.augment
    views = views_of(items, augment, 0 if live else augment.kept_views)
    cuts = [cut.name for cut in plan.cuts]
    foreseen = foresee_passes(plan.row, plan.recipe, plan.cache, cuts, checksums, views)
    extract = sum(_pass_seconds(plan, step, speed) for step in foreseen.passes)
    counts = {split: len(plan.index.of(split)) for split in ("train", "val", "test")}
    stages = []
    for planned in plan.stages:
        photo, evaluated = stage_photo(plan, planned, speed)
        if live:
            photo += speed.decode + augmentation(plan, speed)
            photo += forward(plan, None, planned.cut, speed)
        once, epoch_end = _compiling(plan, planned, speed), _checkpoint(planned)
        steps = planned.steps * step(planned, speed)
        epoch = counts["train"] * photo + steps + counts["val"] * evaluated + epoch_end
        seconds = once + planned.stage.epochs * epoch + counts["test"] * evaluated
        stages.append((planned.stage.name, seconds))
    stored = _stored(plan, foreseen, checksums)
    return Estimate(extract, tuple(stages), speed, len(views) * len(cuts), stored)


def _stored(plan: Plan, foreseen: PassPlan, checksums: dict[str, str]) -> int | None:
    known = all(cut.name in checksums for cut in plan.cuts)
    return sum(foreseen.stored.values()) if known else None


def _known_checksums(plan: Plan) -> dict[str, str]:
    """The checksums of the plan's weights up to each boundary, as far as they are known.

    Those of random weights and of weights to be downloaded are not, but for the pixels, below which
    there are none.
    """
    if plan.source.kind == "file" and plan.source.path is not None:
        try:
            tensors = read_weights(plan.source.path, plan.row, "base.weights")
        except WeightsError:  # it has changed since it was checked; the run will say so
            pass
        else:
            return checksum_boundaries(plan.row, tensors)
    return compute_checksums((), [PIXELS])


def _pass_seconds(plan: Plan, step: Pass, speed: MachineSpeed) -> float:
    """Seconds of one pass of an extraction: of all its views, and of compiling."""
    row = plan.row
    high = row.boundary(step.targets[-1])
    low = row.boundary(step.source) if step.source else None
    each = forward(plan, low, high, speed)
    seconds = len(step.views) * each + speed.overhead * COMPILE * _layers(plan, low, high)
    if low is not None:
        return seconds + len(step.views) * _row_bytes(plan, low) / speed.bytes
    # A photo is decoded once for all of its views.
    decoded = len({view.digest for view in step.views})
    augmented = sum(view.number > 0 for view in step.views)
    return seconds + decoded * speed.decode + augmented * augmentation(plan, speed)


def describe_passes(plan: Plan, missing: int, of: str, high: Boundary) -> str:
    """What it costs that the store lacks so many rows of some photos or views, in a sentence.

    `of` says of how many: '80 photos'. Each goes from its pixels to the boundary `high`.
    """
    text = f"{missing:,} of {of} have no stored features and go through {plan.row.name} once"
    plan = _with_precision(plan)
    if speed := machine_speed(plan):
        seconds = missing * (speed.decode + forward(plan, None, high, speed))
        text += f", about {duration(seconds)}"
    return text


def forward(plan: Plan, low: Boundary | None, high: Boundary, speed: MachineSpeed) -> float:
    """Seconds of one photo from the pixels, or from the boundary `low`, to `high`."""
    multiply_adds, values = work(plan.row, plan.recipe.base.image_size, low, high)
    arithmetic = multiply_adds / (speed.multiply_adds * speed.bfloat16.forward)
    number = 2 if plan.recipe.policy.startswith("mixed_") else 4
    return arithmetic + number * values / speed.bytes


def stage_photo(plan: Plan, planned: StagePlan, speed: MachineSpeed) -> tuple[float, float]:
    """Seconds of one photo of a stage: trained on, and scored.

    Whatever lies above the cut runs forward. Gradients run down to the stage's own boundary, for
    kernels and for activations, of which the lowest layer needs none; it is counted all the same.
    """
    row, size = plan.row, plan.recipe.base.image_size
    scored = forward(plan, planned.cut, row.top, speed)
    scored += _row_bytes(plan, planned.cut) / speed.bytes
    trained = scored
    if planned.stage.freeze_until:
        own = row.boundary(planned.stage.freeze_until)
        backward = 2 * BACKWARD * work(row, size, own, row.top)[0]
        trained += backward / (speed.multiply_adds * speed.bfloat16.step)
    return trained, scored


def step(planned: StagePlan, speed: MachineSpeed) -> float:
    """Seconds of a training step that do not depend on how many photos it has."""
    return speed.overhead * STEP + UPDATE * planned.trainable / speed.bytes


def augmentation(plan: Plan, speed: MachineSpeed) -> float:
    """Seconds to draw one view of a decoded photo."""
    height, width = plan.recipe.base.image_size
    return AUGMENT * 4 * height * width * 3 / speed.bytes


def _row_bytes(plan: Plan, boundary: Boundary) -> float:
    number = 1 if boundary.name == PIXELS else number_type(stored_dtype(plan.recipe)).itemsize
    return float(number * np.prod(boundary.shape(*plan.recipe.base.image_size)))


def _compiling(plan: Plan, planned: StagePlan, speed: MachineSpeed) -> float:
    """Seconds before the first step of a stage: its training step is compiled, and its scoring."""
    layers = _layers(plan, planned.cut, plan.row.top) + len(plan.recipe.head.hidden) + 3
    return speed.overhead * (COMPILE_STAGE + (COMPILE + COMPILE_STEP) * layers)


def _checkpoint(planned: StagePlan) -> float:
    return CHECKPOINT * planned.trainable / WRITTEN


def _layers(plan: Plan, low: Boundary | None, high: Boundary) -> int:
    """How many layers lie above `low`, up to `high`."""
    names: Sequence[str] = (PIXELS, *plan.row.layers)
    first = names.index(low.name) if low else 0
    return names.index(high.name) - first
