"""The commands that look into a network: explain, and visualize."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tlcli.command import PATH, Command, show, with_json, with_offline, with_weights_dir

_METHODS = ("grad-cam", "grad-cam++", "integrated-gradients")


def _with_subject(weights: str) -> Callable[[Command], Command]:
    """The options that say what to look into: --run, or --base with --weights."""
    options = (
        click.option("--run", "which", help="A run directory, its name, or a model.keras. "
                     "[default: runs/latest]"),
        click.option("--base", help="A base with its ImageNet weights instead of a run."),
        click.option("--weights", "weights_file", type=PATH, help=weights),
        with_weights_dir,
        with_offline,
    )  # fmt: skip

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_with_out = click.option(
    "--out", type=PATH, help="The PNG to write.  [default: named after the photo or layer]"
)
_with_force = click.option("--force", is_flag=True, help="Replace that file if it exists.")


def _check_subject(which: str | None, base: str | None, weights_file: Path | None) -> None:
    if which and base:
        raise click.UsageError("--run and --base: give only one of them")
    if weights_file and not base:
        raise click.UsageError("--weights needs --base: a run has its own weights")


def _row(base: str) -> Any:
    from tlcli.errors import Problem, WeightsError, suggestion
    from tlcli.networks import bases

    row = bases.lookup(base)
    if row is None:
        hint = suggestion(base, bases.names(), most=99)
        raise WeightsError(Problem(f"--base {base}", "is not a base tlcli knows", hint))
    return row


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@_with_subject("A file of the base with its classifier.  [default: Keras' cache]")
@click.option("--class", "name", help="The class to explain.  [default: each photo's likeliest]")
@click.option("--layer", help="The layer to look at.  [default: the end of the last block]")
@click.option("--method", type=click.Choice(_METHODS), default="grad-cam", show_default=True,
              help="Method of explanation.")  # fmt: skip
@_with_out
@_with_force
@with_json
def explain(
    photos: tuple[str, ...], which: str | None, base: str | None, weights_file: Path | None,
    name: str | None, layer: str | None, method: Any, out: Path | None, force: bool, json_: bool,
) -> None:  # fmt: skip
    """Show where in photos a network sees a class, as heat maps.

    \b
    Example:
      tlcli explain photo.jpg
      tlcli explain holiday --class dogs --method grad-cam++ --out dogs.png
    """
    _check_subject(which, base, weights_file)
    from tlcli.data.folders import find_images
    from tlcli.images import contact_sheet
    from tlcli.runs import directory

    paths = list(find_images(photos, strict=False))
    stem = paths[0].stem if len(paths) == 1 else "photos"
    target = contact_sheet.target(out, f"{stem}-{method}.png", force=force)
    found: Any = _row(base) if base else directory.find_model(which)
    from tlcli.explain import explain as explanations
    from tlcli.explain import explained_model, imagenet_classifier

    opened = (
        imagenet_classifier.open_classifier(found, weights_file)
        if base
        else explained_model.open_run(found)
    )
    explainer = explanations.Explainer(opened, method, layer)
    done = explanations.explain(explainer, paths, name, target)
    show((done.text, done.value), json_)
    click.get_current_context().exit(1 if done.failed else 0)


@click.group()
def visualize() -> None:
    """Show what the layers of a network respond to.

    \b
    Example:
      tlcli visualize activations photo.jpg
      tlcli visualize filters --layer block3_conv1
    """


def _open(which: str | None, base: str | None, weights_file: Path | None) -> Any:
    """The network of a run, or a bare base."""
    from tlcli.runs import directory

    if not base:
        model = directory.find_model(which)
        from tlcli.explain import explained_model

        return explained_model.open_run(model)
    row = _row(base)
    from tlcli.explain import explained_model
    from tlcli.pretrained import weights

    where, wanted = "--weights" if weights_file else "--base", str(weights_file or "imagenet")
    return explained_model.open_base(row, weights.of_base(row, wanted, where, asks="--base says"))


@visualize.command()
@click.argument("photo", type=PATH)
@_with_subject("A file of the base's weights, or random.  [default: ImageNet's]")
@click.option("--layer", "layers", multiple=True,
              help="A layer; may be repeated.  [default: the last one at each size]")  # fmt: skip
@_with_out
@_with_force
@with_json
def activations(
    photo: Path, which: str | None, base: str | None, weights_file: Path | None,
    layers: tuple[str, ...], out: Path | None, force: bool, json_: bool,
) -> None:  # fmt: skip
    """Show the channels of layers for a photo, each as its own picture.

    \b
    Example:
      tlcli visualize activations photo.jpg
      tlcli visualize activations photo.jpg --layer block1_conv2 --layer block3_conv3
    """
    _check_subject(which, base, weights_file)
    from tlcli.images import contact_sheet

    target = contact_sheet.target(out, f"{photo.stem}-activations.png", force=force)
    opened = _open(which, base, weights_file)
    from tlcli.explain import activations as channels

    found = channels.look(opened, photo, channels.chosen(opened, layers))
    contact_sheet.save(channels.draw(opened, photo, found), target)
    value = {"sheet": str(target), "layers": [one.as_dict() for one in found]}
    show((channels.text(found, target), value), json_)


@visualize.command()
@_with_subject("A file of the base's weights, or random.  [default: ImageNet's]")
@click.option("--layer", required=True, help="The layer, as in block3_conv1.")
@click.option("--filters", "wanted", help="Some of its filters, as in 0-15,40.  [default: all]")
@click.option("--steps", type=click.IntRange(1, 10_000), default=32, show_default=True,
              help="Steps of gradient ascent.")  # fmt: skip
@click.option("--size", type=click.IntRange(32, 1024),
              help="Side of each picture in pixels.  [default: 48 to 128, by layer]")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Seed of the random start.")  # fmt: skip
@_with_out
@_with_force
@with_json
def filters(
    which: str | None, base: str | None, weights_file: Path | None, layer: str,
    wanted: str | None, steps: int, size: int | None, seed: int, out: Path | None, force: bool,
    json_: bool,
) -> None:  # fmt: skip
    """Draw what each filter of a layer responds to most, by gradient ascent.

    \b
    Example:
      tlcli visualize filters --layer block3_conv1
      tlcli visualize filters --base VGG16 --layer block5_conv3 --filters 0-31
    """
    _check_subject(which, base, weights_file)
    from tlcli.images import contact_sheet

    target = contact_sheet.target(out, f"{layer}-filters.png", force=force)
    opened = _open(which, base, weights_file)
    from tlcli.explain import filters as patterns

    numbers = patterns.chosen(opened, layer, wanted)
    ascent = patterns.Ascent(size or patterns.side(opened, layer), steps, seed)
    pictures = patterns.paint(patterns.resized(opened, ascent.side), layer, numbers, ascent)
    contact_sheet.save(patterns.draw(opened, layer, numbers, pictures), target)
    value = {"sheet": str(target), "layer": layer, "filters": numbers, "size": ascent.side}
    show((str(target), value), json_)
