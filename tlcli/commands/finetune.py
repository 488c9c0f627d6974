"""`tlcli finetune`: from a recipe to a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcli.commands.cluster_options import RAY, computing_on, refuse_ray_options, with_ray
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
    from tlcli.cluster.addresses import Workers
    from tlcli.cluster.ray_options import RayOptions
    from tlcli.features.extraction import Elsewhere
    from tlcli.runs.resume import RunRequest
    from tlcli.training.plan import Plan
    from tlcli.training.replicas import WorkerGroup


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
@click.option("--workers", metavar="HOST:PORT,...",
              help="All processes that train together.  [default: TF_CONFIG]")  # fmt: skip
@click.option("--worker", type=int, metavar="N", help="Which of --workers this is, from 0.")
@click.option("--extract-on", "place", type=click.Choice(["here", "ray"]), default="here",
              show_default=True, help="Where features are computed.")  # fmt: skip
@with_ray
@with_json
def finetune(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None,
    access: WeightsAccess, start: str | None, out: Path | None, force: bool, fresh: bool,
    resume: str | None, dry_run: bool, instant: bool, workers: str | None, worker: int | None,
    place: str, ray: RayOptions | None, json_: bool,
) -> None:  # fmt: skip
    """Train a classifier: extract features, train the head, fine-tune the top in stages.

    Give the same command again to resume a run that was stopped.

    \b
    Example:
      tlcli finetune --config cats_dogs.yaml
      tlcli finetune --set stages.1.epochs=3 --set seed=1
      tlcli finetune --from cats_dogs-1
      tlcli finetune --workers node-1:5000,node-2:5000 --worker 0
    """
    _check_options(resume, fresh, out, place, ray)
    group = _read_group(workers, worker, place)
    config, overrides = _start_from(start, config, overrides)
    make = partial(
        plan_from_options, config, overrides, cache_dir, access, out, force, resume=resume
    )
    if dry_run:
        _print_plan(make(), json_)
        return
    from tlcli.runs.resume import RunRequest

    request = RunRequest(out, force, fresh, resume)
    if group is not None:
        _train_together(group, make, request, json_, instant=instant)
    else:
        _train_alone(computing_on(place, ray), make, request, json_, instant=instant)


def _check_options(
    resume: str | None, fresh: bool, out: Path | None, place: str, ray: RayOptions | None
) -> None:
    """Refuse options that exclude each other."""
    if resume is not None and (fresh or out is not None):
        raise click.UsageError("--resume cannot be combined with --fresh or --out")
    refuse_ray_options("--extract-on", place, ray)


def _print_plan(plan: Plan, json_: bool) -> None:
    """Print the plan with its estimate."""
    from tlcli.training import estimate

    print_result(estimate.plan_with_estimate(plan), json_)


def _start_from(
    name: str | None, config: Path | None, overrides: tuple[str, ...]
) -> tuple[Path | None, tuple[str, ...]]:
    """The recipe and the settings with which training goes on from a run, where one is named."""
    if name is None:
        return config, overrides
    from tlcli.runs import directory
    from tlcli.training.shortened import start_from

    return start_from(directory.find_run(name, where="--from"), config, overrides)


def _read_group(workers: str | None, worker: int | None, place: str) -> Workers | None:
    """The workers that the command line or the environment names; None for this process alone."""
    from tlcli.cluster.addresses import read_workers

    try:
        group = read_workers(workers, worker)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if group is not None and place == RAY:
        raise click.UsageError("--extract-on ray and --workers: extract first, with tlcli extract")
    return group


def _train_alone(
    elsewhere: Elsewhere | None, make: Callable[[], Plan], request: RunRequest, json_: bool, *,
    instant: bool,
) -> None:  # fmt: skip
    """Train in this process."""
    plan = make()
    console.note(plan.text() + "\n")
    _train(plan, request, json_, instant=instant, elsewhere=elsewhere)


def _train_together(
    workers: Workers, make: Callable[[], Plan], request: RunRequest, json_: bool, *, instant: bool
) -> None:
    """Train with other processes; worker 0 writes the run and prints what came out."""
    from tlcli.cluster.workers import find_run_on_all, joined, make_same_plan

    with joined(workers) as group:
        find_run_on_all(group, request.resume)
        plan = make_same_plan(group, make)
        if group.number == 0:
            console.note(plan.text() + "\n")
            _train(plan, request, json_, instant=instant, group=group)
        else:
            from tlcli.training.beside import train_beside

            train_beside(plan, group)


def _train(
    plan: Plan, request: RunRequest, json_: bool, *, instant: bool,
    group: WorkerGroup | None = None, elsewhere: Elsewhere | None = None,
) -> None:  # fmt: skip
    """Carry out a plan and print what came out; then make the run's instant file."""
    from tlcli.evaluation.instant import add_instant_file
    from tlcli.report.next_steps import conclude_training
    from tlcli.training.train import train

    trained = train(plan, request, group=group, elsewhere=elsewhere)
    if group is not None:
        group.finish()
    print_result((trained.text(), trained.as_json()), json_)
    if instant:
        add_instant_file(trained.run)
    conclude_training(trained.run)
