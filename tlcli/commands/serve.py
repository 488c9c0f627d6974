"""`tlcli serve`: models over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tlcli.commands.names import RUN
from tlcli.commands.options import PATH, with_json, with_raw, with_runs_dir

_COUNT = click.IntRange(min=1)


@click.command()
@click.argument("words", metavar="[RUN]...", type=RUN, nargs=-1)
@click.option("--run", "runs", type=RUN, multiple=True, help="A run directory, its "
              "name, or a model.keras; NAME=RUN names it in addresses. May be repeated; the same "
              "as RUN.  [default: runs/latest]")  # fmt: skip
@with_runs_dir
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; "
              "0.0.0.0 is open to other machines.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True,
              help="The port; 0 is any free one.")  # fmt: skip
@click.option("--token-file", type=PATH, help="A file with a token that every request must bring. "
              "Also TLCLI_TOKEN.")  # fmt: skip
@click.option("--allow-host", "hosts", multiple=True, help="A name under which a proxy reaches the "
              "server. May be repeated.")  # fmt: skip
@click.option("--max-body", type=_COUNT, default=32, show_default=True, metavar="MB",
              help="Megabytes of a request.")  # fmt: skip
@click.option("--max-pixels", type=_COUNT, default=50, show_default=True, metavar="MP",
              help="Megapixels of a photo.")  # fmt: skip
@click.option("--max-files", type=_COUNT, default=64, show_default=True,
              help="Photos in a request.")  # fmt: skip
@click.option("--max-queue", type=_COUNT, default=256, show_default=True,
              help="Photos of a model that may wait.")  # fmt: skip
@click.option("--max-connections", type=_COUNT, default=128, show_default=True,
              help="Connections at the same time.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(min=0.1), default=30, show_default=True,
              help="Seconds for a request to arrive, and again for its answer.")  # fmt: skip
@with_raw
@click.option("--open", "browse", is_flag=True, help="Open the page in a browser.")
@with_json
def serve(
    words: tuple[str, ...], runs: tuple[str, ...], host: str, port: int, token_file: Path | None,
    hosts: tuple[str, ...], max_body: int, max_pixels: int, max_files: int, max_queue: int,
    max_connections: int, timeout: float, raw: bool, browse: bool, json_: bool,
) -> None:  # fmt: skip
    """Answer photos over HTTP, and show a page to try the model.

    \b
    Example:
      tlcli serve
      curl --data-binary @photo.jpg http://127.0.0.1:8000/v1/models/latest:predict
      tlcli serve pets=runs/pets-3 birds-1 --host 0.0.0.0 --token-file token.txt
    """
    servers: Any = _imported()
    limits = servers.Limits(
        max_body * 1_000_000, max_pixels * 1_000_000, max_files, max_queue, timeout, max_connections
    )
    options = servers.ServerOptions((*words, *runs), host, port, hosts, token_file, limits, raw)
    servers.serve(options, as_json=json_, browse=browse)


def _imported() -> Any:
    """The server; raises `RunError` where the extra is not installed."""
    from tlcli.errors import Problem, RunError

    try:
        from tlcli.serving import server
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tlcli"):
            raise
        hint = "install it: pip install 'tlcli[serve]'"
        raise RunError(Problem("tlcli serve", f"{error.name} is not installed", hint)) from error
    return server
