"""`tlcli evaluate`: how good a run is on labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlcli.commands.fold_evaluation import check_fold_options, evaluate_folds
from tlcli.commands.options import (
    FOR_MANY_PHOTOS,
    PATH,
    SPLITS,
    open_file,
    print_result,
    with_data,
    with_json,
    with_open,
    with_precision,
    with_raw,
    with_recipe,
    with_run,
)
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.evaluation.evaluate import EvaluationRequest, EvaluationResult

#: Options that a threshold is not chosen with.
_NOT_WITH_PRECISION = {
    "--tta": "tta", "--raw": "raw", "--clear-threshold": "clear_threshold"
}  # fmt: skip


@click.command()
@with_run
@click.option(
    "--split", type=SPLITS, help="Split of the run.  [default: test, or val without test photos]"
)
@click.option("--dir", "folder", type=PATH, help="Other photos: a folder of class folders.")
@click.option("--csv", "table", type=PATH, help="Other photos: a table, path,label.")
@with_data
@click.option("--target-precision", type=click.FloatRange(0, 1, min_open=True),
              help="Choose the threshold for 'unsure' so that this share of the other answers is "
              "right; predict then uses it too.")  # fmt: skip
@click.option("--clear-threshold", is_flag=True,
              help="Remove that threshold: no answer is 'unsure' any more.")  # fmt: skip
@click.option("--calibrate", is_flag=True,
              help="Calibrate a run of tlcli 0.1.0; those of later versions are.")  # fmt: skip
@with_raw
@click.option(
    "--out", type=PATH, help="A folder for the files.  [default: the run, for its splits]"
)
@click.option("--force", is_flag=True, help="Replace the files of an evaluation in --out.")
@click.option("--again", is_flag=True, help="Compute the answers again, even if the run has them.")
@with_precision(FOR_MANY_PHOTOS)
@click.option("--tta", type=click.IntRange(min=0, max=100), default=0, metavar="N",
              help="Average over each photo and N augmented views of it.")  # fmt: skip
@click.option("--unknown", is_flag=True,
              help="Also measure which photos are called unknown, with classes "
              "left out.")  # fmt: skip
@click.option("--foreign", multiple=True, type=PATH, metavar="DIR",
              help="The same of a folder of photos that show none of the classes. May be "
              "repeated.")  # fmt: skip
@click.option("--require", "required", multiple=True, metavar="BOUND",
              help="Exit with 1 unless it holds: 'accuracy>=0.95', 'recall[cats]>=0.9', "
              "'log loss<=0.2'. May be repeated.")  # fmt: skip
@click.option("--confident", is_flag=True,
              help="--require compares the unfavourable end of the interval.")  # fmt: skip
@click.option("--folds", type=click.IntRange(min=2), metavar="K",
              help="Train the recipe K times, each time judging the photos left out: for sets too "
              "small to hold photos back. Of the run, or of --config.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1, max=100), metavar="N",
              help="With --folds: divisions of the photos, each trained with its seed.  "
              "[default: 3]")  # fmt: skip
@click.option("--tuning", is_flag=True,
              help="With --folds: train all stages, not those of the head alone.")  # fmt: skip
@with_recipe
@with_open
@with_json
def evaluate(
    run_name: str | None, split: str | None, folder: Path | None, table: Path | None,
    data: Path | None, target_precision: float | None, clear_threshold: bool, calibrate: bool,
    raw: bool, out: Path | None, force: bool, again: bool, precision: str, tta: int, unknown: bool,
    foreign: tuple[Path, ...], required: tuple[str, ...], confident: bool, folds: int | None,
    seeds: int | None, tuning: bool, config: Path | None, overrides: tuple[str, ...],
    cache_dir: Path | None, access: WeightsAccess, look: bool, json_: bool,
) -> None:  # fmt: skip
    """Show how good a run is, how certain that is, and what it gets wrong.

    What the run answers elsewhere stays as it is, unless --target-precision, --clear-threshold or
    --calibrate change it.

    \b
    Example:
      tlcli evaluate
      tlcli evaluate --open
      tlcli evaluate --target-precision 0.99
      tlcli evaluate cats_dogs-1 --dir new_photos
      tlcli evaluate --foreign holiday_photos
      tlcli evaluate --require 'accuracy>=0.95' --require 'recall[cats]>=0.9'
      tlcli evaluate --folds 5 --config few_photos.yaml
    """
    check_fold_options(folds is not None)
    if folds is not None:
        evaluate_folds(
            run_name, config, overrides, cache_dir, access, folds=folds, seeds=seeds or 3,
            tuning=tuning, out=out, again=again, json_=json_,
        )  # fmt: skip
        return
    _check_photos(run_name, split, folder, table, data)
    _check_together(click.get_current_context().params)
    from tlcli.evaluation.evaluate import EvaluationRequest

    request = EvaluationRequest(
        split, folder, table, data, target_precision, clear_threshold, calibrate, raw,
        out, force, again, tta, precision,
    )  # fmt: skip
    foreign_to = foreign if unknown or foreign else None
    _evaluate(directory.find_run(run_name), request, foreign_to, required, confident, look, json_)


def _evaluate(
    run: Run, request: EvaluationRequest, foreign: tuple[Path, ...] | None,
    required: tuple[str, ...], confident: bool, look: bool, json_: bool,
) -> None:  # fmt: skip
    """Evaluate, print, and hold the numbers against what is required.

    `foreign` are folders of photos that should be called unknown; None: nothing of that is asked.
    """
    from tlcli.evaluation import requirements, text
    from tlcli.evaluation.evaluate import evaluate

    bounds = requirements.read_run_requirements(required, run, confident=confident)
    result = evaluate(run, request)
    outcomes = requirements.check_requirements(bounds, result.evaluation, confident=confident)
    unknown_lines, unknown = _measure_unknown(run, result.evaluation.split, foreign, request.data)
    value = result.evaluation.as_dict() | requirements.as_dict(outcomes) | unknown
    shown = [text.format_evaluation(result.evaluation), *text.format_requirements(outcomes)]
    print_result(("\n\n".join([*shown, *unknown_lines]), value), json_)
    text.warn_of_limits(result.evaluation)
    _conclude(run, result, look)
    requirements.raise_if_missed(outcomes)


def _measure_unknown(
    run: Run, split: str, foreign: tuple[Path, ...] | None, data: Path | None
) -> tuple[list[str], dict[str, Any]]:
    """Measure what is called unknown, if asked, and keep it in the run; as text and for JSON."""
    if foreign is None:
        return [], {}
    from tlcli.evaluation.predictions import warn_if_unwritable
    from tlcli.evaluation.unknown import measure_unknown
    from tlcli.evaluation.unknown_text import format_unknown
    from tlcli.runs.unknown_record import write_unknown

    record = measure_unknown(run, split, foreign, data)
    with warn_if_unwritable("the report will not have it"):
        write_unknown(run, record)
    if split == "val":
        console.warn("the limit of unknown was chosen on these photos")
    return [format_unknown(record)], {"unknown": record.as_dict()}


def _conclude(run: Run, result: EvaluationResult, look: bool) -> None:
    """Say where the numbers are kept, what they come to, and what a user would do next.

    With `look` the confusion matrix is opened.
    """
    from tlcli.report.next_steps import conclude_evaluation

    for path in result.written[:1]:
        console.note(f"\nwritten: {path}")
    conclude_evaluation(run, result.evaluation)
    open_file(result.written[-1] if result.written else None, look)


def _check_together(given: dict[str, Any]) -> None:
    """Refuse options that contradict each other, and those that lack the one they are about."""
    for option, name in _NOT_WITH_PRECISION.items():
        if given["target_precision"] is not None and given[name]:
            raise click.UsageError(f"--target-precision and {option}: give only one of them")
    if given["confident"] and not given["required"]:
        raise click.UsageError("--confident is about --require, which is missing")
    elsewhere = given["folder"] or given["table"] or given["out"]
    if (given["unknown"] or given["foreign"]) and elsewhere:
        raise click.UsageError("--unknown and --foreign are measured beside a split of the run")


def _check_photos(
    run_name: str | None, split: str | None, folder: Path | None, table: Path | None,
    data: Path | None,
) -> None:  # fmt: skip
    """Refuse options that name two sets of photos, and photos in the place of the run."""
    if sum(photos is not None for photos in (split, folder, table)) > 1:
        raise click.UsageError("--split, --dir and --csv: give only one of them")
    if data and not (split or folder or table):
        raise click.UsageError(
            "--data says where the photos of the run are now, and needs --split; "
            f"to evaluate on other photos: --dir {data}"
        )
    if run_name and Path(run_name).is_dir() and not directory.names_run(run_name):
        raise click.UsageError(
            f"{run_name} is a folder, not a run; to evaluate on its photos: --dir {run_name}"
        )
