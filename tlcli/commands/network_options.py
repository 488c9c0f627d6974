"""The options of commands that look into a network: a run, or a base with its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tlcli.commands.options import (
    PATH,
    Command,
    with_offline,
    with_weights_access,
    with_weights_dir,
)

METHODS = ("grad-cam", "grad-cam++", "integrated-gradients")


def with_network(weights: str) -> Callable[[Command], Command]:
    """The options that say what to look into: --run, or --base with --weights.

    The command takes `access: WeightsAccess` too, in place of --weights-dir and --offline.
    """
    options = (
        click.option("--run", "which", help="A run directory, its name, or a model.keras. "
                     "[default: runs/latest]"),
        click.option("--base", help="A base with its ImageNet weights instead of a run."),
        click.option("--weights", "weights_file", type=PATH, help=weights),
        with_weights_dir,
        with_offline,
    )  # fmt: skip

    def add(command: Command) -> Command:
        command = with_weights_access(command)
        for option in reversed(options):
            command = option(command)
        return command

    return add


with_picture_out = click.option(
    "--out", type=PATH, help="The PNG to write.  [default: named after the photo or layer]"
)


with_picture_force = click.option("--force", is_flag=True, help="Replace that file if it exists.")


def check_network(which: str | None, base: str | None, weights_file: Path | None) -> None:
    if which and base:
        raise click.UsageError("--run and --base: give only one of them")
    if weights_file and not base:
        raise click.UsageError("--weights needs --base: a run has its own weights")


def base_row(base: str) -> Any:
    from tlcli.errors import WeightsError
    from tlcli.networks import bases

    row = bases.lookup(base)
    if row is None:
        raise WeightsError(bases.unknown_base(base, f"--base {base}", where_has_name=True))
    return row
