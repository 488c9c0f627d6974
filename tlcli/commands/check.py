"""`tlcli check`: the recipe, the weights and every photo, before training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcli.commands.options import (
    PATH,
    RecipeCommand,
    print_problems,
    recipe_path,
    with_json,
    with_recipe,
)
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.training.check import CheckResult


@click.command(cls=RecipeCommand)
@with_recipe
@click.option("--all", "all_files", is_flag=True,
              help="Name every file, not only the first few of each kind.")  # fmt: skip
@click.option("--fix-list", type=PATH,
              help="Write a list of photos to leave out, for data.exclude.")  # fmt: skip
@with_json
def check(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None,
    access: WeightsAccess, all_files: bool, fix_list: Path | None, json_: bool,
) -> None:  # fmt: skip
    """Check the recipe, the weights and every photo before training.

    \b
    Example:
      tlcli check --config cats_dogs.yaml
      tlcli check --fix-list bad.txt
    """
    from tlcli.data.exclude_list import expect_fix_list
    from tlcli.training.check import check_recipe

    if fix_list:
        expect_fix_list(fix_list)
    path = recipe_path(config)
    result = check_recipe(path, overrides, cache=cache_dir, access=access)
    _print_result(result, all_files, json_)
    if fix_list and result.images:
        _write_fix_list(result, fix_list)
    if result.passed:
        _suggest_training(path, overrides)
    click.get_current_context().exit(0 if result.passed else 1)


def _suggest_training(path: Path, overrides: tuple[str, ...]) -> None:
    from tlcli.report.next_steps import suggest_command

    suggest_command("finetune", path, overrides)


def _print_result(result: CheckResult, all_files: bool, json_: bool) -> None:
    from tlcli.data.findings import name_them_all
    from tlcli.report.next_steps import print_readiness

    if json_:
        console.result_json(result.as_dict())
        return
    print_problems(result.all_problems(each_file=all_files))
    if not all_files:
        print_problems(name_them_all(result.findings))
    if result.plan:
        console.result(result.plan.text() + "\n")
    print_readiness([each.severity for each in result.all_problems()])


def _write_fix_list(result: CheckResult, path: Path) -> None:
    from tlcli.data.exclude_list import write_fix_list

    number, unlisted = write_fix_list(result.findings, result.root, path)
    console.note(f"{path} lists {console.counted(number, 'photo')} to leave out")
    if unlisted:
        names = console.counted(unlisted, "name")
        console.warn(f"{path}: cannot list {names} with a line break; rename the files")
