"""`tlcli explain`: heat maps of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tlcli.commands.network_options import (
    METHODS,
    base_row,
    check_network,
    with_network,
    with_picture_force,
    with_picture_out,
)
from tlcli.commands.options import show, with_json
from tlcli.pretrained.weight_access import WeightsAccess


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@with_network("A file of the base with its classifier.  [default: Keras' cache]")
@click.option("--class", "name", help="The class to explain.  [default: each photo's likeliest]")
@click.option("--layer", help="The layer to look at.  [default: the end of the last block]")
@click.option("--method", type=click.Choice(METHODS), default="grad-cam", show_default=True,
              help="Method of explanation.")  # fmt: skip
@with_picture_out
@with_picture_force
@with_json
def explain(
    photos: tuple[str, ...], which: str | None, base: str | None, weights_file: Path | None,
    access: WeightsAccess, name: str | None, layer: str | None, method: Any, out: Path | None,
    force: bool, json_: bool,
) -> None:  # fmt: skip
    """Show where in photos a network sees a class, as heat maps.

    \b
    Example:
      tlcli explain photo.jpg
      tlcli explain holiday --class dogs --method grad-cam++ --out dogs.png
    """
    check_network(which, base, weights_file)
    from tlcli.data.folders import find_images
    from tlcli.images import contact_sheet
    from tlcli.runs import directory

    paths = list(find_images(photos, strict=False))
    stem = paths[0].stem if len(paths) == 1 else "photos"
    target = contact_sheet.target(out, f"{stem}-{method}.png", force=force)
    found: Any = base_row(base) if base else directory.find_model(which)
    from tlcli.explain import explain as explanations
    from tlcli.explain import explained_model, imagenet_classifier

    opened = (
        imagenet_classifier.open_classifier(found, access, weights_file)
        if base
        else explained_model.open_run(found)
    )
    explainer = explanations.Explainer(opened, method, layer)
    done = explanations.explain(explainer, paths, name, target)
    show((done.text, done.value), json_)
    click.get_current_context().exit(1 if done.failed else 0)
