"""The command that shows what augmentation does."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import PATH, with_json, with_settings
from tlcli.system import console


@click.command()
@with_settings
@click.option("--photos", "number", type=click.IntRange(min=1), default=2, show_default=True,
              help="Training photos per class.")  # fmt: skip
@click.option("--views", type=click.IntRange(min=1, max=24),
              help="Views of each photo. [default: those the recipe keeps, at most 6]")  # fmt: skip
@click.option("--out", type=PATH, help="The picture to write. [default: NAME-views.png]")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@with_json
def preview(
    config: Path | None, overrides: tuple[str, ...], number: int, views: int | None,
    out: Path | None, force: bool, json_: bool,
) -> None:  # fmt: skip
    """Draw a sheet of training photos with their augmented views.

    \b
    Example:
      tlcli preview --config cats_dogs.yaml
      tlcli preview --set augment.preset=strong --photos 4 --views 8
    """
    from tlcli.data import preview as previews
    from tlcli.recipe.load import find_recipe, load_recipe

    chosen = load_recipe(config or find_recipe(Path.cwd()), overrides)
    made = previews.preview(chosen, number=number, views=views, out=out, force=force)
    for line in made.shortfalls(number, views):
        console.note(line)
    if json_:
        console.result_json(made.as_json())
    else:
        console.result(str(made.path))
