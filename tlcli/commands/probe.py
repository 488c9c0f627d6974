"""`tlcli probe`: where to cut, by measurement."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.names import BOUNDARIES
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
from tlcli.system import console


@click.command(cls=RecipeCommand)
@with_recipe
@with_runs_dir
@click.option("--boundaries", type=BOUNDARIES, metavar="A,B,...",
              help="Boundaries to ask. [default: the last of each block, and every one of the two "
                   "highest blocks]")  # fmt: skip
@click.option("--out", type=PATH,
              help="A folder for record and charts. [default: runs/probes/NAME-BASE]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace files of the same names in --out.")
@with_open
@with_json
def probe(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None,
    access: WeightsAccess, boundaries: str | None, out: Path | None, force: bool,
    look: bool, json_: bool,
) -> None:  # fmt: skip
    """Measure which boundary's features tell the classes apart, on the training photos.

    One pass through the network gives the features of all boundaries; cross-validated classifiers
    on them show where to cut, and whether more photos would help.

    \b
    Example:
      tlcli probe --config cats_dogs.yaml
      tlcli probe --boundaries block4_pool,block5_pool --json
    """
    plan = plan_from_options(config, overrides, cache_dir, access, run=False)
    from tlcli.search import probe as work
    from tlcli.search import probe_output
    from tlcli.search.subject import Subject

    folder = probe_output.probe_folder(out, plan.recipe.name, plan.row.name, force=force)
    names = [name.strip() for name in (boundaries or "").split(",") if name.strip()]
    record = work.probe(Subject(plan), names)
    chart = probe_output.keep_probe(folder, record)
    described = probe_output.describe_probe(record, folder)
    print_result((described, probe_output.probe_json(record, folder)), json_)
    console.next_step("tlcli", "advise", "--config", plan.recipe.path)
    open_file(chart, look)
