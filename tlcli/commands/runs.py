"""The commands about runs that are there."""

from __future__ import annotations

import click

from tlcli.commands.options import show, with_json


@click.command()
@with_json
def runs(json_: bool) -> None:
    """List the runs of this folder with their scores.

    \b
    Example:
      tlcli runs
    """
    from tlcli.runs.listing import runs_table

    show(runs_table(), json_)
