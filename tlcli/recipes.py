"""Where recipes lie: the one of a folder, and the one that a run has kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from tlcli import recipe, runs
from tlcli.errors import Problem, RecipeError
from tlcli.recipe import Recipe
from tlcli.runs import Run
from tlcli.system import files
from tlcli.system.yamlfile import MAX_BYTES, read


def of_run(run: Run, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that a run has kept; its problems name the run."""
    with naming(run):
        return recipe.load(run.file(runs.RECIPE), overrides)


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


def find(folder: Path) -> Path:
    """The recipe that is meant where `--config` is left out.

    `recipe.yaml`, or the only YAML file of `folder` that holds a recipe; otherwise a `RecipeError`.
    """
    if (folder / "recipe.yaml").is_file():
        return folder / "recipe.yaml"
    found = sorted(
        path for pattern in ("*.yaml", "*.yml") for path in folder.glob(pattern) if _like(path)
    )
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        problem = Problem("--config", f"{len(found)} recipes here: {names}", "name one of them")
    else:
        problem = Problem(
            "--config",
            "no recipe in this folder",
            "name one, or write one for your photos with `tlcli init DIR`",
        )
    raise RecipeError(problem)


def _like(path: Path) -> bool:
    try:
        value = read(path).value
    except RecipeError:
        # A recipe with a slip in it should be named, not passed over.
        with suppress(OSError), files.open_regular(path) as file:
            return re.search(rb"^base\s*:", file.read(MAX_BYTES) or b"", re.MULTILINE) is not None
        return False
    return isinstance(value, dict) and "base" in value
