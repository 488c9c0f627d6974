"""`tlcli init`: a starter recipe for a folder of photos."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.names import BASE
from tlcli.commands.options import PATH, print_result, with_json
from tlcli.system import console

#: What a column of a table may be for.
USES = ("path", "label", "split", "group")


@click.command()
@click.argument("photos", type=PATH)
@click.option("--out", type=PATH, help="The recipe to write. [default: name of PHOTOS.yaml]")
@click.option("--base", type=BASE, default="VGG16", show_default=True, help="The pretrained base.")
@click.option("--labels-from-names", is_flag=True,
              help="Write a table of the labels in names such as cat.1.jpg.")  # fmt: skip
@click.option("--column", "columns", multiple=True, metavar="USE=NAME",
              help="What a table calls its column of path, label, split or group: "
              "--column label=class. May be repeated.  [default: guessed]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the files if they exist.")
@with_json
def init(
    photos: Path, out: Path | None, base: str, labels_from_names: bool, columns: tuple[str, ...],
    force: bool, json_: bool,
) -> None:  # fmt: skip
    """Look at a folder of photos, or a table of them, and write a starter recipe.

    \b
    Example:
      tlcli init photos --base ResNet50
      tlcli init train --labels-from-names
      tlcli init photos.csv --column path=file --column label=class
    """
    from tlcli.data.starter_recipe import write_starter

    starter = write_starter(
        photos, out=out, base=base, force=force, labels_from_names=labels_from_names,
        columns=dict(map(_read_column, columns)),
    )  # fmt: skip
    print_result((str(starter.path), starter.as_json()), json_)
    console.note(starter.sentence())
    console.next_step("tlcli", "check", "--config", starter.path)


def _read_column(text: str) -> tuple[str, str]:
    """What a column is for, and its name; a `click.UsageError` for anything else."""
    use, equals, name = text.partition("=")
    if use not in USES or not equals or not name.strip():
        raise click.UsageError(
            f"--column {text}: write USE=NAME, with a USE out of {', '.join(USES)}"
        )
    return use, name.strip()
