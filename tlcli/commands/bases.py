"""`tlcli bases`: the pretrained bases, and the clean boundaries of one."""

from __future__ import annotations

import click

from tlcli.commands.names import BASE
from tlcli.commands.options import print_result, with_json


@click.command()
@click.argument("name", required=False, type=BASE)
@with_json
def bases(name: str | None, json_: bool) -> None:
    """List the pretrained bases, or the clean freeze boundaries of one.

    \b
    Example:
      tlcli bases
      tlcli bases resnet50
    """
    from tlcli.networks.bases_table import bases_table

    print_result(bases_table(name), json_)
