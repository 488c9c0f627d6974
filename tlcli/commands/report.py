"""`tlcli report`: one HTML file about a run."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import (
    PATH,
    open_file,
    print_result,
    with_data,
    with_json,
    with_open,
    with_raw,
    with_run,
)
from tlcli.system import console


@click.command()
@with_run
@click.option("--out", type=PATH, help="The HTML file.  [default: report.html in the run]")
@click.option("--force", is_flag=True, help="Replace that file even if it is not by tlcli.")
@with_data
@click.option("--explain", "with_heat_maps", is_flag=True, help="First make heat maps of mistakes "
              "and unsure answers, and keep them in the run.")  # fmt: skip
@with_raw
@with_open
@with_json
def report(
    run_name: str | None,
    out: Path | None,
    force: bool,
    data: Path | None,
    with_heat_maps: bool,
    raw: bool,
    look: bool,
    json_: bool,
) -> None:
    """Write one HTML file about a run: scores, mistakes, curves, how to reproduce it.

    \b
    Example:
      tlcli report
      tlcli report --explain --out cats.html
    """
    from tlcli.report import report as reports
    from tlcli.report.next_steps import name_run, print_verdict
    from tlcli.runs import directory

    run = directory.find_run(run_name)
    if with_heat_maps:
        reports.explain_photos(run, data, raw=raw)
    written = reports.write_report(run, out=out, data=data, raw=raw, force=force)
    print_result((str(written.path), written.as_json()), json_)
    open_file(written.path, look)
    print_verdict(written.contents.verdict, 1)
    console.next_step("tlcli", "predict", *name_run(run), "PHOTO")
