"""`tlcli runs`: the runs of a folder: list, compare, annotate, rename, remove, and a page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlcli.commands.group import HelpfulGroup
from tlcli.commands.names import RUN
from tlcli.commands.options import (
    PATH,
    open_file,
    print_result,
    with_json,
    with_open,
    with_runs_dir,
)
from tlcli.errors import Problem, RunError
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.runs.directory import Run


class _ListingGroup(HelpfulGroup):
    """A group that lists where no other of its commands is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words after the name of the group."""
        known = (*self.commands, *ctx.help_option_names)
        # A shell that asks for completions of the bare name wants the commands.
        if args[0] not in known if args else not ctx.resilient_parsing:
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ListingGroup)
def runs() -> None:
    """List, compare, annotate, rename and remove runs.

    Without a command it lists, so that `tlcli runs` is `tlcli runs list`.

    \b
    Example:
      tlcli runs --where "val>=0.95" --sort val
      tlcli runs diff cats_dogs-1 cats_dogs-2
    """


@runs.command(name="list")
@click.argument("folder", required=False, type=PATH)
@click.option("--where", multiple=True, metavar="CONDITION",
              help="Only runs for which it holds: base=VGG16, \"val>=0.95\", "
              "\"stages.0.learning_rate<0.001\". May be repeated.")  # fmt: skip
@click.option("--sort", metavar="KEY", help="Order by run, created, base, state, stages, val, "
              "test, time, size, note, or by a setting; scores from the highest.")  # fmt: skip
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--columns", metavar="KEY,...", help="Settings that get a column.  [default: those "
              "that differ between the runs]")  # fmt: skip
@with_runs_dir
@with_json
def list_runs(
    folder: Path | None, where: tuple[str, ...], sort: str | None, reverse: bool,
    columns: str | None, json_: bool,
) -> None:  # fmt: skip
    """List the runs of this folder with their scores, or those of FOLDER, such as a study.

    \b
    Example:
      tlcli runs list --sort val
      tlcli runs runs/cats_dogs-study --where "val>=0.95"
    """
    from tlcli.report.run_table import make_table
    from tlcli.runs import overview, selection

    entries = overview.read_entries(folder)
    chosen = selection.select_entries(entries, where=where, sort=sort, reverse=reverse)
    named = [key.strip() for key in columns.split(",")] if columns else []
    table = make_table(chosen, named)
    text = table.text() if chosen else _describe_none(folder, any_runs=bool(entries))
    print_result((text, table.as_json()), json_)
    if table.hidden:
        more = f"{console.counted(len(table.hidden), 'more setting')} of these runs"
        console.note(f"{more} differ; name them in --columns: {', '.join(table.hidden)}")


def _describe_none(folder: Path | None, *, any_runs: bool) -> str:
    from tlcli.runs import directory

    if any_runs:
        return "none of these runs meets the conditions"
    return f"no runs in {folder or directory.runs_root()}; train one with `tlcli finetune`"


@runs.command(name="diff")
@click.argument("first", metavar="RUN", type=RUN)
@click.argument("second", metavar="RUN", type=RUN)
@with_runs_dir
@with_json
def diff_runs(first: str, second: str, json_: bool) -> None:
    """Show two runs side by side: settings, photos, versions, results.

    Whether a difference of scores is more than chance, `tlcli compare` tells.

    \b
    Example:
      tlcli runs diff cats_dogs-1 cats_dogs-2
    """
    from tlcli.report.run_diff import compare_runs

    chosen = [_run(name) for name in (first, second)]
    if chosen[0].path.resolve() == chosen[1].path.resolve():
        raise RunError(Problem(f"RUN {second}", "is the first run itself", "name another one"))
    difference = compare_runs(*chosen)
    print_result((difference.text(), difference.as_json()), json_)


@runs.command(name="note")
@click.argument("run", type=RUN)
@click.argument("text", required=False)
@with_runs_dir
@with_json
def note_run(run: str, text: str | None, json_: bool) -> None:
    """Keep a note on a run, or print it. An empty TEXT removes it.

    \b
    Example:
      tlcli runs note cats_dogs-2 "without the blurred photos"
    """
    from tlcli.runs import notes

    which = _run(run)
    if text is not None:
        notes.write_note(which, text)
    kept = notes.read_note(which)
    print_result((kept or "no note", {"run": str(which.path), "note": kept}), json_)


@runs.command(name="rename")
@click.argument("run", type=RUN)
@click.argument("name")
@with_runs_dir
@with_json
def rename_run(run: str, name: str, json_: bool) -> None:
    """Give a run another name.

    \b
    Example:
      tlcli runs rename cats_dogs-7 cats_dogs-best
    """
    from tlcli.runs import manage

    new = manage.rename_run(_run(run), name)
    print_result((str(new.path), {"run": str(new.path)}), json_)


@runs.command(name="rm")
@click.argument("names", metavar="RUN...", type=RUN, nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also remove files in them that tlcli did not write.")
@with_runs_dir
@with_json
def remove_runs(names: tuple[str, ...], yes: bool, force: bool, json_: bool) -> None:
    """Remove runs with all their files, models included. Features in the store stay.

    \b
    Example:
      tlcli runs rm cats_dogs-1 cats_dogs-2
    """
    from tlcli.runs import manage

    chosen = manage.removable_runs(names, force=force)
    if not yes:
        _confirm(chosen)
    freed = 0
    for run in chosen:
        freed += manage.remove_run(run)
        console.note(f"removed {run.path}")
    value: dict[str, Any] = {"removed": [str(run.path) for run in chosen], "bytes": freed}
    print_result((f"freed {console.size(freed)}", value), json_)


@runs.command(name="page")
@click.argument("folder", required=False, type=PATH)
@click.option("--out", type=PATH, help="The HTML file.  [default: runs.html in the folder]")
@click.option("--force", is_flag=True, help="Replace that file even if it is not by tlcli.")
@with_open
@with_runs_dir
@with_json
def page_of_runs(
    folder: Path | None, out: Path | None, force: bool, look: bool, json_: bool
) -> None:
    """Write one HTML file about all runs: a table to sort, curves, settings and scores.

    \b
    Example:
      tlcli runs page
      tlcli runs page runs/cats_dogs-study --out study.html
    """
    from tlcli.report.runs_page import write_page

    written = write_page(folder, out=out, force=force)
    print_result((str(written.path), written.as_json()), json_)
    open_file(written.path, look)


def _run(name: str) -> Run:
    """The run, finished or not, that a word of the command line names."""
    from tlcli.runs import directory

    return directory.run_named(name, where=f"RUN {name}")


def _confirm(chosen: list[Run]) -> None:
    """Ask before runs are removed; raises `RunError` where nobody can answer."""
    from tlcli.runs.overview import folder_size

    named = [f"{run.path} ({console.size(folder_size(run.path))})" for run in chosen]
    if not sys.stdin.isatty():
        hint = "add --yes to remove it"
        raise RunError([Problem(name, "would be removed for good", hint) for name in named])
    click.confirm(console.one_line(f"remove {', '.join(named)} for good?"), abort=True, err=True)
