"""`tlcli evaluate`: how good a run is on labelled photos."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.commands.options import PATH, SPLITS, print_result, with_json, with_run
from tlcli.system import console


@click.command()
@with_run
@click.option("--split", type=SPLITS, help="Split of the run.  [default: test]")
@click.option("--data", type=PATH, help="Class folders of other photos; with --split, "
              "where the data folder is now.")  # fmt: skip
@click.option("--csv", "table", type=PATH, help="A table of other photos: path,label.")
@click.option("--target-precision", type=click.FloatRange(0, 1, min_open=True),
              help="Choose the threshold for 'unsure' so that this share of the other answers is "
              "right; predict then uses it too.")  # fmt: skip
@click.option(
    "--out", type=PATH, help="A folder for the files.  [default: the run, for its splits]"
)
@click.option("--force", is_flag=True, help="Replace the evaluation in --out, if there is one.")
@click.option(
    "--again", is_flag=True, help="Compute the probabilities again, even if the run has them."
)
@click.option("--tta", type=click.IntRange(min=0, max=100), default=0, metavar="N",
              help="Average over each photo and N augmented views of it.")  # fmt: skip
@with_json
def evaluate(
    run_name: str | None, split: str | None, data: Path | None, table: Path | None,
    target_precision: float | None, out: Path | None, force: bool, again: bool, tta: int,
    json_: bool,
) -> None:  # fmt: skip
    """Show how good a run is, how certain that is, and what it gets wrong.

    \b
    Example:
      tlcli evaluate
      tlcli evaluate --target-precision 0.99
      tlcli evaluate --data new_photos
    """
    _check_options(split, data, table, target_precision, tta)
    from tlcli.evaluation import evaluate as evaluation
    from tlcli.evaluation import text
    from tlcli.runs import directory

    split = split if split or data or table else "test"
    request = evaluation.EvaluationRequest(
        split, data, table, target_precision, out, force, again, tta
    )
    result = evaluation.evaluate(directory.find_run(run_name), request)
    print_result((text.format_evaluation(result.evaluation), result.evaluation.as_dict()), json_)
    text.warn_of_limits(result.evaluation)
    for path in result.written[:1]:
        console.note(f"\nwritten: {path}")


def _check_options(
    split: str | None, data: Path | None, table: Path | None, target_precision: float | None,
    tta: int,
) -> None:  # fmt: skip
    if table is not None and (split is not None or data is not None):
        raise click.UsageError("--csv brings its own photos: leave out --split and --data")
    if tta and target_precision is not None:
        raise click.UsageError("--target-precision is for answers without --tta")
