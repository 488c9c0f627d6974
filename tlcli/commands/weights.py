"""`tlcli weights`: pretrained weights on this machine, and how they get here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tlcli.commands.group import HelpfulGroup
from tlcli.commands.names import BASE
from tlcli.commands.options import (
    PATH,
    print_problems,
    print_result,
    with_cache,
    with_json,
    with_offline,
    with_weights_access,
    with_weights_dir,
)
from tlcli.pretrained.weight_access import WeightsAccess


@click.group(cls=HelpfulGroup)
@with_cache
@click.pass_context
def weights(ctx: click.Context, cache_dir: Path | None) -> None:
    """List, fetch, verify, import and export pretrained weights.

    \b
    Example:
      tlcli weights list
      tlcli weights fetch VGG16
    """
    from tlcli.pretrained.weight_cache import weights_folder
    from tlcli.system import files

    ctx.obj = weights_folder(files.cache_folder(cache_dir))


@weights.command("list")
@with_weights_dir
@with_json
@click.pass_obj
@with_weights_access
def list_(folder: Path, json_: bool, access: WeightsAccess) -> None:
    """List the bases: which weights are on this machine, where, and how they were verified.

    \b
    Example:
      tlcli weights list
    """
    from tlcli.pretrained.weight_inventory import list_weights

    print_result(list_weights(folder, access), json_)


@weights.command()
@click.argument("names", nargs=-1, required=True, type=BASE, metavar="BASE...")
@with_offline
@with_json
@click.pass_obj
@with_weights_access
def fetch(folder: Path, names: tuple[str, ...], json_: bool, access: WeightsAccess) -> None:
    """Fetch the ImageNet weights of bases into tlcli's cache and verify them.

    \b
    Example:
      tlcli weights fetch VGG16 ResNet50
    """
    from tlcli.pretrained.weight_inventory import fetch_weights

    _print_files(fetch_weights(names, folder, offline=access.offline), json_)


@weights.command()
@click.argument("names", nargs=-1, type=BASE, metavar="[BASE...]")
@with_weights_dir
@with_json
@click.pass_obj
@with_weights_access
def verify(folder: Path, names: tuple[str, ...], json_: bool, access: WeightsAccess) -> None:
    """Read the weights on this machine and compare them with what is published.

    \b
    Example:
      tlcli weights verify
      tlcli weights verify VGG16
    """
    from tlcli.pretrained.weight_inventory import verify_weights

    verified = verify_weights(names, folder, access)
    print_result((verified.text(), verified.as_json()), json_)
    print_problems(verified.problems)
    click.get_current_context().exit(1 if verified.problems else 0)


@weights.command("import")
@click.argument("file", type=PATH)
@click.option(
    "--base", type=BASE, required=True, help="The base whose ImageNet weights the file holds."
)
@click.option("--force", is_flag=True, help="Replace other weights of the base.")
@with_json
@click.pass_obj
def import_(folder: Path, file: Path, base: str, force: bool, json_: bool) -> None:
    """Copy weights from a .weights.h5, .h5, .keras or .onnx file into tlcli's cache.

    \b
    Example:
      tlcli weights import vgg16_notop.h5 --base VGG16
    """
    from tlcli.pretrained.weight_inventory import import_weights

    _print_files([import_weights(file, base, folder, force=force)], json_)


@weights.command()
@click.argument("target", type=PATH, metavar="DIR")
@click.argument("names", nargs=-1, type=BASE, metavar="[BASE...]")
@with_weights_dir
@click.option("--force", is_flag=True, help="Replace files that hold something else.")
@with_json
@click.pass_obj
@with_weights_access
def export(
    folder: Path, target: Path, names: tuple[str, ...], access: WeightsAccess, force: bool,
    json_: bool,
) -> None:  # fmt: skip
    """Copy the weights on this machine to a folder, for a machine without a network.

    On that machine, name the folder with --weights-dir or TLCLI_WEIGHTS.

    \b
    Example:
      tlcli weights export usb/weights
    """
    from tlcli.pretrained.weight_inventory import export_weights

    _print_files(export_weights(target, names, folder, access, force=force), json_)


def _print_files(paths: Sequence[Path], json_: bool) -> None:
    """Print the files that a command has left."""
    named = [str(path) for path in paths]
    print_result(("\n".join(named), {"files": named}), json_)
