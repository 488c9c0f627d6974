"""`tlcli preview`: what augmentation does to training photos."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import (
    PATH,
    RecipeCommand,
    open_file,
    print_result,
    recipe_path,
    with_config,
    with_json,
    with_open,
)
from tlcli.system import console


@click.command(cls=RecipeCommand)
@with_config
@click.option("--photos", "number", type=click.IntRange(min=1), default=2, show_default=True,
              help="Training photos per class.")  # fmt: skip
@click.option("--views", type=click.IntRange(min=1, max=24),
              help="Views of each photo. [default: those the recipe keeps, at most 6]")  # fmt: skip
@click.option("--out", type=PATH, help="The picture to write. [default: NAME-views.png]")
@click.option("--force", is_flag=True, help="Replace that file even if it is not by tlcli.")
@with_open
@with_json
def preview(
    config: Path | None, overrides: tuple[str, ...], number: int, views: int | None,
    out: Path | None, force: bool, look: bool, json_: bool,
) -> None:  # fmt: skip
    """Draw a sheet of training photos with their augmented views.

    \b
    Example:
      tlcli preview --config cats_dogs.yaml
      tlcli preview --set augment.preset=strong --photos 4 --views 8
    """
    from tlcli.data import preview as previews
    from tlcli.recipe.load import load_recipe
    from tlcli.report.next_steps import suggest_command

    path = recipe_path(config)
    recipe = load_recipe(path, overrides)
    sheet = previews.preview(recipe, number=number, views=views, out=out, force=force)
    for line in sheet.shortfalls(number, views):
        console.note(line)
    print_result((str(sheet.path), sheet.as_json()), json_)
    open_file(sheet.path, look)
    console.note("A view whose class you cannot tell teaches nothing: weaken `augment` then.")
    suggest_command("finetune", path, overrides)
