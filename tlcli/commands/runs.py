"""`tlcli runs`: the runs of a folder with their scores."""

from __future__ import annotations

import click

from tlcli.commands.options import print_result, with_json


@click.command()
@with_json
def runs(json_: bool) -> None:
    """List the runs of this folder with their scores.

    \b
    Example:
      tlcli runs
    """
    from tlcli.runs.listing import runs_table

    print_result(runs_table(), json_)
