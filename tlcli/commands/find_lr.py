"""`tlcli find-lr`: a learning rate by measurement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcli.commands.options import (
    PATH,
    RecipeCommand,
    open_file,
    plan_from_options,
    print_result,
    with_json,
    with_open,
    with_recipe,
    with_runs_dir,
)
from tlcli.pretrained.weight_access import WeightsAccess

if TYPE_CHECKING:
    from tlcli.search.find_rate import RateSearch
    from tlcli.search.write_rate import WrittenRate


@click.command("find-lr", cls=RecipeCommand)
@with_recipe
@with_runs_dir
@click.option("--stage", help="The stage to find a rate for. [default: the first]")
@click.option("--seeds", type=click.IntRange(1, 20), default=3, show_default=True,
              help="Tests with other orders of the photos, whose mean is looked at.")  # fmt: skip
@click.option("--write", is_flag=True, help="Put the suggested rate into the recipe.")
@click.option("--out", type=PATH,
              help="A folder for what is kept. [default: runs/rates/NAME-STAGE]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace files of the same names in --out.")
@with_open
@with_json
def find_lr(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None,
    access: WeightsAccess, stage: str | None, seeds: int, write: bool, out: Path | None,
    force: bool, look: bool, json_: bool,
) -> None:  # fmt: skip
    """Find the learning rate of a stage: train a few steps at rising rates, and undo them.

    The stages before it are trained first, in memory; no run is written.

    \b
    Example:
      tlcli find-lr --config cats_dogs.yaml
      tlcli find-lr --stage block5 --write
    """
    plan = plan_from_options(config, overrides, cache_dir, access, run=False)
    from tlcli.search import rate_output
    from tlcli.search.find_rate import find_rate, stage_number

    number = stage_number(plan, stage)
    folder = rate_output.rate_folder(out, plan, number, force=force)
    search = find_rate(plan, number, seeds)
    rate_output.keep_rates(search, folder, plan, number)
    written = rate_output.write_suggestion(search, plan.recipe, number) if write else None
    print_result(rate_output.rate_result(search, folder, written), json_)
    open_file(folder / rate_output.RATE_CHARTS[0], look)
    _warn(search, write, written)
    rate_output.name_next_command(search, plan.recipe, number, written=write)


def _warn(search: RateSearch, write: bool, written: WrittenRate | None) -> None:
    """Say what a user should know of the rate; raise where --write has written none."""
    from tlcli.search import rate_output

    rate_output.warn_of_rate(search)
    if write:
        rate_output.raise_if_unwritten(written)
