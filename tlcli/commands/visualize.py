"""The commands that look into a network: explain, and visualize."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tlcli.commands.network_options import (
    base_row,
    check_network,
    with_network,
    with_picture_force,
    with_picture_out,
)
from tlcli.commands.options import PATH, show, with_json
from tlcli.pretrained.weight_access import WeightsAccess


@click.group()
def visualize() -> None:
    """Show what the layers of a network respond to.

    \b
    Example:
      tlcli visualize activations photo.jpg
      tlcli visualize filters --layer block3_conv1
    """


def _open(
    which: str | None, base: str | None, weights_file: Path | None, access: WeightsAccess
) -> Any:
    """The network of a run, or a bare base."""
    from tlcli.runs import directory

    if not base:
        model = directory.find_model(which)
        from tlcli.explain import explained_model

        return explained_model.open_run(model)
    row = base_row(base)
    from tlcli.explain import explained_model
    from tlcli.pretrained.weights import find_weights

    where, wanted = "--weights" if weights_file else "--base", str(weights_file or "imagenet")
    return explained_model.open_base(
        row, find_weights(row, wanted, where, access, asks="--base says")
    )


@visualize.command()
@click.argument("photo", type=PATH)
@with_network("A file of the base's weights, or random.  [default: ImageNet's]")
@click.option("--layer", "layers", multiple=True,
              help="A layer; may be repeated.  [default: the last one at each size]")  # fmt: skip
@with_picture_out
@with_picture_force
@with_json
def activations(
    photo: Path, which: str | None, base: str | None, weights_file: Path | None,
    access: WeightsAccess, layers: tuple[str, ...], out: Path | None, force: bool, json_: bool,
) -> None:  # fmt: skip
    """Show the channels of layers for a photo, each as its own picture.

    \b
    Example:
      tlcli visualize activations photo.jpg
      tlcli visualize activations photo.jpg --layer block1_conv2 --layer block3_conv3
    """
    check_network(which, base, weights_file)
    from tlcli.images import contact_sheet

    target = contact_sheet.target(out, f"{photo.stem}-activations.png", force=force)
    opened = _open(which, base, weights_file, access)
    from tlcli.explain import activations as channels

    found = channels.look(opened, photo, channels.chosen(opened, layers))
    contact_sheet.save(channels.draw(opened, photo, found), target)
    value = {"sheet": str(target), "layers": [one.as_dict() for one in found]}
    show((channels.text(found, target), value), json_)


@visualize.command()
@with_network("A file of the base's weights, or random.  [default: ImageNet's]")
@click.option("--layer", required=True, help="The layer, as in block3_conv1.")
@click.option("--filters", "wanted", help="Some of its filters, as in 0-15,40.  [default: all]")
@click.option("--steps", type=click.IntRange(1, 10_000), default=32, show_default=True,
              help="Steps of gradient ascent.")  # fmt: skip
@click.option("--size", type=click.IntRange(32, 1024),
              help="Side of each picture in pixels.  [default: 48 to 128, by layer]")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Seed of the random start.")  # fmt: skip
@with_picture_out
@with_picture_force
@with_json
def filters(
    which: str | None, base: str | None, weights_file: Path | None,
    access: WeightsAccess, layer: str, wanted: str | None, steps: int, size: int | None, seed: int,
    out: Path | None, force: bool, json_: bool,
) -> None:  # fmt: skip
    """Draw what each filter of a layer responds to most, by gradient ascent.

    \b
    Example:
      tlcli visualize filters --layer block3_conv1
      tlcli visualize filters --base VGG16 --layer block5_conv3 --filters 0-31
    """
    check_network(which, base, weights_file)
    from tlcli.images import contact_sheet

    target = contact_sheet.target(out, f"{layer}-filters.png", force=force)
    opened = _open(which, base, weights_file, access)
    from tlcli.explain import filters as patterns

    numbers = patterns.chosen(opened, layer, wanted)
    ascent = patterns.Ascent(size or patterns.side(opened, layer), steps, seed)
    pictures = patterns.paint(patterns.resized(opened, ascent.side), layer, numbers, ascent)
    contact_sheet.save(patterns.draw(opened, layer, numbers, pictures), target)
    value = {"sheet": str(target), "layer": layer, "filters": numbers, "size": ascent.side}
    show((str(target), value), json_)
