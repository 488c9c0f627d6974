"""How every command behaves: shared options, and failures told in lines."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from tlcli.errors import Problem
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.system import console

Command = TypeVar("Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


_RECIPE_OPTIONS = (
    click.option(
        "--config",
        "-c",
        type=PATH,
        help="The recipe. May be left out if the folder holds only one, or a recipe.yaml.",
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a setting, as in --set stages.1.epochs=3.",
    ),
)

with_cache = click.option(
    "--cache-dir",
    type=PATH,
    help="Folder of the feature store and of fetched weights.  "
    "[default: TLCLI_CACHE, or the system's cache folder]",
)


with_offline = click.option(
    "--offline",
    is_flag=True,
    help="Fetch no weights; fail at once if some are missing. Also TLCLI_OFFLINE=1.",
)

with_weights_dir = click.option(
    "--weights-dir",
    type=PATH,
    help="A folder of weights files to use first.  [default: TLCLI_WEIGHTS]",
)


def with_weights_access(command: Command) -> Command:
    """Have a command take `access: WeightsAccess` in the place of --offline and --weights-dir.

    The command may have either option, or both; its decorators are applied after this one.
    """

    @functools.wraps(command)
    def with_access(
        *arguments: Any, offline: bool = False, weights_dir: Path | None = None, **options: Any
    ) -> Any:
        access = WeightsAccess.from_options(offline=offline, folder=weights_dir)
        return command(*arguments, access=access, **options)

    return cast(Command, with_access)


with_json = click.option("--json", "json_", is_flag=True, help="Print the result as JSON.")


def with_settings(command: Command) -> Command:
    """The options that name a recipe: --config, --set."""
    for option in reversed(_RECIPE_OPTIONS):
        command = option(command)
    return command


def with_recipe(command: Command) -> Command:
    """The options of every command that runs a recipe: --config, --set, those of folders.

    The command takes `cache_dir`, and `access: WeightsAccess`.
    """
    for option in (with_weights_access, with_offline, with_weights_dir, with_cache):
        command = option(command)
    return with_settings(command)


def show(listed: tuple[str, Any], json_: bool) -> None:
    """Print a result that comes as text and as a value: one of the two."""
    text, value = listed
    if json_:
        console.result_json(value)
    else:
        console.result(text)


def tell(problems: tuple[Problem, ...]) -> None:
    """Print problems on stderr, each by its severity."""
    for problem in problems:
        if problem.severity == "error":
            console.error(str(problem))
        elif problem.severity == "warning":
            console.warn(str(problem))
        else:
            console.note(f"note: {problem}")


def recipe_path(config: Path | None) -> Path:
    from tlcli.recipe.load import find_recipe

    return config or find_recipe(Path.cwd())


def plan_from_options(
    config: Path | None,
    overrides: tuple[str, ...],
    cache_dir: Path | None,
    access: WeightsAccess,
    out: Path | None = None,
    force: bool = False,
    unlabelled: Path | None = None,
    run: bool = True,
) -> Any:
    from tlcli.recipe.load import load_recipe
    from tlcli.training.plan import make_plan
    from tlcli.training.preflight import preflight

    chosen = load_recipe(recipe_path(config), overrides)
    found = preflight(
        chosen,
        cache=cache_dir,
        access=access,
        out=out,
        force=force,
        unlabelled=unlabelled,
        run=run,
    )
    made = make_plan(found)
    tell(made.problems)
    return made


with_run = click.option(
    "--run", "which", help="A run directory, or its name. [default: runs/latest]"
)

SPLITS = click.Choice(["test", "val", "train"])
