"""The photos that a command line names."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from tlcli.commands.options import Command
from tlcli.runs import directory


def with_photos(name: str, **settings: Any) -> Callable[[Command], Command]:
    """Add an argument for photos that says so where it is given the name of a run, or a model."""
    return click.argument(name, callback=_refuse_networks, **settings)


def _refuse_networks(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """The argument as it is; a `click.UsageError` if it names what --run is for."""
    for word in map(str, value if isinstance(value, tuple) else (value,)):
        what = "a run" if _is_run(word) else "a model" if word.endswith(".keras") else None
        if what is not None:
            raise click.UsageError(
                f"{word} is {what}, not a photo; name it with --run {shlex.quote(word)}", ctx
            )
    return value


def _is_run(word: str) -> bool:
    """Whether a word means a run; a file or folder of its own in the working folder is none."""
    with suppress(OSError, ValueError):  # not every word can be a path
        return directory.is_run(Path(word)) if Path(word).exists() else directory.names_run(word)
    return False
