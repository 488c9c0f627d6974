"""`tlcli evaluate --folds`: k-fold evaluation of a recipe, or of that of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcli.commands.options import plan_from_options, print_result, run_or_recipe
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.runs.fold_record import FoldRecord
    from tlcli.search.fold_plan import FoldPlan

#: Options that are about folds alone, and those that may stand beside them, by parameter.
_NEEDED = {
    "seeds": "--seeds", "tuning": "--tuning", "config": "--config", "overrides": "--set",
    "cache_dir": "--cache-dir", "offline": "--offline", "weights_dir": "--weights-dir",
}  # fmt: skip
_UNSET = (None, False, (), 0, "auto")
_ALLOWED = {*_NEEDED, "folds", "run", "run_name", "out", "again", "json_"}


def check_fold_options(folds: bool) -> None:
    """Refuse, with a `click.UsageError`, options that do not go with --folds, or need it."""
    context = click.get_current_context()
    given = {name for name, value in context.params.items() if value not in _UNSET}
    options = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    if folds and (others := sorted(given - _ALLOWED)):
        raise click.UsageError(f"--folds and {options[others[0]]}: give only one of them")
    if not folds and (others := sorted(given & _NEEDED.keys())):
        raise click.UsageError(f"{_NEEDED[others[0]]} is about --folds, which is missing")


def evaluate_folds(
    run_name: str | None, config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None,
    access: WeightsAccess, *, folds: int, seeds: int, tuning: bool, out: Path | None, again: bool,
    json_: bool,
) -> None:  # fmt: skip
    """Plan the folds, train those that are missing, and print what all of them come to."""
    from tlcli.evaluation.folds import fold_result
    from tlcli.search.fold_folder import fold_file
    from tlcli.search.fold_plan import plan_folds

    run, recipe, resume = run_or_recipe(run_name, config)
    plan = plan_from_options(recipe, overrides, cache_dir, access, run=False, resume=resume)
    planned = plan_folds(plan, folds, seeds, tuning=tuning)
    path = fold_file(out, run if not overrides else None, plan, tuning=tuning)
    print_result(fold_result(_record(planned, path, again=again), path), json_)
    console.note(f"\nkept in {path}")


def _record(planned: FoldPlan, path: Path, *, again: bool) -> FoldRecord:
    """The record with all folds; TensorFlow is loaded only where some are missing."""
    from tlcli.search.fold_folder import find_known

    if not again and (known := find_known(planned, path)):
        return known
    from tlcli.search.cross_validation import cross_validate

    return cross_validate(planned, path, again=again)
