"""`tlcli visualize`: what the layers of a network respond to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcli.commands.group import HelpfulGroup
from tlcli.commands.network_options import with_network, with_picture_force, with_picture_out
from tlcli.commands.options import (
    PATH,
    open_file,
    print_result,
    with_json,
    with_open,
    with_run_word,
)
from tlcli.commands.photo_arguments import with_photos

if TYPE_CHECKING:
    from tlcli.explain.network_choice import NetworkChoice


@click.group(cls=HelpfulGroup)
def visualize() -> None:
    """Show what the layers of a network respond to.

    \b
    Example:
      tlcli visualize activations photo.jpg
      tlcli visualize filters --layer block3_conv1
    """


@visualize.command()
@with_photos("photo", type=PATH)
@with_network("A file of the base's weights, or random.  [default: ImageNet's]")
@click.option("--layer", "layers", multiple=True,
              help="A layer; may be repeated.  [default: the last one at each size]")  # fmt: skip
@with_picture_out
@with_picture_force
@with_open
@with_json
def activations(
    photo: Path, network: NetworkChoice, layers: tuple[str, ...], out: Path | None, force: bool,
    look: bool, json_: bool,
) -> None:  # fmt: skip
    """Show the channels of layers for a photo, each as its own picture.

    \b
    Example:
      tlcli visualize activations photo.jpg
      tlcli visualize activations photo.jpg --layer block1_conv2 --layer block3_conv3
    """
    from tlcli.images import contact_sheet

    target = contact_sheet.sheet_path(out, f"{photo.stem}-activations.png", force=force)
    model = network.open_base()
    from tlcli.explain.activations import write_activations

    print_result(write_activations(model, photo, layers, target), json_)
    open_file(target, look)


@visualize.command()
@with_run_word
@with_network("A file of the base's weights, or random.  [default: ImageNet's]")
@click.option("--layer", required=True, help="The layer, as in block3_conv1.")
@click.option("--filters", "numbers", help="Some of its filters, as in 0-15,40.  [default: all]")
@click.option("--steps", type=click.IntRange(1, 10_000), default=32, show_default=True,
              help="Steps of gradient ascent.")  # fmt: skip
@click.option("--size", type=click.IntRange(32, 1024),
              help="Side of each picture in pixels.  [default: 48 to 128, by layer]")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Seed of the random start.")  # fmt: skip
@with_picture_out
@with_picture_force
@with_open
@with_json
def filters(
    network: NetworkChoice, layer: str, numbers: str | None, steps: int, size: int | None,
    seed: int, out: Path | None, force: bool, look: bool, json_: bool,
) -> None:  # fmt: skip
    """Draw what each filter of a layer responds to most, by gradient ascent.

    \b
    Example:
      tlcli visualize filters --layer block3_conv1
      tlcli visualize filters --base VGG16 --layer block5_conv3 --filters 0-31
    """
    from tlcli.images import contact_sheet

    target = contact_sheet.sheet_path(out, f"{layer}-filters.png", force=force)
    model = network.open_base()
    from tlcli.explain.filters import write_filters

    result = write_filters(model, layer, numbers, target, side=size, steps=steps, seed=seed)
    print_result(result, json_)
    open_file(target, look)
