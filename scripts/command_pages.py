"""The page of the site about the command line, made of the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from tlcli.cli import main
from tlcli.commands.names import RunName

#: Columns of a help text.
WIDTH = 80

#: Options that mean the same in every command, in the order of the table.
SHARED = ("--config", "--set", "--out", "--force", "--open", "--runs-dir", "--json")

Named = tuple[tuple[str, ...], click.Command]


def commands_page() -> str:
    """Which command has which of the shared options, then every help text."""
    lines = [
        "# Every command",
        "",
        "## The same options everywhere",
        "",
        *_grammar(),
        "",
        "## Help texts",
        "",
        "What `tlcli COMMAND --help` prints. Results go to stdout, notes and progress to stderr.",
        "",
    ]
    for words, command in [(("tlcli",), main), *_commands(main, ("tlcli",))]:
        lines += ["#" * min(len(words) + 2, 5) + f" {' '.join(words)}", "", "```text"]
        lines += [_help(words, command), "```", ""]
    return "\n".join(lines)


def _grammar() -> Iterator[str]:
    """What the shared options mean, and a row for each command that does something."""
    yield "An option has one meaning and one letter in all commands that have it:"
    yield ""
    yield "- A run is the word RUN or `-r RUN`, a folder or a name; without one, it is the latest."
    yield "  Where photos are expected as words, only `-r` names it. Two runs are always two words."
    yield "- `-c` names the recipe and `-s KEY=VALUE` changes a setting of it."
    yield "- `-o` says where to write. What tlcli did not write is replaced only with `-f`."
    yield "- `--json` prints the result for a program, as `schema` and `completion` always do."
    yield "- `--open` shows the picture or page. `--runs-dir` is the folder of the runs."
    yield "- `-h`, `-q` and `--no-color` are in all of them, `-V` in `tlcli` itself."
    yield ""
    yield "Version 0.1.0 had one letter, `-c`, and neither `--open` nor `--runs-dir`. Ten of its 27"
    yield "commands printed no JSON, and three with `--out` had no `--force`."
    yield ""
    letters = {name: _letter(name) for name in SHARED}
    heads = [f"{letter} {name}".strip() for name, letter in letters.items()]
    yield f"| command | a run | {' | '.join(f'`{head}`' for head in heads)} |"
    yield "|---|---|" + ":-:|" * len(SHARED)
    for words, command in _commands(main, ()):
        if isinstance(command, click.Group) and not command.invoke_without_command:
            continue
        has = {name for option in command.params for name in option.opts}
        marks = " | ".join("●" if name in has else "" for name in SHARED)
        yield f"| `{' '.join(words)}` | {_run_of(command)} | {marks} |"


def _letter(name: str) -> str:
    """The letter of an option; "" where it has none."""
    for _, command in _commands(main, ()):
        for option in command.params:
            if name in option.opts:
                return next((word for word in option.opts if len(word) == 2), "")
    return ""


def _run_of(command: click.Command) -> str:
    """How a command is told which run is meant, as Markdown."""
    words = [
        option.human_readable_name
        for option in command.params
        if isinstance(option, click.Argument) and isinstance(option.type, RunName)
    ]
    options = [
        "-r" if "--run" in option.opts else option.opts[0]
        for option in command.params
        if isinstance(option, click.Option) and isinstance(option.type, RunName)
    ]
    return ", ".join(f"`{name}`" for name in [" ".join(words), *options] if name)


def _commands(group: click.Group, words: tuple[str, ...]) -> Iterator[Named]:
    for name, command in sorted(group.commands.items()):
        yield (*words, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*words, name))


def _help(words: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(
        command, info_name=" ".join(words), terminal_width=WIDTH, max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )  # fmt: skip
    return command.get_help(context).rstrip()
