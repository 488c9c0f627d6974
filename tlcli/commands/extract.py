"""`tlcli extract`: the features of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

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
@with_json
def extract(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None,
    access: WeightsAccess, boundary: str | None, pooling: Any, unlabelled: Path | None,
    out: Path | None, force: bool, json_: bool,
) -> None:  # fmt: skip
    """Run photos through the frozen part of the network and keep the features.

    \b
    Example:
      tlcli extract --config cats_dogs.yaml
      tlcli extract --boundary block5_pool --out features
    """
    plan = plan_from_options(config, overrides, cache_dir, access, unlabelled=unlabelled, run=False)
    from tlcli.training import extract as extraction

    request = extraction.ExportRequest(boundary, pooling, unlabelled is None, out)
    result = extraction.extract(plan, request, force=force)
    print_result((extraction.describe_extraction(result), result), json_)
