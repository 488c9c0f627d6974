"""`tlcli predict`: classify photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcli.commands.names import RUN
from tlcli.commands.options import (
    FOR_MANY_PHOTOS,
    PATH,
    open_file,
    with_open,
    with_precision,
    with_raw,
    with_runs_dir,
)
from tlcli.commands.photo_arguments import counted_photos, with_photos
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.evaluation.predict import Predictor
    from tlcli.evaluation.prediction import Prediction
    from tlcli.networks.engine import EngineName

    Collect = Callable[[Iterable[Prediction]], Iterable[Prediction]]

#: Training photos beside each photo of a sheet, where --why does not say how many.
SHEET_NEIGHBOURS = 5


@click.command()
@with_photos("photos", nargs=-1, required=True)
@click.option("--run", "run_name", type=RUN, help="A run directory, its "
              "name, or a model.keras. "
              "[default: runs/latest]")  # fmt: skip
@with_runs_dir
@click.option("--top", type=click.IntRange(min=1), default=1, show_default=True,
              help="Classes to show for each photo.")  # fmt: skip
@with_raw
@click.option("--tta", type=click.IntRange(min=0, max=100), default=0, metavar="N",
              help="Average over each photo and N augmented views of it.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["table", "json", "jsonl", "csv"]),
              default="table", show_default=True, help="Output format.")  # fmt: skip
@click.option("--unknown/--no-unknown", default=True,
              help="Say 'unknown' before photos that are like none of the training photos.  "
              "[default: on]")  # fmt: skip
@click.option("--why", type=click.IntRange(min=1, max=100), metavar="N",
              help="Name the N training photos that are most like each photo.")  # fmt: skip
@click.option("--why-sheet", "sheet", type=PATH, metavar="FILE.png",
              help="Draw each photo beside these. Without --why: the 5 nearest.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace that file even if it is not by tlcli.")
@click.option("--engine", type=click.Choice(["keras", "instant"]),
              help="What computes: TensorFlow, or LiteRT, which starts at once. "
              "[default: the one that is done first]")  # fmt: skip
@with_precision(FOR_MANY_PHOTOS)
@click.option("--verbose", is_flag=True, help="Print which engine answered, and why.")
@with_open
@click.option("--json", "json_", is_flag=True, help="The same as --format json.")
def predict(
    photos: tuple[str, ...], run_name: str | None, top: int, raw: bool, tta: int, form: str,
    unknown: bool, why: int | None, sheet: Path | None, force: bool,
    engine: EngineName | None, precision: str, verbose: bool, look: bool, json_: bool,
) -> None:  # fmt: skip
    """Classify photos: files, folders, patterns, or - for a list on stdin.

    \b
    Example:
      tlcli predict photo.jpg
      tlcli predict holiday --top 3 --format jsonl
      tlcli predict photo.jpg --why 3 --why-sheet why.png
    """
    form = _choose_format(form, json_)
    sheet = _check_sheet(sheet, force=force)
    from tlcli.evaluation.engines import MANY_PHOTOS
    from tlcli.evaluation.predict import Predictor

    given, number = counted_photos(photos, MANY_PHOTOS)
    predictor = Predictor(
        run_name, raw=raw, engine=engine, photos=number, unknown=unknown,
        why=why or (SHEET_NEIGHBOURS if sheet else 0), precision=precision,
    )  # fmt: skip
    _note_engine(predictor, verbose)
    with _sheet_of(predictor.path, sheet) as collect:
        predictions = collect(predictor.predict(given, top=top, tta=tta))
        failed = _print(predictor, predictions, form, with_views=bool(tta))
    open_file(sheet, look)
    click.get_current_context().exit(1 if failed else 0)


def _print(
    predictor: Predictor, predictions: Iterable[Prediction], form: str, *, with_views: bool
) -> int:
    """Print predictions as they come; returns how many photos could not be read."""
    from tlcli.evaluation.prediction_output import print_predictions

    abstains = predictor.calibration.threshold is not None and not with_views
    return print_predictions(predictions, form, predictor.classes, abstains=abstains)


def _note_engine(predictor: Predictor, verbose: bool) -> None:
    """Say which engine answers, and why, if that is asked for."""
    if verbose:
        console.note(f"engine: {predictor.engine.name} ({predictor.engine_reason})")


def _check_sheet(path: Path | None, *, force: bool) -> Path | None:
    """The file of --why-sheet; a `TlcliError` where no PNG may be written there."""
    if path is None:
        return None
    from tlcli.images.contact_sheet import sheet_path

    return sheet_path(path, "", force=force, option="--why-sheet")


@contextmanager
def _sheet_of(model: Path, sheet: Path | None) -> Iterator[Collect]:
    """What predictions go through on their way; at the end the sheet is drawn, if there is one."""
    if sheet is None:
        yield lambda predictions: predictions
        return
    from tlcli.evaluation.why_sheet import WhySheet
    from tlcli.runs.inputs import read_recipe
    from tlcli.runs.model_file import run_of_model

    run = run_of_model(model)
    assert run is not None  # or its neighbours could not have been opened
    data = read_recipe(run).data
    drawn = WhySheet(data.root, data.depth)
    yield drawn.collecting
    drawn.save(sheet)


def _choose_format(form: str, json_: bool) -> str:
    """The format that --format and --json mean together."""
    if json_ and form not in ("table", "json"):
        raise click.UsageError(f"--json and --format {form}: give only one of them")
    return "json" if json_ else form
