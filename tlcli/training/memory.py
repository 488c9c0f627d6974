"""Whether the machine has room for a plan: its disk for the rows, its memory for the network."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.errors import Problem
from tlcli.images.loader import BATCH_SIZE
from tlcli.networks.bases import BASES
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.recipe.recipe import Recipe
    from tlcli.training.stage_plan import StagePlan


def check_memory(chosen: Recipe, stages: Collection[StagePlan]) -> Iterator[Problem]:
    """Errors where a forward pass or a stage needs at least more memory than the machine has."""
    available = available_memory()
    if available is None:
        return
    height, width = chosen.base.image_size
    largest = max(math.prod(b.shape(height, width)) for b in BASES[chosen.base.name].boundaries)
    needs = 4 * BATCH_SIZE * (3 * height * width + largest)
    if needs > available:
        message = (
            f"a forward pass of {BATCH_SIZE} photos of {width:,} x {height:,} px needs at "
            f"least {console.size(needs)} of memory, but this machine has {console.size(available)}"
        )
        yield Problem(chosen.where("base", "image_size"), message, "use a smaller size")
    worst = max(stages, key=_least_memory)
    needs = _least_memory(worst)
    if needs > available:
        message = (
            f"stage '{worst.stage.name}' trains {worst.trainable:,} parameters in batches of "
            f"{worst.batch_size:,} and needs at least {console.size(needs)} of memory, "
            f"but this machine has {console.size(available)}"
        )
        hint = "use fewer head.hidden units, head.pooling=avg, or a lower batch_size"
        yield Problem(chosen.where("head", "hidden"), message, hint)


def _least_memory(planned: StagePlan) -> int:
    """Bytes of a stage: weights; for what trains also gradients, two moments and the copy that
    goes into the checkpoint; and one batch of activations, with their gradients."""
    values = planned.frozen + planned.trainable
    values += planned.trainable * (1 + 2 + 1)
    return 4 * (values + 2 * planned.batch_size * math.prod(planned.rows))


def available_memory() -> int | None:
    """Bytes of memory of this machine or container; None where the system does not say."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    with suppress(OSError, ValueError):  # control groups, version 2
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return memory
