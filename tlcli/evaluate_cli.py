"""The commands that tell how good a run is: evaluate, compare, curves."""

from __future__ import annotations

from pathlib import Path

import click

from tlcli.command import PATH, show, with_json
from tlcli.system import console

_RUN = click.option("--run", "which", help="A run directory, or its name. [default: runs/latest]")
_SPLITS = click.Choice(["test", "val", "train"])


@click.command()
@_RUN
@click.option("--split", type=_SPLITS, help="Split of the run.  [default: test]")
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
    which: str | None, split: str | None, data: Path | None, table: Path | None,
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
    if table is not None and (split is not None or data is not None):
        raise click.UsageError("--csv brings its own photos: leave out --split and --data")
    if tta and target_precision is not None:
        raise click.UsageError("--target-precision is for answers without --tta")
    from tlcli.evaluation import evaluate as evaluation
    from tlcli.evaluation import text
    from tlcli.runs import directory

    chosen = split if split or data or table else "test"
    wanted = evaluation.Wanted(chosen, data, table, target_precision, out, force, again, tta)
    found = evaluation.evaluate(directory.find(which), wanted)
    show((text.text(found.value), found.value), json_)
    text.warn(found.value)
    for path in found.written[:1]:
        console.note(f"\nwritten: {path}")


@click.command()
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option("--split", type=_SPLITS, default="test", show_default=True, help="Split to compare.")
@with_json
def compare(first: str, second: str, split: str, json_: bool) -> None:
    """Compare two runs on the same photos: is the difference more than chance?

    \b
    Example:
      tlcli compare cats_dogs-1 cats_dogs-2
    """
    from tlcli.evaluation import compare as comparison
    from tlcli.evaluation import text
    from tlcli.runs import directory

    value = comparison.compare(
        directory.find(first, where="RUN"), directory.find(second, where="RUN"), split
    )
    show((text.compared(value), value), json_)


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
    from tlcli.evaluation import learning_curves
    from tlcli.runs import directory

    run = directory.find(which)
    written = learning_curves.draw(run, out) if out or not tensorboard else ()
    if tensorboard is not None:
        written = (*written, learning_curves.write_events(run, tensorboard))
    paths = [str(path) for path in written]
    show(("\n".join(paths), {"written": paths}), json_)
