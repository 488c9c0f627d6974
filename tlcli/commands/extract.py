"""`tlcli extract`: the features of photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlcli.commands.cluster_options import computing_on, refuse_ray_options, with_ray
from tlcli.commands.names import BOUNDARY
from tlcli.commands.options import (
    PATH,
    RecipeCommand,
    plan_from_options,
    print_result,
    renamed,
    with_json,
    with_recipe,
)
from tlcli.pretrained.weight_access import WeightsAccess

if TYPE_CHECKING:
    from tlcli.cluster.ray_options import RayOptions
    from tlcli.features.shares import Share


def read_share(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Share | None:
    """The share that --shard names; a `click.BadParameter` where it names none."""
    from tlcli.features.shares import parse_share

    try:
        return None if value is None else parse_share(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, parameter) from error


@click.command(cls=RecipeCommand)
@with_recipe
@click.option(
    "--boundary", type=BOUNDARY, help="The layer to take activations from. [default: the recipe's]"
)
@click.option("--pooling", type=click.Choice(["none", "avg", "max", "flatten"]), default="avg",
              show_default=True, help="Pooling of the features in --out.")  # fmt: skip
@click.option("--unlabelled", type=PATH,
              help="A folder of photos without labels to use instead of the recipe's.")  # fmt: skip
@renamed("--data", "--unlabelled")
@click.option("--out", type=PATH, help="Also write features.npy, index.csv, meta.json here.")
@click.option("--force", is_flag=True, help="Replace those files if they exist.")
@click.option("--shard", "share", metavar="I/N", callback=read_share,
              help="Compute only the I-th of N shares of the photos, as in 3/16.")  # fmt: skip
@click.option("--on", "place", type=click.Choice(["here", "ray"]), default="here",
              show_default=True, help="Compute in this process, or on a Ray cluster.")  # fmt: skip
@with_ray
@with_json
def extract(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None,
    access: WeightsAccess, boundary: str | None, pooling: Any, unlabelled: Path | None,
    out: Path | None, force: bool, share: Share | None, place: str, ray: RayOptions | None,
    json_: bool,
) -> None:  # fmt: skip
    """Run photos through the frozen part of the network and keep the features.

    \b
    Example:
      tlcli extract --config cats_dogs.yaml
      tlcli extract --boundary block5_pool --out features
      tlcli extract --config cats_dogs.yaml --shard 3/16
      tlcli extract --config cats_dogs.yaml --on ray --ray-address auto
    """
    if share is not None and out is not None:
        raise click.UsageError("--shard fills the store; give --out once all shares are in it")
    refuse_ray_options("--on", place, ray)
    elsewhere = computing_on(place, ray)
    plan = plan_from_options(
        config, overrides, cache_dir, access, unlabelled=unlabelled, run=False, share=share
    )
    from tlcli.features.shares import WHOLE
    from tlcli.training import extract as extraction

    request = extraction.ExportRequest(
        boundary, pooling, unlabelled is None, out, share or WHOLE, elsewhere
    )
    result = extraction.extract(plan, request, force=force)
    print_result((extraction.describe_extraction(result), result), json_)
