"""The group of all commands: every failure becomes lines on stderr and an exit code."""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from tlcli.errors import Problem, TlcliError, reason
from tlcli.runs.root import choose_runs_root
from tlcli.system import console, streams, tones
from tlcli.system.signals import Interrupted

_NO_MEMORY = Problem(
    "memory", "there is not enough", "lower batch_size or base.image_size, or close other programs"
)
#: Letters for options, the same in every command that has them.
SHORT = {
    "--config": "-c",
    "--force": "-f",
    "--number": "-n",
    "--out": "-o",
    "--run": "-r",
    "--set": "-s",
}

_FREE_SPACE = "free some and give the command again"


class HelpfulGroup(click.Group):
    """A group whose bare name prints its help, which is no mistake, unless it does something."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words after the name of the group."""
        # A shell that asks for completions parses what there is so far, and wants no help.
        if not args and not self.invoke_without_command and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), color=ctx.color)  # an error in Click 8.2 and later
            ctx.exit()
        return super().parse_args(ctx, args)


class CommandGroup(HelpfulGroup):
    """A group whose commands fail with lines and an exit code; only a bug has a traceback."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command; to it and its own commands, what all have, and the letters of `SHORT`."""
        for command in (cmd, *(cmd.commands.values() if isinstance(cmd, click.Group) else ())):
            for option in command.params:
                letters = {SHORT[name] for name in option.opts if name in SHORT}
                option.opts += sorted(letters.difference(option.opts))
            command.params += _common_options()
        super().add_command(cmd, name)

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run as a program; Click's own lines about the command line may have no reader either."""
        console.configure(quiet=False)  # before the first mistake, which may be in the options
        try:
            return super().main(*args, **settings)
        except BrokenPipeError:
            if not streams.discard_closed():
                raise
            sys.exit(2)
        finally:  # a program that calls this one goes on without its options
            choose_runs_root(None)
            tones.choose(wanted=True)

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        """Read the command line."""
        with _failures_as_lines():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with _failures_as_lines():
            return super().invoke(ctx)


@contextmanager
def _failures_as_lines() -> Iterator[None]:
    """Print what stops a command, and exit with its code; a bug keeps its traceback."""
    try:
        with _escaped_usage_errors():
            yield
    except (Exception, KeyboardInterrupt) as error:
        if (code := _report(error)) is None:
            raise
        raise click.exceptions.Exit(code) from None


def _report(error: BaseException) -> int | None:
    """Print what stops a command; its exit code, or None for a bug and for Click's exceptions."""
    if isinstance(error, Interrupted):
        console.error(console.one_line(f"stopped; finished work is saved. {_how_to_resume()}"))
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        console.error("interrupted")
        return 130
    # Click prints help, whose reader may leave. A connection can break in the same way.
    if isinstance(error, BrokenPipeError) and streams.discard_closed():
        return 0
    if (message := _message(error)) is None:
        return None
    console.error(message)
    return 1


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


def _common_options() -> list[click.Parameter]:
    """What every command has: it may stand behind `tlcli`, or at the end of the line."""
    return [
        click.Option(
            ["--quiet", "-q"],
            is_flag=True,
            expose_value=False,
            callback=_be_quiet,
            help="No notes and no progress.",
        ),
        click.Option(
            ["--no-color"],
            is_flag=True,
            expose_value=False,
            callback=_have_no_colours,
            help="No colours. Also NO_COLOR=1.",
        ),
    ]


def _be_quiet(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        console.configure(quiet=True)


def _have_no_colours(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        tones.choose(wanted=False)


def _how_to_resume() -> str:
    """The same command again, without --fresh, which would start over."""
    words = [word for word in sys.argv[1:] if word != "--fresh"]
    return f"To continue: {shlex.join(['tlcli', *words])}"


def _message(error: BaseException) -> str | None:
    """What the user reads of a failure that is no bug; None for a bug."""
    if isinstance(error, TlcliError):
        return str(error)
    if isinstance(error, OSError):
        hint = _FREE_SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return str(Problem(str(error.filename or "system"), reason(error), hint))
    # TensorFlow's error is recognised by its name: its class would bring TensorFlow.
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return str(_NO_MEMORY)
    return None
