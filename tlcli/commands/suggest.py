"""`tlcli suggest`: which photos to label next."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.names import RUN
from tlcli.commands.options import (
    PATH,
    open_file,
    plan_from_options,
    print_result,
    run_or_recipe,
    with_json,
    with_open,
    with_recipe,
    with_runs_dir,
)
from tlcli.commands.photo_arguments import with_photos
from tlcli.pretrained.weight_access import WeightsAccess


@click.command()
@with_photos("folder", metavar="DIR", type=PATH)
@click.option("--run", "run_name", type=RUN, help="The run whose photos are labelled.  "
              "[default: runs/latest]")  # fmt: skip
@with_runs_dir
@click.option("--number", type=click.IntRange(min=1), default=50, show_default=True,
              help="Photos to suggest.")  # fmt: skip
@with_recipe
@click.option("--all", "every", is_flag=True, help="List every photo, not only the first.")
@click.option("--out", type=PATH,
              help="For list and sheet.  [default: runs/suggestions/NAME-BASE]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace files of the same names in --out.")
@with_open
@with_json
def suggest(
    folder: Path, run_name: str | None, number: int, config: Path | None,
    overrides: tuple[str, ...], cache_dir: Path | None, access: WeightsAccess, every: bool,
    out: Path | None, force: bool, look: bool, json_: bool,
) -> None:  # fmt: skip
    """Suggest which unlabelled photos of a folder to label next.

    Photos come first that are typical of many that no labelled photo is like, and of which a
    classifier on the labels is unsure; no two are alike. What that gains, beside labelling photos
    at random, is tried on the labelled ones.

    \b
    Example:
      tlcli suggest new_photos
      tlcli suggest new_photos --run cats_dogs-1 -n 100 --json
      tlcli suggest new_photos --config cats_dogs.yaml
    """
    run, recipe, resume = run_or_recipe(run_name, config)
    plan = plan_from_options(recipe, overrides, cache_dir, access, run=False, resume=resume)
    from tlcli.audits import suggestion, suggestion_output

    kept = suggestion_output.suggestion_folder(out, plan.recipe.name, plan.row.name, force=force)
    result = suggestion.suggest(plan, folder, number, run)
    sheet = suggestion_output.keep_suggestion(kept, result, plan.recipe.data.depth)
    print_result(suggestion_output.suggestion_result(result, kept, every=every), json_)
    open_file(sheet, look)
