"""`tlcli evaluate`: how good a run is on labelled photos, how sure that is, and what it gets wrong.

The probabilities of a split are computed once and kept in the run; everything else follows from
them without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.errors import Problem, RunError, TlcliError
from tlcli.evaluation import calibration, figures, labelled_photos, metrics, predictions
from tlcli.evaluation.calibration import Calibration
from tlcli.evaluation.predictions import Predicted, RunProbabilities
from tlcli.evaluation.tta import tta_settings
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_split
from tlcli.system import console, files

#: Mistakes, and right but unsure answers, that are kept by name.
LISTED = 100


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate on, and what to do with it.

    Attributes:
        split: of the run; None where `data` or `table` brings other photos.
        data: class folders of other photos; with `split`, where the data folder is now.
        table: a CSV table of other photos.
        target_precision: choose a threshold for it, and keep that in the run.
        out: a folder for the files; by default those of a split go into the run.
        force: replace an evaluation that is in `out`.
        again: compute the probabilities, also where the run has them.
        tta: average over each photo and so many of its augmented views. Such probabilities are
            not those that `predict` gives by itself: they are not calibrated, and nothing of them
            is kept in the run.
    """

    split: str | None = "test"
    data: Path | None = None
    table: Path | None = None
    target_precision: float | None = None
    out: Path | None = None
    force: bool = False
    again: bool = False
    tta: int = 0


@dataclass(frozen=True)
class Evaluation:
    """The numbers, keys as in `evaluation-SPLIT.json`, and the files with them."""

    value: dict[str, Any]
    written: tuple[Path, ...]


def evaluate(run: Run, wanted: EvaluationRequest) -> Evaluation:
    """Predict, calibrate, measure, and write what was found.

    The first evaluation of a run fits its temperature on the val photos; `calibration.json` keeps
    it. Raises a `TlcliError` for photos that are missing, changed or unreadable, and for a
    precision that no threshold reaches.
    """
    if wanted.out is not None:
        _check_out(wanted.out, force=wanted.force)
    if wanted.tta:
        tta_settings(run.path)  # before anything is computed
    source = RunProbabilities(run)
    asked = _asked(run, source, wanted)
    found = asked.look(wanted.tta)
    fitted = None if wanted.tta else _calibrate(source, wanted)
    value = {
        "split": asked.name,
        "model": source.description,
        "data": str(asked.root.absolute()),
        "seen_in_training": asked.seen,
        "tta": wanted.tta,
        "without_tta": _plain(asked.look(0)) if wanted.tta else None,
        **metrics.measure(found.probabilities, found.labels, source.classes, fitted),
        **_examples(found, fitted),
    }
    name = asked.name
    if wanted.out is not None:
        wanted.out.mkdir(parents=True, exist_ok=True)
        found.write(wanted.out / directory.predictions(name))
        return Evaluation(value, _write(wanted.out, name, value))
    if wanted.split is None or wanted.tta:
        return Evaluation(value, ())
    with predictions.kept("name a folder for the files with --out"):
        return Evaluation(value, _write(run.path, name, value))
    return Evaluation(value, ())


@dataclass(frozen=True)
class _Asked:
    """Photos to evaluate on.

    Attributes:
        seen: how many of them the run was trained on; such photos flatter it.
        look: their probabilities, as means over so many views beside the photo.
    """

    name: str
    root: Path
    seen: int
    look: Callable[[int], Predicted]


def _asked(run: Run, source: RunProbabilities, wanted: EvaluationRequest) -> _Asked:
    if wanted.split is not None:
        return _asked_split(run, source, wanted.split, wanted)
    photos = (
        labelled_photos.of_table(wanted.table, source.classes)
        if wanted.table is not None
        else labelled_photos.of_folder(wanted.data or Path(), source.classes)
    )
    seen = _seen(run, [photo.sha256 for photo in photos.photos])
    return _Asked(photos.name, photos.root, seen, lambda tta: source.predict(photos, tta=tta))


