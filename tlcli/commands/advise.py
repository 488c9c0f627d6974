"""`tlcli advise`: which strategy fits, by measurement, and the recipe for it."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.names import BASES
from tlcli.commands.options import (
    PATH,
    RecipeCommand,
    plan_from_options,
    print_result,
    recipe_path,
    with_json,
    with_recipe,
    with_runs_dir,
)
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.system import console


@click.command(cls=RecipeCommand)
@with_recipe
@with_runs_dir
@click.option("--bases", "names", type=BASES, metavar="A,B,...",
              help="Bases to compare, or `all` whose weights are here. "
                   "[default: the recipe's]")  # fmt: skip
@click.option("--out", type=PATH,
              help="The recipe to write. [default: runs/probes/NAME-BASE/recipe.yaml]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file in --out.")
@with_json
def advise(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None,
    access: WeightsAccess, names: str | None, out: Path | None, force: bool, json_: bool,
) -> None:  # fmt: skip
    """Measure the training photos, name the strategy that fits, and write its recipe.

    A probe says how many photos are enough and how foreign they are to ImageNet, a short tuning
    stage whether tuning pays. Photos for validation and test are not used.

    \b
    Example:
      tlcli advise --config cats_dogs.yaml --out advised.yaml
      tlcli advise --bases VGG16,ResNet50 --json
    """
    from tlcli.search import advice_output, base_ranking
    from tlcli.search import advise as work

    if names is None:
        plan = plan_from_options(config, overrides, cache_dir, access, run=False)
        candidates = base_ranking.Candidates((plan,), ())
    else:
        chosen = base_ranking.base_names(names)
        at_hand = names.strip().lower() == base_ranking.ALL
        path = recipe_path(config)
        candidates = base_ranking.plan_bases(
            path, overrides, cache_dir, access, chosen, at_hand=at_hand
        )
    advice = work.advise(candidates, out, force=force)
    print_result((advice_output.describe_advice(advice), advice_output.advice_json(advice)), json_)
    console.next_step("tlcli", "finetune", "--config", advice.recipe)
