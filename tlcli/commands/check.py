"""`tlcli check`: the recipe, the weights and every photo, before training."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import PATH, recipe_path, tell, with_json, with_recipe
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.system import console


@click.command()
@with_recipe
@click.option("--all", "every", is_flag=True,
              help="Name every file, not only the first few of each kind.")  # fmt: skip
@click.option("--fix-list", type=PATH,
              help="Write a list of photos to leave out, for data.exclude.")  # fmt: skip
@with_json
def check(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None,
    access: WeightsAccess, every: bool, fix_list: Path | None, json_: bool,
) -> None:  # fmt: skip
    """Check the recipe, the weights and every photo before training.

    \b
    Example:
      tlcli check --config cats_dogs.yaml
      tlcli check --fix-list bad.txt
    """
    from tlcli.data import exclude_list
    from tlcli.training.check import check_recipe

    if fix_list:
        exclude_list.expect_fix_list(fix_list)
    checked = check_recipe(recipe_path(config), overrides, cache=cache_dir, access=access)
    if json_:
        console.result_json(checked.as_dict())
    else:
        tell(checked.told(every=every))
        if checked.plan:
            console.result(checked.plan.text())
    if fix_list and checked.images:
        number, broken = exclude_list.write_fix_list(checked.findings, checked.root, fix_list)
        console.note(f"{fix_list} lists {console.counted(number, 'photo')} to leave out")
        if broken:
            names = console.counted(broken, "name")
            console.warn(f"{fix_list}: cannot list {names} with a line break; rename the files")
    click.get_current_context().exit(0 if checked.passed else 1)
