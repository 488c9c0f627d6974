"""From a recipe to the plan of its work, with everything checked: what commands begin with."""

from __future__ import annotations

from pathlib import Path

from tlcli.data.findings import name_them_all
from tlcli.features.shares import WHOLE, Share
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.recipe.recipe import Recipe
from tlcli.runs.inputs import read_known_splits
from tlcli.system import console
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import preflight


def plan_recipe(
    recipe: Recipe,
    *,
    cache: Path | None = None,
    access: WeightsAccess | None = None,
    out: Path | None = None,
    force: bool = False,
    unlabelled: Path | None = None,
    run: bool = True,
    resume: str | None = None,
    share: Share | None = None,
) -> Plan:
    """Check everything and plan the work; warnings and notes go to stderr.

    Args:
        cache: the folder of the feature store and of fetched weights, if it is not the usual one.
        access: how weights may be had; without it the environment says so.
        out: the run directory that is asked for.
        force: whether a run in `out` may be replaced.
        unlabelled: a folder of photos to use in place of the recipe's.
        run: whether a run directory will be written.
        resume: a stopped run whose photos keep the splits that they have in it.
        share: the photos that will be computed, if these are not all.

    Raises a `TlcliError` with every problem that is in the way.
    """
    checked = preflight(
        recipe,
        cache=cache,
        access=access,
        out=out,
        force=force,
        unlabelled=unlabelled,
        run=run,
        recorded=read_known_splits(resume, where=f"--resume {resume}") if resume else None,
    )
    plan = make_plan(checked, share=share or WHOLE)
    for problem in [*plan.problems, *name_them_all(checked.findings)]:
        console.print_problem(problem)
    return plan
