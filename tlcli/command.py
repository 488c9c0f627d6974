"""How every command behaves: shared options, and failures told in lines."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from tlcli.errors import Problem, TlcliError, reason
from tlcli.system import console
from tlcli.system.signals import Interrupted

Command = TypeVar("Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


def _be_quiet(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        console.configure(quiet=True)


_NO_MEMORY = Problem(
    "memory", "there is not enough", "lower batch_size or base.image_size, or close other programs"
)


@contextmanager
def _shown_as_escapes() -> Iterator[None]:
    """Have Click's errors repeat what was typed, or pasted, without steering the terminal."""
    try:
        yield
    except click.UsageError as error:
        text = error.format_message()
        if console.one_line(text) == text:
            raise
        raise click.UsageError(console.one_line(text), error.ctx) from error


class Commands(click.Group):
    """A group that tells what went wrong in lines, not tracebacks."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, which may be told to be quiet too: `tlcli finetune --quiet`."""
        for one in (cmd, *(cmd.commands.values() if isinstance(cmd, click.Group) else ())):
            one.params.append(
                click.Option(
                    ["--quiet", "-q"],
                    is_flag=True,
                    expose_value=False,
                    callback=_be_quiet,
                    help="No notes and no progress.",
                )
            )
        super().add_command(cmd, name)

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        """Read the command line."""
        with _shown_as_escapes():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; exit with 1 for a problem of the user's, 128 + n for a signal."""
        try:
            with _shown_as_escapes():
                return super().invoke(ctx)
        except TlcliError as error:
            console.error(str(error))
        except BrokenPipeError:
            sys.stderr.close()  # the reader of a pipe has gone; nobody is left to tell
        except OSError as error:
            console.error(str(Problem(str(error.filename or "system"), reason(error))))
        except MemoryError:
            console.error(str(_NO_MEMORY))
        except Exception as error:
            # TensorFlow's own, told by name: its class cannot be named without importing it.
            if type(error).__name__ != "ResourceExhaustedError":
                raise
            console.error(str(_NO_MEMORY))
        except Interrupted as stopped:
            # Another --fresh would begin anew.
            again = shlex.join(["tlcli", *(word for word in sys.argv[1:] if word != "--fresh")])
            said = f"stopped; finished work is saved. To continue: {again}"
            console.error(console.one_line(said))
            ctx.exit(stopped.exit_code)
        except KeyboardInterrupt:
            console.error("interrupted")
            ctx.exit(130)
        ctx.exit(1)


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


def _as_variable(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Make an option another spelling of an environment variable, so that it reaches pip, too."""

    def put(_ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value:
            os.environ[name] = "1" if value is True else str(value)

    return put


with_offline = click.option(
    "--offline",
    is_flag=True,
    expose_value=False,
    callback=_as_variable("TLCLI_OFFLINE"),
    help="Fetch no weights; fail at once if some are missing. Also TLCLI_OFFLINE=1.",
)

with_weights_dir = click.option(
    "--weights-dir",
    type=PATH,
    expose_value=False,
    callback=_as_variable("TLCLI_WEIGHTS"),
    help="A folder of weights files to use first.  [default: TLCLI_WEIGHTS]",
)

with_json = click.option("--json", "json_", is_flag=True, help="Print the result as JSON.")


def with_settings(command: Command) -> Command:
    """The options that name a recipe: --config, --set."""
    for option in reversed(_RECIPE_OPTIONS):
        command = option(command)
    return command


def with_recipe(command: Command) -> Command:
    """The options of every command that runs a recipe: --config, --set, those of folders."""
    for option in (with_offline, with_weights_dir, with_cache):
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
