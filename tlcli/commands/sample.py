"""`tlcli sample`: a small set of real labelled images to try things on."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import PATH
from tlcli.system import console


@click.command()
@click.argument("folder", type=PATH)
def sample(folder: Path) -> None:
    """Write 1,797 handwritten digits as labelled photos to experiment with.

    \b
    Example:
      tlcli sample digits
    """
    from tlcli.data.sample import write_digits

    console.result(f"{write_digits(folder):,} photos in {folder}")