def _asked_split(
    run: Run, source: RunProbabilities, split: str, wanted: EvaluationRequest
) -> _Asked:
    def look(tta: int) -> Predicted:
        if not tta:
            return source.split(split, data=wanted.data, again=wanted.again)
        photos = labelled_photos.of_split(run, split, source.classes, wanted.data)
        return source.predict(photos, tta=tta)

    digests = [row.sha256 for row in labelled_photos.rows_of(run, split)]
    seen = len(digests) if split == "train" else _seen(run, digests)
    return _Asked(split, wanted.data or labelled_photos.root_of(run), seen, look)


def _plain(found: Predicted) -> dict[str, float]:
    """What the views are compared with."""
    value = metrics.measure(found.probabilities, found.labels, found.classes, None)
    return {key: value[key] for key in ("accuracy", "log_loss")}


def _check_out(out: Path, *, force: bool) -> None:
    """The folder of `--out` must not be a run, whose own numbers would be lost, nor be taken."""
    where = f"--out {out}"
    if problems := files.check_writable(out):
        raise RunError(problems)
    if (out / directory.RECORD).is_file():
        hint = "name another folder; without --out, the numbers are kept in the run"
        raise RunError(Problem(where, "is a run", hint))
    if out.is_dir() and not force:
        taken = [path.name for path in out.iterdir() if path.name.startswith("evaluation-")]
        if taken:
            hint = "name another folder, or replace it with --force"
            raise RunError(Problem(where, f"has {taken[0]} already", hint))


def _calibrate(source: RunProbabilities, wanted: EvaluationRequest) -> Calibration | None:
    """The run's calibration: the one it has, or a new one where it has none or one is asked for."""
    kept = calibration.of_run(source.run)
    target = wanted.target_precision
    if target is None and kept is not None and not wanted.again:
        return kept
    moved = wanted.data if wanted.split is not None else None
    try:
        val = source.split("val", data=moved, again=wanted.again and wanted.split != "val")
    except TlcliError as error:
        if target is not None:
            raise
        outcome = (
            "the existing calibration is kept" if kept else "the probabilities are not calibrated"
        )
        console.warn(f"{outcome}: {error.problems[0]}")
        return kept
    fitted = calibration.fit(val.probabilities, val.labels)
    if target is None and kept is not None and kept.threshold is not None:
        target = kept.threshold.target_precision
    if target is not None:
        fitted = calibration.abstaining(fitted, val.probabilities, val.labels, target)
    with predictions.kept("`tlcli predict` will not know it; make the run writable, or copy it"):
        calibration.keep(source.run, fitted)
    return fitted


def _seen(run: Run, digests: Sequence[str]) -> int:
    """How many of these photos the run was trained on."""
    trained = {row.sha256 for row in read_split(run) if row.split == "train"}
    return sum(digest in trained for digest in digests)


def _examples(found: Predicted, fitted: Calibration | None) -> dict[str, Any]:
    """The surest mistakes, and the least sure of the right answers."""
    values = found.probabilities
    best = values.argmax(axis=1)
    confidence = values.max(axis=1)
    tempered = None if fitted is None else fitted.apply(values).max(axis=1)
    order = np.argsort(confidence, kind="stable")

    def entry(index: int) -> dict[str, Any]:
        said = {
            "path": found.names[index],
            "label": found.classes[int(found.labels[index])],
            "predicted": found.classes[int(best[index])],
            "probability": float(confidence[index]),
        }
        return said if tempered is None else {**said, "calibrated": float(tempered[index])}

    right = best == found.labels
    wrong = [int(index) for index in order[::-1] if not right[index]]
    unsure = [int(index) for index in order if right[index]]
    return {
        "mistakes": [entry(index) for index in wrong[:LISTED]],
        "unsure_correct": [entry(index) for index in unsure[:LISTED]],
    }


def _write(folder: Path, name: str, value: dict[str, Any]) -> tuple[Path, ...]:
    """Write the pictures and the numbers, which come last, beside the table that is there."""
    where = Run(folder)
    report = where.file(directory.evaluation(name))
    table = where.file(directory.predictions(name))
    diagram, matrix = where.file(directory.reliability(name)), where.file(directory.confusion(name))
    figures.reliability(value, diagram)
    figures.confusion(value, matrix)
    files.write_json(report, value)
    return report, table, diagram, matrix
