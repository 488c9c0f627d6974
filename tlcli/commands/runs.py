"""`tlcli runs`: the runs of a folder with their scores."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import PATH, print_result, with_json


@click.command()
@click.argument("folder", required=False, type=PATH)
@with_json
def runs(folder: Path | None, json_: bool) -> None:
    """List the runs of this folder with their scores, or those of FOLDER, such as a study.

    \b
    Example:
      tlcli runs
      tlcli runs runs/cats_dogs-study
    """
    from tlcli.runs.listing import runs_table

    print_result(runs_table(folder), json_)
