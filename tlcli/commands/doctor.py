"""`tlcli doctor`: what this machine has and can reach."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import (
    print_result,
    with_cache,
    with_json,
    with_offline,
    with_weights_access,
    with_weights_dir,
)
from tlcli.pretrained.weight_access import WeightsAccess


@click.command()
@with_cache
@with_weights_dir
@with_offline
@with_json
@with_weights_access
def doctor(cache_dir: Path | None, json_: bool, access: WeightsAccess) -> None:
    """Print versions, devices, folders with their sizes, and which sources of weights respond.

    \b
    Example:
      tlcli doctor
    """
    from tlcli.commands.machine_report import machine_report

    print_result(machine_report(cache_dir, access), json_)
