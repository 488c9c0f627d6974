"""`tlcli explain`: heat maps of photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlcli.commands.network_options import with_network, with_picture_force, with_picture_out
from tlcli.commands.options import (
    open_file,
    print_result,
    with_json,
    with_open,
    with_precision,
    with_raw,
)
from tlcli.commands.photo_arguments import named_photos, with_photos

if TYPE_CHECKING:
    from tlcli.errors import Problem
    from tlcli.explain.explain import ExplainResult
    from tlcli.explain.explained_model import ExplainedModel
    from tlcli.explain.network_choice import NetworkChoice
    from tlcli.explain.why import NearestPhotos

#: The values of `gradcam.Method`, whose module brings TensorFlow.
METHODS = ("grad-cam", "grad-cam++", "integrated-gradients")


@click.command()
@with_photos("photos", nargs=-1, required=True, metavar="PHOTO...")
@with_network("A file of the base with its classifier.  [default: Keras' cache]")
@click.option("--class", "class_name",
              help="The class to explain.  [default: each photo's likeliest]")  # fmt: skip
@click.option("--layer", help="The layer to look at.  [default: the end of the last block]")
@click.option("--method", type=click.Choice(METHODS), default="grad-cam", show_default=True,
              help="Method of explanation.")  # fmt: skip
@click.option("--why", type=click.IntRange(min=1, max=8), metavar="N",
              help="Show the N training photos that are most like each photo.")  # fmt: skip
@with_raw
@with_precision("float32, whose gradients have more digits")
@with_picture_out
@with_picture_force
@with_open
@with_json
def explain(
    photos: tuple[str, ...], network: NetworkChoice, class_name: str | None, layer: str | None,
    method: Any, why: int | None, raw: bool, precision: str, out: Path | None, force: bool,
    look: bool, json_: bool,
) -> None:  # fmt: skip
    """Show where in photos a network sees a class, as heat maps.

    \b
    Example:
      tlcli explain photo.jpg
      tlcli explain holiday --class dogs --method grad-cam++ --out dogs.png
    """
    _check_why(why, network)
    named = list(named_photos(photos))
    target = _sheet_target(named, method, out, force)
    model = _open(network, raw, precision)
    model.calibration.note()
    nearest = _find_nearest(model.name, named, why)
    from tlcli.explain import explain as explanations

    explainer = explanations.Explainer(model, method, layer)
    result = explanations.explain(explainer, named, class_name, target, nearest)
    print_result((result.text, result.value), json_)
    open_file(target, look and bool(result.value["sheet"]))
    _conclude(result, network)


def _open(network: NetworkChoice, raw: bool, precision: str) -> ExplainedModel:
    """The network in float32, unless another precision is named."""
    used = "float32" if precision == "auto" else precision
    return replace(network, raw=raw, precision=used).open_classifier()


def _check_why(why: int | None, network: NetworkChoice) -> None:
    """Refuse --why for a base."""
    if why and network.base:
        raise click.UsageError("--why and --base: only a run has training photos")


def _sheet_target(photos: list[Path | Problem], method: str, out: Path | None, force: bool) -> Path:
    """The file of the heat maps, named after the photo where there is one."""
    from tlcli.images import contact_sheet

    stem = photos[0].stem if len(photos) == 1 and isinstance(photos[0], Path) else "photos"
    return contact_sheet.sheet_path(out, f"{stem}-{method}.png", force=force)


def _conclude(result: ExplainResult, network: NetworkChoice) -> None:
    """Say what comes next, and end with the exit code."""
    from tlcli.report.next_steps import conclude_explanations

    if result.value["sheet"]:
        conclude_explanations(result.value, None if network.base else network.model_file())
    click.get_current_context().exit(1 if result.failed else 0)


def _find_nearest(model: str, photos: list[Path | Problem], count: int | None) -> NearestPhotos:
    """The training photos that photos are most like; none where nobody asks."""
    from tlcli.explain.why import NearestPhotos, find_nearest

    if not count:
        return NearestPhotos()
    return find_nearest(Path(model), (p for p in photos if isinstance(p, Path)), count)
