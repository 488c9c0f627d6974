"""`tlcli reproduce`: train a run again and compare every bit."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import (
    PATH,
    print_result,
    renamed,
    with_cache,
    with_data,
    with_json,
    with_offline,
    with_run,
    with_weights_access,
    with_weights_dir,
)
from tlcli.pretrained.weight_access import WeightsAccess


@click.command()
@with_run
@click.option("--out", type=PATH, help="Where to put the repeated run. [default: RUN-again]")
@click.option("--force", is_flag=True, help="Train again, and replace the run that is there.")
@with_data
@click.option("--weights-file", type=PATH,
              help="Where the weights file of the run is now, if it was moved.")  # fmt: skip
@click.option("--from", "start", type=PATH,
              help="Where the run is now from which it started, if that was moved.")  # fmt: skip
@renamed("--weights", "--weights-file")
@with_offline
@with_weights_dir
@with_cache
@with_json
@with_weights_access
def reproduce(
    run_name: str | None, out: Path | None, force: bool, data: Path | None,
    weights_file: Path | None, start: Path | None, cache_dir: Path | None, json_: bool,
    access: WeightsAccess,
) -> None:  # fmt: skip
    """Train a run again from its own record and compare: identical, or where it first differs.

    \b
    Example:
      tlcli reproduce
      tlcli reproduce runs/cats_dogs-3 --data /photos/cats_dogs
    """
    from tlcli.training import reproduce as reproduction

    compared = reproduction.reproduce(
        run_name,
        out=out,
        force=force,
        cache=cache_dir,
        data=data,
        weights=weights_file,
        start=start,
        access=access,
    )
    print_result((compared.text(), compared.as_dict()), json_)
    click.get_current_context().exit(0 if compared.difference is None else 1)
