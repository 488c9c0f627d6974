"""`tlcli compare`: two runs on the same photos."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tlcli.commands.names import RUN
from tlcli.commands.options import SPLITS, print_result, with_json, with_raw, with_runs_dir
from tlcli.errors import Problem, RunError

if TYPE_CHECKING:
    from tlcli.runs.directory import Run


@click.command()
@click.argument("first", metavar="RUN", type=RUN)
@click.argument("second", metavar="RUN", type=RUN)
@click.option(
    "--split", type=SPLITS, help="Split to compare.  [default: test, or val without test photos]"
)
@with_runs_dir
@with_raw
@click.option(
    "--require",
    "required",
    type=click.Choice(["better", "not-worse"]),
    help="Exit with 1 unless the second run is better, or is not worse, by more than chance.",
)
@click.option(
    "--allow-loss",
    is_flag=True,
    help="Accept that a run which started from the first is worse on its classes.",
)
@with_json
def compare(
    first: str, second: str, split: str | None, raw: bool, required: str | None, allow_loss: bool,
    json_: bool,
) -> None:  # fmt: skip
    """Compare two runs on the same photos: is the difference more than chance?

    The second may know more classes. If it started from the first (`finetune --from`), it must not
    be worse on the old classes by more than chance, or the command exits with 1.

    \b
    Example:
      tlcli compare cats_dogs-1 cats_dogs-2
      tlcli compare released candidate --require better
    """
    from tlcli.runs import directory

    runs = [directory.find_run(name, where="RUN") for name in (first, second)]
    if runs[0].path.resolve() == runs[1].path.resolve():
        raise RunError(Problem(f"RUN {second}", "is the first run itself", "name another one"))
    _compare(runs, split, raw=raw, required=required, allow_loss=allow_loss, json_=json_)


def _compare(
    runs: list[Run], split: str | None, *, raw: bool, required: str | None, allow_loss: bool,
    json_: bool,
) -> None:  # fmt: skip
    """Compare, print, and hold the second run against what is required."""
    from tlcli.evaluation import compare as comparison
    from tlcli.evaluation import labelled_photos, text

    split = split or labelled_photos.default_split(*runs)
    compared = comparison.compare(runs[0], runs[1], split, raw=raw)
    requirement = comparison.check_requirement(compared, required) if required else None
    asked = {"requirement": asdict(requirement)} if requirement else {}
    print_result((text.format_comparison(compared), compared.as_dict() | asked), json_)
    text.warn_of_choice(split)
    if requirement:
        comparison.raise_if_missed(compared, requirement)
    if not allow_loss:
        comparison.raise_if_lost(compared)
