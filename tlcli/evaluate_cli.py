"""The commands that tell how good a run is: evaluate, compare, curves."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli import console
from tlcli.command import PATH, show, with_json

_RUN = click.option("--run", "which", help="A run directory, or its name. [default: runs/latest]")
_SPLITS = click.Choice(["test", "val", "train"])


@click.command()
@_RUN
@click.option("--split", type=_SPLITS, help="Photos of the run.  [default: test]")
@click.option("--data", type=PATH, help="Class folders of other photos; with --split, "
              "where the data folder is now.")  # fmt: skip
@click.option("--csv", "table", type=PATH, help="A table of other photos: path,label.")
@click.option("--target-precision", type=click.FloatRange(0, 1, min_open=True),
              help="Say 'unsure' as often as it takes for this share of the answers to be right; "
              "predict then does, too.")  # fmt: skip
@click.option("--out", type=PATH, help="A folder for the files.  [default: of a split, the run]")
@click.option("--force", is_flag=True, help="Replace an evaluation that is in --out.")
@click.option("--again", is_flag=True, help="Predict again what the run keeps.")
@click.option("--tta", type=click.IntRange(min=0, max=100), default=0, metavar="N",
              help="Also look at N augmented views of each photo, and take the mean.")  # fmt: skip
@with_json
def evaluate(
    which: str | None, split: str | None, data: Path | None, table: Path | None,
    target_precision: float | None, out: Path | None, force: bool, again: bool, tta: int,
    json_: bool,
) -> None:  # fmt: skip
    """Tell how good a run is, how sure that is, and what it gets wrong.

    \b
    Example:
      tlcli evaluate
      tlcli evaluate --target-precision 0.99
      tlcli evaluate --data new_photos
    """
    if table is not None and (split is not None or data is not None):
        raise click.UsageError("--csv brings its own photos: leave --split and --data out")
    if tta and target_precision is not None:
        raise click.UsageError("--target-precision is for answers without --tta")
    from tlcli import evaluate as evaluation
    from tlcli import evaluation_text, runs

    chosen = split if split or data or table else "test"
    wanted = evaluation.Wanted(chosen, data, table, target_precision, out, force, again, tta)
    found = evaluation.evaluate(runs.find(which), wanted)
    show((evaluation_text.text(found.value), found.value), json_)
    evaluation_text.warn(found.value)
    for path in found.written[:1]:
        console.note(f"\nwritten: {path}")


@click.command()
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option("--split", type=_SPLITS, default="test", show_default=True, help="Their photos.")
@with_json
def compare(first: str, second: str, split: str, json_: bool) -> None:
    """Put two runs side by side on the same photos; is the difference more than chance?

    \b
    Example:
      tlcli compare cats_dogs-1 cats_dogs-2
    """
    from tlcli import compare as comparison
    from tlcli import evaluation_text, runs

    value = comparison.compare(runs.find(first, where="RUN"), runs.find(second, where="RUN"), split)
    show((evaluation_text.compared(value), value), json_)


@click.command()
@_RUN
@click.option("--out", type=PATH, help="A folder for the pictures.  [default: the run]")
@click.option("--tensorboard", type=PATH, metavar="DIR", help="Write TensorBoard event files here.")
@with_json
def curves(which: str | None, out: Path | None, tensorboard: Path | None, json_: bool) -> None:
    """Draw accuracy, loss and learning rate over all stages, as PNG and SVG.

    \b
    Example:
      tlcli curves
      tlcli curves --tensorboard logs
    """
    from tlcli import curves as drawing
    from tlcli import runs

    run = runs.find(which)
    written = drawing.draw(run, out) if out or not tensorboard else ()
    if tensorboard is not None:
        written = (*written, drawing.write_events(run, tensorboard))
    paths = [str(path) for path in written]
    show(("\n".join(paths), {"written": paths}), json_)
