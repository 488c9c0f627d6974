"""What several commands share: options, a plan made from them, results and problems as lines."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from tlcli.commands.names import RUN, SETTING
from tlcli.errors import Problem
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.features.shares import Share
    from tlcli.runs.directory import Run
    from tlcli.training.plan import Plan

Command = TypeVar("Command", bound=Callable[..., Any])

#: Types of options and arguments.
PATH = click.Path(path_type=Path)
SPLITS = click.Choice(["test", "val", "train"])

with_json = click.option("--json", "json_", is_flag=True, help="Print the result as JSON.")

with_raw = click.option(
    "--raw", is_flag=True, help="The network's own probabilities, not calibrated."
)

PRECISIONS = click.Choice(["auto", "float32", "mixed_bfloat16"])

#: What `auto` is where a network only answers.
FOR_MANY_PHOTOS = "float32; for many photos the one that this machine is faster in"


def with_precision(default: str) -> Callable[[Command], Command]:
    """Add --precision, whose help says what `auto` means: `default`."""
    text = f"Of the base.  [default: {default}]"
    return click.option("--precision", type=PRECISIONS, default="auto", help=text)


with_open = click.option(
    "--open", "look", is_flag=True, help="Show what was drawn, in the system's viewer."
)


def _choose_runs(ctx: click.Context, parameter: click.Parameter, folder: Path | None) -> None:
    if folder is not None:
        from tlcli.runs.root import choose_runs_root

        choose_runs_root(folder)  # until the end of `CommandGroup.main`


# Eager: other words are looked up among the runs.
with_runs_dir = click.option(
    "--runs-dir",
    type=PATH,
    is_eager=True,
    expose_value=False,
    callback=_choose_runs,
    help="The folder of the runs.  [default: TLCLI_RUNS, or runs]",
)

with_data = click.option(
    "--data", type=PATH, help="Where the photos of the run are now, if they were moved."
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

_CONFIG = click.option(
    "--config",
    type=PATH,
    help="The recipe. May be left out if the folder holds only one, or a recipe.yaml.",
)

_SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    type=SETTING,
    metavar="KEY=VALUE",
    help="Override a setting, as in --set stages.1.epochs=3.",
)


#: Add the argument RUN.
with_run_word = click.argument("run", required=False, type=RUN)


def named_run(word: str | None, option: str | None) -> str | None:
    """The run that RUN or --run names; `UsageError` where both do."""
    if word and option:
        raise click.UsageError("RUN and --run: name the run once")
    return word or option


def with_run(command: Command) -> Command:
    """Add the argument RUN and the option --run; the command takes `run_name` from either."""

    @functools.wraps(command)
    def with_name(*arguments: Any, run: str | None, run_name: str | None, **options: Any) -> Any:
        return command(*arguments, run_name=named_run(run, run_name), **options)

    text = "A run directory, or its name; the same as RUN.  [default: runs/latest]"
    placed = with_runs_dir(cast(Command, with_name))
    named = click.option("--run", "run_name", type=RUN, help=text)(placed)
    return with_run_word(named)


def renamed(old: str, new: str) -> Callable[[Command], Command]:
    """Add an option that says which other one has taken its place."""

    def refuse(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(f"{old} is now {new} {shlex.quote(value)}", ctx)

    return click.option(old, hidden=True, expose_value=False, callback=refuse, help=f"Now {new}.")


class RecipeCommand(click.Command):
    """A command that is given a recipe by --config, and says so where one is a bare word."""

    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of the command line; a `click.UsageError` for one that is no option."""
        words = super().parse_args(ctx, args)
        if words:
            raise click.UsageError(_option_meant(words[0]), ctx)
        return words


def _option_meant(word: str) -> str:
    quoted = shlex.quote(word)
    if Path(word).suffix.lower() in (".yaml", ".yml"):
        return f"{word} is no option; name a recipe with --config {quoted}"
    if Path(word).is_dir():
        return f"{word} is a folder; `tlcli init {quoted}` writes a recipe for its photos"
    if "=" in word:
        return f"{word} is no option; change a setting with --set {quoted}"
    return f"{word} is no option; name a recipe with --config"


def with_config(command: Command) -> Command:
    """Add the options that name a recipe: --config and --set."""
    return _CONFIG(_SET(command))


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


def with_recipe(command: Command) -> Command:
    """Add the options of every command that runs a recipe: --config, --set, those of folders.

    The command takes `config`, `overrides`, `cache_dir`, and `access: WeightsAccess`.
    """
    for option in (with_weights_access, with_offline, with_weights_dir, with_cache):
        command = option(command)
    return with_config(command)


def recipe_path(config: Path | None) -> Path:
    """The recipe named by --config, or else the one of the working folder.

    Raises `RecipeError` where the folder has none, or several.
    """
    from tlcli.recipe.load import find_recipe

    return config or find_recipe(Path.cwd())


def run_or_recipe(run_name: str | None, config: Path | None) -> tuple[Run | None, Path, str | None]:
    """The recipe of --config, or else of a run, the latest by default, with the run.

    The last is the run whose photos keep their splits, as `plan_from_options` takes it. Raises a
    `click.UsageError` where both are named, and `RunError` where there is no such run.
    """
    from tlcli.runs import directory

    if run_name and config:
        raise click.UsageError("--config and a run: name one of them")
    if config:
        return None, config, None
    run = directory.find_run(run_name)
    return run, run.file(directory.RECIPE), str(run.path)


def plan_from_options(
    config: Path | None,
    overrides: tuple[str, ...],
    cache_dir: Path | None,
    access: WeightsAccess,
    out: Path | None = None,
    force: bool = False,
    unlabelled: Path | None = None,
    run: bool = True,
    resume: str | None = None,
    share: Share | None = None,
) -> Plan:
    """Load a recipe, check everything and plan the work; warnings and notes go to stderr.

    `config`, `overrides` and `cache_dir` are from --config, --set and --cache-dir; all others are
    those of `planning.plan_recipe`. Raises a `TlcliError` with every problem that is in the way.
    """
    from tlcli.recipe.load import load_recipe
    from tlcli.training.planning import plan_recipe

    return plan_recipe(
        load_recipe(recipe_path(config), overrides),
        cache=cache_dir,
        access=access,
        out=out,
        force=force,
        unlabelled=unlabelled,
        run=run,
        resume=resume,
        share=share,
    )


def print_result(result: tuple[str, Any], json_: bool) -> None:
    """Print a result on stdout: its text, or with --json its value."""
    text, value = result
    if json_:
        console.result_json(value)
    else:
        console.result(text)


def open_file(path: Path | None, look: bool) -> None:
    """Show a file that was written, where --open asks for it."""
    if not look:
        return
    if path is None:
        console.note("--open: no picture or page was written")
        return
    from tlcli.system import viewer

    viewer.open_file(path)


def print_problems(problems: Iterable[Problem]) -> None:
    """Print problems on stderr, each as an error, a warning or a note, by its severity."""
    for problem in problems:
        console.print_problem(problem)
