"""`tlcli init`: a starter recipe for a folder of photos."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import PATH
from tlcli.system import console


@click.command()
@click.argument("folder", type=PATH)
@click.option("--out", type=PATH, help="The recipe to write. [default: FOLDER's name.yaml]")
@click.option("--base", default="VGG16", show_default=True, help="The pretrained base.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def init(folder: Path, out: Path | None, base: str, force: bool) -> None:
    """Look at a folder of photos and write a starter recipe.

    \b
    Example:
      tlcli init photos --base ResNet50
    """
    from tlcli.data.starter_recipe import write_starter

    console.result(str(write_starter(folder, out=out, base=base, force=force)))
