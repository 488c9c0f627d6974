"""The group of all commands: every failure becomes lines on stderr and an exit code."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from tlcli.errors import Problem, TlcliError, reason
from tlcli.system import console
from tlcli.system.signals import Interrupted

_NO_MEMORY = Problem(
    "memory", "there is not enough", "lower batch_size or base.image_size, or close other programs"
)


class CommandGroup(click.Group):
    """A group whose commands fail with lines and an exit code; only a bug has a traceback."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, and --quiet to it and its own commands: `tlcli finetune --quiet`."""
        for command in (cmd, *(cmd.commands.values() if isinstance(cmd, click.Group) else ())):
            command.params.append(
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
        with _escaped_usage_errors():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; exit with 1 for a problem of the user's, 128 + n for a signal."""
        try:
            with _escaped_usage_errors():
                return super().invoke(ctx)
        except Interrupted as stop:
            console.error(console.one_line(f"stopped; finished work is saved. {_how_to_resume()}"))
            ctx.exit(stop.exit_code)
        except KeyboardInterrupt:
            console.error("interrupted")
            ctx.exit(130)
        except BrokenPipeError:
            sys.stderr.close()  # nobody reads the pipe any more, and nobody needs to know
        except Exception as error:
            if (message := _message(error)) is None:
                raise
            console.error(message)
        ctx.exit(1)


@contextmanager
def _escaped_usage_errors() -> Iterator[None]:
    """Escape control characters that Click's errors repeat from the command line.

    They would steer the terminal, and may come from a text that the user pasted.
    """
    try:
        yield
    except click.UsageError as error:
        text = error.format_message()
        if console.one_line(text) == text:
            raise
        raise click.UsageError(console.one_line(text), error.ctx) from error


def _be_quiet(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        console.configure(quiet=True)


def _how_to_resume() -> str:
    """The same command again, without --fresh, which would start over."""
    words = [word for word in sys.argv[1:] if word != "--fresh"]
    return f"To continue: {shlex.join(['tlcli', *words])}"


def _message(error: Exception) -> str | None:
    """What the user reads of a failure that is no bug; None for a bug."""
    if isinstance(error, TlcliError):
        return str(error)
    if isinstance(error, OSError):
        return str(Problem(str(error.filename or "system"), reason(error)))
    # TensorFlow's error is recognised by its name: its class would bring TensorFlow.
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return str(_NO_MEMORY)
    return None
