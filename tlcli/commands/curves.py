"""`tlcli curves`: accuracy, loss and learning rate over all stages."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import PATH, open_file, print_result, with_json, with_open, with_run


@click.command()
@with_run
@click.option("--out", type=PATH, help="A folder for the pictures.  [default: the run]")
@click.option("--force", is_flag=True, help="Replace those files even if they are not by tlcli.")
@click.option("--tensorboard", type=PATH, metavar="DIR", help="Write TensorBoard event files here.")
@with_open
@with_json
def curves(
    run_name: str | None, out: Path | None, force: bool, tensorboard: Path | None, look: bool,
    json_: bool,
) -> None:  # fmt: skip
    """Draw accuracy, loss and learning rate over all stages, as PNG and SVG.

    \b
    Example:
      tlcli curves
      tlcli curves --tensorboard logs
    """
    from tlcli.evaluation import learning_curves
    from tlcli.runs import directory

    run = directory.find_run(run_name)
    written: tuple[Path, ...] = ()
    if out or not tensorboard:
        written = learning_curves.draw_curves(run, out, force=force)
    if tensorboard is not None:
        written = (*written, learning_curves.write_events(run, tensorboard))
    paths = [str(path) for path in written]
    print_result(("\n".join(paths), {"written": paths}), json_)
    open_file(written[0], look)
