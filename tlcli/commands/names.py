"""Types of words on the command line that a shell can complete: runs, bases, settings."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from tlcli.errors import TlcliError

if TYPE_CHECKING:
    _ParamType = click.ParamType[str]
else:  # which takes no type before Click 8.4
    _ParamType = click.ParamType


class _Name(_ParamType):
    """A word that is taken as it is, and completed."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """What the word may become."""
        return [
            CompletionItem(word)
            for word in self.known(ctx, incomplete)
            if word.lower().startswith(incomplete.lower())
        ]

    def known(self, ctx: click.Context, incomplete: str) -> Iterable[str]:
        """All words that there are; each kind of name has its own."""
        raise NotImplementedError


class RunName(_Name):
    """A run: its name, or a directory."""

    name = "run"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names of runs, and where a path has been begun, directories."""
        if "/" in incomplete:
            return [CompletionItem(incomplete, type="dir")]
        return super().shell_complete(ctx, param, incomplete)

    def known(self, ctx: click.Context, incomplete: str) -> Iterable[str]:
        """The runs of this folder, newest first."""
        from tlcli.runs import directory

        root = directory.runs_root()
        names = [run.name for run in directory.list_runs(root)][::-1]
        return names if directory.latest_path(root) is None else [*names, directory.LATEST]


class BaseName(_Name):
    """A pretrained base; with `several`, a list of them with commas."""

    name = "base"

    def __init__(self, *, several: bool = False) -> None:
        self._several = several

    def known(self, ctx: click.Context, incomplete: str) -> Iterable[str]:
        """All bases, behind those of the list that stand there already."""
        from tlcli.networks import bases

        before, comma, _ = incomplete.rpartition(",") if self._several else ("", "", "")
        return [f"{before}{comma}{name}" for name in bases.names()]


class Setting(_Name):
    """A setting of a recipe, KEY=VALUE: the key is completed, and a value out of a few."""

    name = "key=value"

    def known(self, ctx: click.Context, incomplete: str) -> Iterable[str]:
        """All keys; behind a key, its values."""
        from tlcli.recipe.setting_keys import setting_keys

        key, equals, _ = incomplete.partition("=")
        values = setting_keys()
        if not equals:
            return [f"{name}=" for name in values]
        return [f"{key}={value}" for value in values.get(key) or _named_values(ctx, key)]


class BoundaryName(_Name):
    """A boundary of the recipe's base; with `several`, a list of them with commas."""

    name = "layer"

    def __init__(self, *, several: bool = False) -> None:
        self._several = several

    def known(self, ctx: click.Context, incomplete: str) -> Iterable[str]:
        """The clean boundaries, highest first."""
        before, comma, _ = incomplete.rpartition(",") if self._several else ("", "", "")
        return [f"{before}{comma}{name}" for name in _boundaries(ctx)]


def _named_values(ctx: click.Context, key: str) -> Iterable[str]:
    """Values of a setting that are names: bases, boundaries."""
    if key == "base.name":
        from tlcli.networks import bases

        return bases.names()
    return _boundaries(ctx) if key.endswith("freeze_until") else ()


def _boundaries(ctx: click.Context) -> list[str]:
    """The boundaries of the base of the recipe that the command line means; [] without one."""
    from tlcli.networks import bases
    from tlcli.recipe.load import find_recipe, load_recipe

    with suppress(TlcliError, OSError):
        config: Path | None = ctx.params.get("config")
        row = bases.lookup(load_recipe(config or find_recipe(Path.cwd())).base.name)
        if row is not None:
            return [boundary.name for boundary in row.boundaries][::-1]
    return []


RUN, BASE, SETTING = RunName(), BaseName(), Setting()
BASES, BOUNDARY = BaseName(several=True), BoundaryName()
BOUNDARIES = BoundaryName(several=True)
