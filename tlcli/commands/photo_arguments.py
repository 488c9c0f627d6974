"""The photos that a command line names."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click

from tlcli.commands.options import Command
from tlcli.errors import DataError, Problem
from tlcli.runs import directory
from tlcli.system import console, web


def with_photos(name: str, **settings: Any) -> Callable[[Command], Command]:
    """Add an argument for photos that says so where it is given the name of a run, or a model."""
    return click.argument(name, callback=_refuse_networks, **settings)


def named_photos(words: tuple[str, ...]) -> Iterator[Path | Problem]:
    """The photos of a command line; - stands for a list on stdin.

    What gives no photo is an error in its place; what is passed over is printed on stderr.
    """
    from tlcli.data.named_photos import find_named_photos, read_list

    for word in words:
        if word == "-" and sys.stdin is None:
            raise DataError(Problem("-", "standard input is closed", "pipe a list of photos to it"))
        named = read_list(sys.stdin.buffer) if word == "-" else find_named_photos([word])
        for photo in named:
            if isinstance(photo, Path) or photo.severity == "error":
                yield photo
            else:
                console.print_problem(photo)


def counted_photos(
    words: tuple[str, ...], most: int
) -> tuple[Iterator[Path | Problem], int | None]:
    """The photos of a command line, and how many they are, counted up to `most`.

    A list on stdin may come slowly and is not waited for: its number is None.
    """
    photos = named_photos(words)
    if "-" in words:
        return photos, None
    first = list(islice(photos, most))
    return chain(first, photos), len(first)


def _refuse_networks(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """The argument as it is; a `click.UsageError` if it names what --run is for.

    A command that takes one photo has no place to report an address in: `DataError`.
    """
    if isinstance(value, Path) and (address := web.as_web_address(value)):
        raise DataError(web.not_a_file(address))
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
