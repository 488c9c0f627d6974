"""What cannot be trained on several devices or by several processes, found before anything is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from tlcli.errors import Problem, RunError
from tlcli.networks.bases import BASES
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.stage_settings import used_techniques
from tlcli.training.plan import Plan
from tlcli.training.replicas import Replicas
from tlcli.training.stage_plan import StagePlan

#: Techniques with variables of their own, which copies of a network would have to share.
ONE_COPY = ("layer_decay", "rates", "l2_sp", "ema", "solver")


def check_replicas(plan: Plan, replicas: Replicas) -> None:
    """Raise `RunError` with everything in a plan that several copies of a network cannot do."""
    if replicas.count == 1 and replicas.group is None:
        return
    photos = len(plan.index.of("train"))
    problems = [
        problem
        for planned in plan.stages
        for problem in (
            *_one_copy_alone(planned, plan.recipe),
            *_copies_without_photos(planned, plan.recipe, photos, replicas.count),
        )
    ]
    if problems:
        raise RunError(problems)


def _one_copy_alone(planned: StagePlan, recipe: Recipe) -> Iterator[Problem]:
    used = [name for name in used_techniques(planned.stage) if name in ONE_COPY]
    used += ["head.normalize"] if recipe.head.normalize else []
    if used:
        message = f"{', '.join(used)} trains on one device in one process alone"
        hint = "leave it out, or set devices: 1 and train without --workers"
        yield Problem(f"stage '{planned.stage.name}'", message, hint)


def _copies_without_photos(
    planned: StagePlan, recipe: Recipe, photos: int, copies: int
) -> Iterator[Problem]:
    """A batch that leaves a device without a photo, of which batch norm would take statistics.

    Those of no photo are not numbers. Without batch norm a device may have nothing to do.
    """
    smallest = _smallest_batch(photos, planned.batch_size)
    if smallest >= copies or not _trains_batch_norm(planned, recipe):
        return
    near = (planned.batch_size + step * sign for step in count(1) for sign in (1, -1))
    fits = (size for size in near if size >= copies and _smallest_batch(photos, size) >= copies)
    hint = "set base.batch_norm: frozen, or train on fewer devices"
    if photos >= copies:
        hint = f"set batch_size: {next(fits)}, or base.batch_norm: frozen"
    photo = "1 photo" if smallest == 1 else f"{smallest} photos"
    message = f"a batch of {photo} leaves some of {copies} devices without any, and batch norm "
    message += "takes its statistics on each"
    yield Problem(f"stage '{planned.stage.name}'", message, hint)


def _smallest_batch(photos: int, batch_size: int) -> int:
    """The photos in the last batch of an epoch."""
    return photos % batch_size or min(batch_size, photos)


def _trains_batch_norm(planned: StagePlan, recipe: Recipe) -> bool:
    """Whether layers of batch norm are in training mode in a stage."""
    if recipe.base.batch_norm == "frozen":
        return False
    row, cut = BASES[recipe.base.name], (planned.stage.freeze_until, planned.stage.unfreeze_from)
    return row.trained_parameters(*cut, "train") > row.trained_parameters(*cut, "frozen")
