"""`tlcli cache`: what the feature store holds, and taking things out of it."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.names import BASE
from tlcli.commands.options import PATH, print_result, with_cache, with_json


@click.group(invoke_without_command=True)
@with_cache
@with_json
@click.pass_context
def cache(ctx: click.Context, cache_dir: Path | None, json_: bool) -> None:
    """Show what the feature store holds; prune, verify or join stores.

    \b
    Example:
      tlcli cache
      tlcli cache prune --unused-days 30
    """
    from tlcli.features.listing import store_table
    from tlcli.system import files

    ctx.obj = files.cache_folder(cache_dir)
    if ctx.invoked_subcommand is None:
        print_result(store_table(files.features_folder(ctx.obj), ctx.obj), json_)


@cache.command()
@click.option("--unused-days", type=float, help="Remove features not used for this many days.")
@click.option("--base", type=BASE, help="Remove the features of this base.")
@click.option("--all", "all_", is_flag=True, help="Remove everything.")
@with_json
@click.pass_obj
def prune(home: Path, unused_days: float | None, base: str | None, all_: bool, json_: bool) -> None:
    """Remove features; they are computed again when they are needed.

    Also removes check results of other versions or settings; with --all, all check results.

    \b
    Example:
      tlcli cache prune --unused-days 30
      tlcli cache prune --all
    """
    if all_ == (unused_days is not None or base is not None):
        raise click.UsageError("say what to remove: --all, or --unused-days, --base or both")
    from tlcli.features.store_upkeep import prune_store
    from tlcli.system import files

    folder = files.features_folder(home)
    pruned = prune_store(folder, home, unused_days=unused_days, base=base)
    print_result((pruned.text(), pruned.as_json()), json_)


@cache.command()
@with_json
@click.pass_obj
def verify(home: Path, json_: bool) -> None:
    """Read every row and compare its checksum; damaged rows are computed again when needed.

    \b
    Example:
      tlcli cache verify
    """
    from tlcli.features.store_upkeep import verify_store
    from tlcli.system import files

    verified = verify_store(files.features_folder(home))
    print_result((verified.text(), verified.as_json()), json_)
    click.get_current_context().exit(0 if verified.intact else 1)


@cache.command()
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=PATH)
@with_json
@click.pass_obj
def merge(home: Path, folders: tuple[Path, ...], json_: bool) -> None:
    """Add the rows of other stores to this one; each DIR was another command's --cache-dir.

    Every row is compared with its checksum. A row that is here already is not read.

    \b
    Example:
      tlcli cache merge part-1 part-2
      tlcli cache --cache-dir all merge part-1 part-2
    """
    from tlcli.features.merge import merge_stores
    from tlcli.system import signals

    with signals.defer():
        report = merge_stores(home, folders)
        signals.ignore_from_now_on()
    print_result((report.text(), report.as_json()), json_)
    click.get_current_context().exit(0 if report.is_complete else 1)
