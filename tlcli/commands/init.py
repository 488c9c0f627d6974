"""`tlcli init`: a starter recipe for a folder of photos."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.names import BASE
from tlcli.commands.options import PATH, print_result, with_json
from tlcli.system import console


@click.command()
@click.argument("photos", type=PATH)
@click.option("--out", type=PATH, help="The recipe to write. [default: name of PHOTOS.yaml]")
@click.option("--base", type=BASE, default="VGG16", show_default=True, help="The pretrained base.")
@click.option("--labels-from-names", is_flag=True,
              help="Write a table of the labels in names such as cat.1.jpg.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the files if they exist.")
@with_json
def init(
    photos: Path, out: Path | None, base: str, labels_from_names: bool, force: bool, json_: bool
) -> None:  # fmt: skip
    """Look at a folder of photos, or a table of them, and write a starter recipe.

    \b
    Example:
      tlcli init photos --base ResNet50
      tlcli init train --labels-from-names
    """
    from tlcli.data.starter_recipe import write_starter

    path = write_starter(
        photos, out=out, base=base, force=force, labels_from_names=labels_from_names
    )
    print_result((str(path), {"recipe": str(path)}), json_)
    console.next_step("tlcli", "check", "--config", path)
