"""The options of commands that look into a network: which one, and where the picture goes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

from tlcli.commands.names import BASE, RUN
from tlcli.commands.options import (
    PATH,
    Command,
    named_run,
    with_offline,
    with_runs_dir,
    with_weights_access,
    with_weights_dir,
)
from tlcli.pretrained.weight_access import WeightsAccess

with_picture_out = click.option(
    "--out", type=PATH, help="The PNG to write.  [default: named after the photo or layer]"
)

with_picture_force = click.option(
    "--force", is_flag=True, help="Replace that file even if it is not by tlcli."
)


def with_network(weights_help: str) -> Callable[[Command], Command]:
    """Add the options that name a network: --run, or --base with --weights and those of access.

    The command takes `network: NetworkChoice` in the place of them all. Of options that exclude
    each other, both are a `click.UsageError` before the command begins.
    """
    options = (
        click.option("--run", "run_name", type=RUN, help="A run directory, its "
                     "name, or a model.keras. [default: runs/latest]"),
        with_runs_dir,
        click.option("--base", type=BASE,
                     help="A base with its ImageNet weights instead of a run."),
        click.option("--weights", "weights_file", type=PATH, help=weights_help),
        with_weights_dir,
        with_offline,
    )  # fmt: skip

    def add(command: Command) -> Command:
        command = with_weights_access(_with_choice(command))
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _with_choice(command: Command) -> Command:
    """Have a command take one `network` in the place of what the options say of it.

    The run may also be the argument `run`, of a command that has one.
    """

    @functools.wraps(command)
    def with_choice(
        *arguments: Any,
        run: str | None = None,
        run_name: str | None,
        base: str | None,
        weights_file: Path | None,
        access: WeightsAccess,
        **options: Any,
    ) -> Any:
        name = named_run(run, run_name)
        if name and base:
            word = "RUN" if run else "--run"
            raise click.UsageError(f"{word} and --base: give only one of them")
        if weights_file and not base:
            raise click.UsageError("--weights needs --base: a run has its own weights")
        from tlcli.explain.network_choice import NetworkChoice

        network = NetworkChoice(name, base, weights_file, access)
        return command(*arguments, network=network, **options)

    return cast(Command, with_choice)
