"""`tlcli finetune`: from a recipe to a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcli.commands.names import RUN
from tlcli.commands.options import (
    PATH,
    RecipeCommand,
    plan_from_options,
    print_result,
    with_json,
    with_recipe,
    with_runs_dir,
)
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.runs.resume import RunRequest
    from tlcli.training.plan import Plan


@click.command(cls=RecipeCommand)
@with_recipe
@click.option(
    "--from",
    "start",
    metavar="RUN",
    type=RUN,
    help="Go on from this run after photos or classes were added, with its recipe unless --config "
    "names another.",
)
@click.option("--out", type=PATH, help="The run directory. [default: runs/NAME-N]")
@click.option("--force", is_flag=True, help="Replace the run in --out, if there is one.")
@with_runs_dir
@click.option("--fresh", is_flag=True, help="Start a new run even if a matching one was stopped.")
@click.option("--resume", metavar="RUN", type=RUN, help="Resume this stopped run and no other.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything, print the plan and an estimate of its time, and stop.",
)
@click.option(
    "--instant/--no-instant",
    default=True,
    show_default=True,
    envvar="TLCLI_INSTANT",
    help="Make the file from which `predict` answers at once.",
)
@with_json
def finetune(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None,
    access: WeightsAccess, start: str | None, out: Path | None, force: bool, fresh: bool,
    resume: str | None, dry_run: bool, instant: bool, json_: bool,
) -> None:  # fmt: skip
    """Train a classifier: extract features, train the head, fine-tune the top in stages.

    Give the same command again to resume a run that was stopped.

    \b
    Example:
      tlcli finetune --config cats_dogs.yaml
      tlcli finetune --set stages.1.epochs=3 --set seed=1
      tlcli finetune --from cats_dogs-1
    """
    if resume is not None and (fresh or out is not None):
        raise click.UsageError("--resume cannot be combined with --fresh or --out")
    if start is not None:
        config, overrides = _start_from(start, config, overrides)
    plan = plan_from_options(config, overrides, cache_dir, access, out, force, resume=resume)
    if dry_run:
        from tlcli.training import estimate

        print_result(estimate.plan_with_estimate(plan), json_)
        return
    console.note(plan.text() + "\n")
    from tlcli.runs.resume import RunRequest

    _train(plan, RunRequest(out, force, fresh, resume), json_, instant=instant)


def _start_from(
    name: str, config: Path | None, overrides: tuple[str, ...]
) -> tuple[Path, tuple[str, ...]]:
    """The recipe and the settings with which training goes on from a run."""
    from tlcli.runs import directory
    from tlcli.training.shortened import start_from

    return start_from(directory.find_run(name, where="--from"), config, overrides)


def _train(plan: Plan, request: RunRequest, json_: bool, *, instant: bool) -> None:
    """Carry out a plan and print what came out; then make the run's instant file."""
    from tlcli.evaluation.instant import add_instant_file
    from tlcli.report.next_steps import conclude_training
    from tlcli.training.train import train

    trained = train(plan, request)
    print_result((trained.text(), trained.as_json()), json_)
    if instant:
        add_instant_file(trained.run)
    conclude_training(trained.run)
