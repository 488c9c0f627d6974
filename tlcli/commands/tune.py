"""`tlcli tune`: search for better settings of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcli.commands.options import (
    PATH,
    RecipeCommand,
    open_file,
    print_problems,
    print_result,
    recipe_path,
    with_json,
    with_open,
    with_recipe,
    with_runs_dir,
)
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.search.search_plan import SearchPlan
    from tlcli.training.preflight import Preflight


@click.command(cls=RecipeCommand)
@with_recipe
@with_runs_dir
@click.option("--trials", type=click.IntRange(1, 100_000), default=50, show_default=True,
              help="Trials of the whole study.")  # fmt: skip
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True),
              help="Begin no other trials after so many minutes.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(0, 100), default=5, show_default=True,
              help="Other seeds under which default and winner are repeated.")  # fmt: skip
@click.option("--all-stages", is_flag=True,
              help="Train all stages in each trial, even for a space about the head.")  # fmt: skip
@click.option("--study", type=PATH, help="The folder of the study. [default: runs/NAME-study]")
@click.option("--out", type=PATH, help="Write the winner as a recipe to this file, too.")
@click.option("--force", is_flag=True, help="Replace the file in --out.")
@click.option("--dry-run", is_flag=True, help="Print the plan with its cost, and stop.")
@with_open
@with_json
def tune(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None,
    access: WeightsAccess, trials: int, minutes: float | None, seeds: int, all_stages: bool,
    study: Path | None, out: Path | None, force: bool, dry_run: bool, look: bool, json_: bool,
) -> None:  # fmt: skip
    """Search for better settings: try many, keep the best, and test it against the recipe.

    What may vary is the `search` block of the recipe; without one, the head and its learning rate.
    Needs Optuna: pip install 'tlcli[search]'. Give the same command again to go on after a stop.

    \b
    Example:
      tlcli tune --config cats_dogs.yaml --trials 50 --out tuned.yaml
      tlcli tune --set "search.head.dropout=[0.2, 0.5]" --dry-run
    """
    from tlcli.search.search_plan import plan_search
    from tlcli.search.study_folder import check_outputs, study_folder

    checked = _checked(config, overrides, cache_dir, access)
    plan = plan_search(checked, trials=trials, seeds=seeds, all_stages=all_stages)
    print_problems(plan.plan.problems)
    folder = study_folder(study, checked.recipe.name)
    check_outputs(folder, plan, out, force=force)
    if dry_run:
        print_result((plan.text(), plan.as_json()), json_)
    else:
        _search(plan, folder, minutes, out, look, json_)


def _checked(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None, access: WeightsAccess
) -> Preflight:
    """The recipe and its photos, checked; it does not need the folder of a run."""
    from tlcli.recipe.load import load_recipe
    from tlcli.search.access import require_optuna
    from tlcli.training.preflight import preflight

    require_optuna()
    recipe = load_recipe(recipe_path(config), overrides)
    return preflight(recipe, cache=cache_dir, access=access, run=False)


def _search(
    plan: SearchPlan, folder: Path, minutes: float | None, out: Path | None, look: bool, json_: bool
) -> None:  # fmt: skip
    """Print the plan, run the trials, which imports TensorFlow, and print the result."""
    console.note(plan.text() + "\n")
    from tlcli.runs import directory
    from tlcli.search import tune, tune_output

    outcome = tune.search(plan, folder, minutes)
    record = tune_output.keep_search(outcome, out)
    print_result((tune_output.describe_search(outcome, record, out), record), json_)
    console.next_step("tlcli", "report", folder / directory.WINNER_RUN)
    open_file(folder / f"{directory.SEARCH_CHARTS[-1]}.png", look)  # the lines of all trials
