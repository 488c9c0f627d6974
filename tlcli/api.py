"""The interface for programs and notebooks: what `import tlcli` offers.

Each function does what the command of its name does, by the same code, and returns what that
command prints. Nothing is printed, unless `verbose` asks for it. What a command would report as an
error is a `TlcliError` with its problems.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.recipe import load
from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.features.export import PhotoFeatures, Pooling
    from tlcli.report.report import WrittenReport
    from tlcli.runs.evaluation_records import Evaluation
    from tlcli.training.plan import Plan
    from tlcli.training.train import TrainedRun

#: A file or folder.
StrPath = str | os.PathLike[str]

#: A recipe: its file, its blocks as a mapping, or as `load_recipe` gives it.
RecipeSource = StrPath | Mapping[str, Any] | Recipe

#: A run: its name, its directory, or as `finetune` gives it; None for the latest.
RunSource = StrPath | Run | None


def verbose(notes: bool = True) -> None:
    """Print warnings on stderr as the commands do, and with `notes` also notes and progress.

    Without it all of that goes to the logger `tlcli` of Python's `logging`, progress left out.
    """
    console.configure(quiet=not notes)


def load_recipe(source: RecipeSource, settings: Mapping[str, Any] | Sequence[str] = ()) -> Recipe:
    """A recipe, checked and with its defaults filled in; it does not change any more.

    Args:
        source: a YAML file, or a mapping of its blocks, as in
            `{"data": {"dir": "photos"}, "base": {"name": "VGG16"}}`. Paths in a file are relative
            to that file, those in a mapping to the working folder.
        settings: what to change in it: `{"stages.1.epochs": 3}`, or as the option `--set` takes
            it, `["stages.1.epochs=3"]`.

    Raises:
        RecipeError: with every problem found.
    """
    if isinstance(settings, Mapping):
        settings = [
            f"{key}={json.dumps(value, default=os.fspath)}" for key, value in settings.items()
        ]
    if isinstance(source, Recipe):
        return load.recipe_from_values(source.resolved(), settings) if settings else source
    if isinstance(source, Mapping):
        return load.recipe_from_values(source, settings)
    return load.load_recipe(Path(source), settings)


def finetune(
    recipe: RecipeSource,
    *,
    out: StrPath | None = None,
    force: bool = False,
    fresh: bool = False,
    resume: str | None = None,
    instant: bool = True,
    cache_dir: StrPath | None = None,
    weights_dir: StrPath | None = None,
    offline: bool = False,
) -> TrainedRun:
    """Train a classifier: extract features, train the head, fine-tune the top in stages.

    A call that was stopped goes on where it was, if it is made again.

    Args:
        recipe: a file, a mapping or a recipe; see `load_recipe`.
        out: the run directory; by default a new one in `runs`, or in `TLCLI_RUNS`.
        force: replace the run in `out`, if there is one.
        fresh: start a new run even if a matching one was stopped.
        resume: resume this stopped run and no other.
        instant: make the file from which predictions come without TensorFlow.
        cache_dir: folder of the feature store and of fetched weights.
        weights_dir: a folder of weights files to use first.
        offline: fetch no weights.

    Returns:
        The run, its summary with the scores of every stage, and its calibration.

    Raises:
        TlcliError: with every problem of recipe, photos, weights, memory and disk, before anything
            is computed, as far as it can be known by then.
    """
    from tlcli.evaluation.instant import add_instant_file
    from tlcli.runs.resume import RunRequest
    from tlcli.training.train import train

    target = None if out is None else Path(out)
    plan = _plan(
        recipe, cache_dir, weights_dir, offline=offline, out=target, force=force, resume=resume
    )
    trained = train(plan, RunRequest(target, force, fresh, resume))
    if instant:
        add_instant_file(trained.run)
    return trained


def extract_features(
    recipe: RecipeSource,
    *,
    boundary: str | None = None,
    pooling: Pooling = "avg",
    unlabelled: StrPath | None = None,
    cache_dir: StrPath | None = None,
    weights_dir: StrPath | None = None,
    offline: bool = False,
) -> PhotoFeatures:
    """The features of photos as arrays, with names, labels and splits beside them.

    What the feature store has is not computed again. The photos themselves are taken, not their
    augmented views.

    Args:
        recipe: a file, a mapping or a recipe; see `load_recipe`.
        boundary: the layer to take activations from; by default the highest that a stage of the
            recipe starts from.
        pooling: how the two axes of the image are reduced: `avg`, `max`, `flatten` or `none`.
        unlabelled: a folder of photos without labels to use in place of the recipe's.
        cache_dir: folder of the feature store and of fetched weights.
        weights_dir: a folder of weights files to use first.
        offline: fetch no weights.

    Raises:
        TlcliError: with every problem of recipe, photos, weights and disk.
    """
    from tlcli.training.extract import ExportRequest, read_features

    folder = None if unlabelled is None else Path(unlabelled)
    plan = _plan(recipe, cache_dir, weights_dir, offline=offline, unlabelled=folder, run=False)
    return read_features(plan, ExportRequest(boundary, pooling, labelled=folder is None))


def evaluate(
    run: RunSource = None,
    *,
    split: str | None = None,
    folder: StrPath | None = None,
    table: StrPath | None = None,
    data: StrPath | None = None,
    raw: bool = False,
    tta: int = 0,
    again: bool = False,
    precision: str = "auto",
    out: StrPath | None = None,
    force: bool = False,
) -> Evaluation:
    """How good a run is on labelled photos: scores with intervals, calibration, mistakes.

    An evaluation of a split of the run is kept in the run, where the report finds it.

    Args:
        run: by default the latest.
        split: `test`, `val` or `train` of the run; by default `test`, or `val` where there are no
            test photos.
        folder: other photos, in class folders.
        table: other photos, in a CSV table with the columns path and label.
        data: where the photos of the run are now, if they were moved.
        raw: measure the network's own probabilities, not the calibrated ones.
        tta: average over each photo and so many augmented views of it.
        again: compute the answers again, even if the run has them.
        precision: of the base: `float32`, `mixed_bfloat16`, or `auto`: float32, and for many photos
            the one that this machine is faster in.
        out: a folder for the files of the evaluation.
        force: replace those that are there.

    Raises:
        TlcliError: for photos that are missing, changed or unreadable.
    """
    from tlcli.evaluation import evaluate as evaluation

    request = evaluation.EvaluationRequest(
        split=split, folder=_path(folder), table=_path(table), data=_path(data),
        raw=raw, out=_path(out), force=force, again=again, tta=tta, precision=precision,
    )  # fmt: skip
    return evaluation.evaluate(_run(run), request).evaluation


def write_report(
    run: RunSource = None,
    *,
    out: StrPath | None = None,
    data: StrPath | None = None,
    explain: bool = False,
    raw: bool = False,
    force: bool = False,
) -> WrittenReport:
    """Write one HTML file about a run: scores, mistakes, curves, how to reproduce it.

    Args:
        run: by default the latest.
        out: the file; by default `report.html` in the run.
        data: where the photos of the run are now, if they were moved.
        explain: first make heat maps of mistakes and unsure answers; the run must be evaluated.
        raw: show the network's own probabilities, not the calibrated ones.
        force: replace a file that tlcli has not written.

    Raises:
        RunError: for files of the run that are damaged, or a file in the way.
    """
    from tlcli.report import report

    directory = _run(run)
    if explain:
        report.explain_photos(directory, _path(data), raw=raw)
    return report.write_report(directory, out=_path(out), data=_path(data), raw=raw, force=force)


def _plan(
    recipe: RecipeSource,
    cache_dir: StrPath | None,
    weights_dir: StrPath | None,
    *,
    offline: bool,
    **settings: Any,
) -> Plan:
    """The plan of a recipe; `settings` are those of `plan_recipe`."""
    from tlcli.training.planning import plan_recipe

    access = WeightsAccess.from_options(offline=offline, folder=_path(weights_dir))
    return plan_recipe(load_recipe(recipe), cache=_path(cache_dir), access=access, **settings)


def _run(source: RunSource) -> Run:
    """The finished run that is meant; a `RunError` where there is none."""
    if source is None:
        return directory.find_run(None)
    return directory.find_run(str(source.path if isinstance(source, Run) else source), where="run")


def _path(path: StrPath | None) -> Path | None:
    return None if path is None else Path(path)
