"""The command line: translates words into calls, and exceptions into lines and exit codes.

Exit codes: 0 success; 1 something is wrong with the recipe, the data or the machine; 2 the command
line is wrong; 129, 130 and 143 stopped by SIGHUP, Ctrl-C and SIGTERM. A bug keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tlcli import __version__
from tlcli.cache_cli import cache
from tlcli.command import PATH, Commands, show, tell, with_json, with_recipe
from tlcli.evaluate_cli import compare, curves, evaluate
from tlcli.explain_cli import explain, visualize
from tlcli.preview_cli import preview
from tlcli.report_cli import report
from tlcli.runs_cli import reproduce, runs
from tlcli.system import console
from tlcli.weights_cli import doctor, weights


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tlcli")
@click.option("--quiet", "-q", is_flag=True, help="No notes and no progress.")
def main(quiet: bool) -> None:
    """Fine-tune pretrained image classifiers on your own photos.

    \b
    Example:
      tlcli init photos
      tlcli finetune --config photos.yaml
      tlcli predict photo.jpg
    """
    console.configure(quiet=quiet)


main.add_command(evaluate)
main.add_command(compare)
main.add_command(curves)
main.add_command(explain)
main.add_command(visualize)
main.add_command(report)
main.add_command(weights)
main.add_command(cache)
main.add_command(doctor)
main.add_command(runs)
main.add_command(reproduce)
main.add_command(preview)


def _recipe_path(config: Path | None) -> Path:
    from tlcli.recipe.load import find_recipe

    return config or find_recipe(Path.cwd())


def _plan(
    config: Path | None,
    overrides: tuple[str, ...],
    cache_dir: Path | None,
    out: Path | None = None,
    force: bool = False,
    unlabelled: Path | None = None,
    run: bool = True,
) -> Any:
    from tlcli.recipe.load import load_recipe
    from tlcli.training.plan import make_plan
    from tlcli.training.preflight import preflight

    chosen = load_recipe(_recipe_path(config), overrides)
    found = preflight(chosen, cache=cache_dir, out=out, force=force, unlabelled=unlabelled, run=run)
    made = make_plan(found)
    tell(made.problems)
    return made


@main.command()
@click.argument("folder", type=PATH)
@click.option("--out", type=PATH, help="The recipe to write. [default: FOLDER's name.yaml]")
@click.option("--base", default="VGG16", show_default=True, help="The pretrained base.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def init(folder: Path, out: Path | None, base: str, force: bool) -> None:
    """Look at a folder of photos and write a starter recipe.

    \b
    Example:
      tlcli init photos --base ResNet50
    """
    from tlcli import init as starter

    console.result(str(starter.init(folder, out=out, base=base, force=force)))


@main.command()
@click.argument("folder", type=PATH)
def sample(folder: Path) -> None:
    """Write 1,797 handwritten digits as labelled photos to experiment with.

    \b
    Example:
      tlcli sample digits
    """
    from tlcli import sample as samples

    console.result(f"{samples.write_digits(folder):,} photos in {folder}")


@main.command()
@with_recipe
@click.option("--all", "every", is_flag=True,
              help="Name every file, not only the first few of each kind.")  # fmt: skip
@click.option("--fix-list", type=PATH,
              help="Write a list of photos to leave out, for data.exclude.")  # fmt: skip
@with_json
def check(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None, every: bool,
    fix_list: Path | None, json_: bool,
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
    checked = check_recipe(_recipe_path(config), overrides, cache=cache_dir)
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


@main.command()
@click.argument("name", required=False)
@with_json
def bases(name: str | None, json_: bool) -> None:
    """List the pretrained bases, or the clean freeze boundaries of one.

    \b
    Example:
      tlcli bases
      tlcli bases resnet50
    """
    from tlcli import listing

    show(listing.bases(name), json_)


@main.command()
@with_recipe
@click.option("--boundary", help="The layer to take activations from. [default: the recipe's]")
@click.option("--pooling", type=click.Choice(["none", "avg", "max", "flatten"]), default="avg",
              show_default=True, help="Pooling of the features in --out.")  # fmt: skip
@click.option("--data", type=PATH, help="Photos without labels to use instead of the recipe's.")
@click.option("--out", type=PATH, help="Also write features.npy, index.csv, meta.json here.")
@click.option("--force", is_flag=True, help="Replace those files if they exist.")
@with_json
def extract(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None, boundary: str | None,
    pooling: Any, data: Path | None, out: Path | None, force: bool, json_: bool,
) -> None:  # fmt: skip
    """Run photos through the frozen part of the network and keep the features.

    \b
    Example:
      tlcli extract --config cats_dogs.yaml
      tlcli extract --boundary block5_pool --out features
    """
    made = _plan(config, overrides, cache_dir, unlabelled=data, run=False)
    from tlcli.training import extract as extraction

    wanted = extraction.Wanted(boundary, pooling, data is None, out)
    done = extraction.extract(made, wanted, force=force)
    if json_:
        console.result_json(done)
    else:
        console.result(extraction.text(done))


@main.command()
@with_recipe
@click.option("--out", type=PATH, help="The run directory. [default: runs/NAME-N]")
@click.option("--force", is_flag=True, help="Replace the run in --out, if there is one.")
@click.option("--fresh", is_flag=True, help="Start a new run even if a matching one was stopped.")
@click.option("--resume", metavar="RUN", help="Resume this stopped run and no other.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything, print the plan and an estimate of its time, and stop.",
)
@with_json
def finetune(
    config: Path | None, overrides: tuple[str, ...], cache_dir: Path | None, out: Path | None,
    force: bool, fresh: bool, resume: str | None, dry_run: bool, json_: bool,
) -> None:  # fmt: skip
    """Train a classifier: extract features, train the head, fine-tune the top in stages.

    Give the same command again to resume a run that was stopped.

    \b
    Example:
      tlcli finetune --config cats_dogs.yaml
      tlcli finetune --set stages.1.epochs=3 --set seed=1
    """
    if resume is not None and (fresh or out is not None):
        raise click.UsageError("--resume cannot be combined with --fresh or --out")
    made = _plan(config, overrides, cache_dir, out, force)
    if dry_run:
        from tlcli.training import estimate

        show(estimate.plan_with_estimate(made), json_)
        return
    console.note(made.text() + "\n")
    from tlcli.runs.resume import Wanted
    from tlcli.training.train import train

    summary = train(made, Wanted(out, force, fresh, resume))
    if json_:
        console.result_json(summary.as_json())
    else:
        console.result(summary.text())


@main.command()
@click.argument("photos", nargs=-1, required=True)
@click.option("--run", "which", help="A run directory, its name, or a model.keras. "
              "[default: runs/latest]")  # fmt: skip
@click.option("--top", type=click.IntRange(min=1), default=1, show_default=True,
              help="Classes to show for each photo.")  # fmt: skip
@click.option("--raw", is_flag=True, help="The network's own probabilities, not calibrated.")
@click.option("--tta", type=click.IntRange(min=0, max=100), default=0, metavar="N",
              help="Average over each photo and N augmented views of it.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["table", "json", "jsonl", "csv"]),
              default="table", show_default=True, help="Output format.")  # fmt: skip
def predict(
    photos: tuple[str, ...], which: str | None, top: int, raw: bool, tta: int, form: str
) -> None:
    """Classify photos: files, folders, patterns, or - for a list on stdin.

    \b
    Example:
      tlcli predict photo.jpg
      tlcli predict holiday --top 3 --format jsonl
    """
    from tlcli import listing
    from tlcli.runs import directory

    model = directory.find_model(which)
    paths = _named(photos)
    from tlcli.evaluation.predict import Predictor

    predictor = Predictor(model, raw=raw)
    found = predictor.predict(paths, top=top, tta=tta)
    abstains = predictor.threshold is not None and not tta
    failed = listing.predictions(found, form, predictor.classes, abstains=abstains)
    click.get_current_context().exit(1 if failed else 0)


def _named(photos: tuple[str, ...]) -> Iterator[Path]:
    """The photos of a command line; lines on stdin are paths as they are, in any encoding."""
    from tlcli.data.folders import find_images

    for photo in photos:
        if photo == "-":
            lines = (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
            yield from (Path(os.fsdecode(line)) for line in lines if line)
        else:
            yield from find_images([photo], strict=False)


@main.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors that complete YAML.

    \b
    Example:
      tlcli schema > tlcli.schema.json
    """
    from tlcli.recipe.recipe import recipe_schema

    console.result_json(recipe_schema())
