"""`tlcli completion`: what a shell needs to complete commands, options, runs and settings."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tlcli.system import console

#: The variable by which a shell asks for completions; Click derives it from the program's name.
VARIABLE = "_TLCLI_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script with which a shell completes commands, options, runs and settings.

    \b
    Example:
      tlcli completion bash >> ~/.bashrc
      tlcli completion zsh >> ~/.zshrc
      tlcli completion fish > ~/.config/fish/completions/tlcli.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # Click knows all three
    complete = kind(ctx.find_root().command, {}, "tlcli", VARIABLE)
    # Not complete.source(), which for bash asks the installed bash for its version.
    console.result(complete.source_template % complete.source_vars())
