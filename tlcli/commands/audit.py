"""`tlcli audit`: what may be wrong with photos, by what the network makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcli.commands.group import HelpfulGroup
from tlcli.commands.names import RUN
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

if TYPE_CHECKING:
    from tlcli.audits.label_audit import LabelAudit


@click.group(cls=HelpfulGroup)
def audit() -> None:
    """Look for photos whose labels may be wrong, by their features.

    `tlcli check` finds what is wrong with files, folders and tables.

    \b
    Example:
      tlcli audit labels --config cats_dogs.yaml
    """


@audit.command(cls=RecipeCommand)
@with_recipe
@click.option("--run", "run_name", type=RUN,
              help="Audit the photos of this run, in place of a recipe's.")  # fmt: skip
@with_runs_dir
@click.option("--fix-list", type=PATH,
              help="Write a table of the suspects to fill in, for data.labels.")  # fmt: skip
@click.option("--all", "every", is_flag=True, help="List every suspect, not only the first.")
@click.option("--out", type=PATH,
              help="For record and sheet. [default: runs/label-audits/NAME-BASE]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace files of the same names in --out.")
@with_open
@with_json
def labels(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None, access: WeightsAccess,
    run_name: str | None, fix_list: Path | None, every: bool, out: Path | None, force: bool,
    look: bool, json_: bool,
) -> None:  # fmt: skip
    """Find training and validation photos whose label is probably wrong.

    A classifier on stored features judges each photo that it was not fitted on. No label changes: a
    person fills in the table of --fix-list, and data.labels in a recipe names it.

    \b
    Example:
      tlcli audit labels --config cats_dogs.yaml --fix-list suspects.csv
      tlcli audit labels --run cats_dogs-1 --json
      tlcli finetune --config cats_dogs.yaml --set data.labels=suspects.csv
    """
    from tlcli.audits.fix_list import expect_fix_list

    if fix_list:
        expect_fix_list(fix_list)
    recipe, of_run = _recipe_of(config, run_name)
    plan = plan_from_options(recipe, overrides, cache_dir, access, run=False, resume=of_run)
    from tlcli.audits import label_audit, label_output

    folder = label_output.audit_folder(out, plan.recipe.name, plan.row.name, force=force)
    result = label_audit.audit_labels(plan)
    sheet = label_output.keep_audit(folder, result, plan.recipe.data.depth)
    print_result(label_output.audit_result(result.record, folder, every=every), json_)
    open_file(sheet, look)
    _write_fix_list(result, fix_list)


def _write_fix_list(result: LabelAudit, path: Path | None) -> None:
    if path is None:
        return
    from tlcli.audits.fix_list import write_fix_list

    new, lines = write_fix_list(result, path)
    console.note(f"{path}: {console.counted(new, 'new suspect')} of {lines:,}; fill in keep")


def _recipe_of(config: Path | None, run_name: str | None) -> tuple[Path | None, str | None]:
    """The file of the recipe, and the run that says the splits of photos."""
    if run_name is None:
        return config, None
    if config is not None:
        raise click.UsageError("--config and --run: name one of them")
    from tlcli.runs import directory

    run = directory.run_named(run_name, where=f"--run {run_name}")
    return run.file(directory.RECIPE), str(run.path)
