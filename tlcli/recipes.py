"""Where recipes lie: the one of a folder, and the one that a run has kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from tlcli import runs
from tlcli.errors import RecipeError
from tlcli.recipe.load import load_recipe
from tlcli.recipe.recipe import Recipe
from tlcli.runs import Run


def of_run(run: Run, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that a run has kept; its problems name the run."""
    with naming(run):
        return load_recipe(run.file(runs.RECIPE), overrides)


@contextmanager
def naming(run: Run) -> Iterator[None]:
    """Have the problems of a run's recipe say of which run: `recipe.yaml` are all of them."""
    try:
        yield
    except RecipeError as error:
        raise RecipeError(
            replace(problem, where=f"{run.path}/{problem.where}")
            if problem.where.startswith(runs.RECIPE)
            else problem
            for problem in error.problems
        ) from error
