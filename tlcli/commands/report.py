"""The command that writes the report of a run."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import PATH, show, with_json


@click.command()
@click.option("--run", "which", help="A run directory, or its name. [default: runs/latest]")
@click.option("--out", type=PATH, help="The HTML file.  [default: report.html in the run]")
@click.option("--data", type=PATH, help="Where the data folder is now, if it was moved.")
@click.option("--explain", "explained", is_flag=True, help="First make heat maps of mistakes and "
              "unsure answers, and keep them in the run.")  # fmt: skip
@with_json
def report(
    which: str | None, out: Path | None, data: Path | None, explained: bool, json_: bool
) -> None:
    """Write one HTML file about a run: scores, mistakes, curves, how to reproduce it.

    \b
    Example:
      tlcli report
      tlcli report --explain --out cats.html
    """
    from tlcli.report import report as reports
    from tlcli.runs import directory

    run = directory.find_run(which)
    if explained:
        reports.explain(run, data)
    written = reports.write(run, out=out, data=data)
    show((str(written.path), written.as_json()), json_)
