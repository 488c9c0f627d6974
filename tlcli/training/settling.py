"""Whether the statistics of batch norm that begins at random have the time to settle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from tlcli.errors import Problem
from tlcli.networks.bases import BASES
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.settings import RANDOM
from tlcli.recipe.stage_settings import Stage
from tlcli.training.stage_plan import StagePlan

#: The share of the statistics that batch norm begins with that may be left when training ends.
UNSETTLED = 0.05


def find_unsettled(recipe: Recipe, stages: Iterable[StagePlan]) -> Iterator[Problem]:
    """A warning where batch norm that begins at random has too few steps to know its statistics."""
    row = BASES[recipe.base.name]
    momentum = row.batch_norm_momentum
    if momentum is None or recipe.base.batch_norm == "frozen" or recipe.base.weights != RANDOM:
        return
    stages = list(stages)
    most = sum(planned.steps * planned.stage.epochs for planned in stages)
    fewest = sum(planned.steps * _fewest_epochs(planned.stage) for planned in stages)
    if momentum**fewest <= UNSETTLED:
        return
    enough = math.ceil(math.log(UNSETTLED, momentum))
    if most < enough:
        steps, where = most, recipe.where("base", "name")
        hint = (
            f"train {enough:,} steps or more, or take a base with a lower momentum, such as "
            "EfficientNetV2B0 (0.9)"
        )
    else:
        steps, where = fewest, recipe.where("stages")
        hint = f"let early_stopping wait longer: {enough:,} steps are enough"
    yield Problem(
        where,
        f"batch norm of {row.name} keeps {momentum:g} of its running mean and variance in each "
        f"step, so that after {steps:,} steps "
        + ("" if steps == most else "(early stopping may end then) ")
        + f"{momentum**steps:.0%} are still those of the beginning: validation can stay at chance "
        "while training does well",
        hint,
        "warning",
    )


def _fewest_epochs(stage: Stage) -> int:
    """After how many epochs a stage may end: where no epoch is better than the first."""
    if stage.early_stopping is None:
        return stage.epochs
    return min(stage.epochs, 1 + stage.early_stopping.patience)
