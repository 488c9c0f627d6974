"""The group of all commands: every failure becomes lines and an exit code."""

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


def _be_quiet(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        console.configure(quiet=True)


_NO_MEMORY = Problem(
    "memory", "there is not enough", "lower batch_size or base.image_size, or close other programs"
)


@contextmanager
def _escaped_usage_errors() -> Iterator[None]:
    """Have Click's errors repeat what was typed, or pasted, without steering the terminal."""
    try:
        yield
    except click.UsageError as error:
        text = error.format_message()
        if console.one_line(text) == text:
            raise
        raise click.UsageError(console.one_line(text), error.ctx) from error


class CommandGroup(click.Group):
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
        with _escaped_usage_errors():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; exit with 1 for a problem of the user's, 128 + n for a signal."""
        try:
            with _escaped_usage_errors():
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
