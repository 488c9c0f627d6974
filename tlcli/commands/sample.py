"""`tlcli sample`: a small set of real labelled images to try things on."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import PATH, print_result, with_json
from tlcli.system import console


@click.command()
@click.argument("folder", type=PATH)
@with_json
def sample(folder: Path, json_: bool) -> None:
    """Write 1,797 handwritten digits as labelled photos to experiment with.

    \b
    Example:
      tlcli sample digits
    """
    from tlcli.data.sample import write_digits

    number = write_digits(folder)
    value = {"photos": number, "folder": str(folder)}
    print_result((f"{number:,} photos in {folder}", value), json_)
    console.next_step("tlcli", "init", folder)
