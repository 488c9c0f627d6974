"""`tlcli evaluate`: how good a run is on labelled photos, how sure that is, and what it gets wrong.

The probabilities of a split are computed once and kept in the run; everything else follows from
them without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlcli.errors import TlcliError
from tlcli.evaluation import calibration, figures, labelled_photos, metrics, predictions
from tlcli.evaluation.calibration import Calibration
from tlcli.evaluation.predictions import LabelledProbabilities, RunProbabilities
from tlcli.evaluation.tta import read_tta_settings
from tlcli.networks.probabilities import likeliest_class
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import Evaluation, Guess, ScoresWithoutViews, write_evaluation
from tlcli.runs.inputs import read_recipe, read_split
from tlcli.system import console

#: Mistakes, and right but unsure answers, that are listed at most.
MOST_EXAMPLES = 100


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate on, and what to do with it.

    Attributes:
        split: of the run; None where `folder` or `table` brings other photos.
        folder: class folders of other photos.
        table: a CSV table of other photos.
        data: where the data folder of the run is now, if it has moved.
        target_precision: choose a threshold that reaches it, and write that into the run.
        out: a folder for the files; by default those of a split go into the run.
        force: replace an evaluation that is in `out`.
        again: compute the probabilities, also where the run has them.
        tta: average over each photo and so many of its augmented views. The calibration was fitted
            without views: such probabilities are not calibrated, and nothing of them is written
            into the run.
    """

    split: str | None = "test"
    folder: Path | None = None
    table: Path | None = None
    data: Path | None = None
    target_precision: float | None = None
    out: Path | None = None
    force: bool = False
    again: bool = False
    tta: int = 0


@dataclass(frozen=True)
class EvaluationResult:
    """An evaluation, and the files that hold it; none where nothing was written."""

    evaluation: Evaluation
    written: tuple[Path, ...] = ()


def evaluate(run: Run, request: EvaluationRequest) -> EvaluationResult:
    """Predict, calibrate, measure, and write the result.

    The first evaluation of a run fits its temperature on the val photos; `calibration.json` keeps
    it. Raises a `TlcliError` for photos that are missing, changed or unreadable, and for a
    precision that no threshold reaches.
    """
    if request.out is not None:
        name = request.split or ("csv" if request.table else "dir")
        directory.check_out(request.out, directory.evaluation_files(name), force=request.force)
    if request.tta:
        read_tta_settings(run.path)  # refuses a run without views before anything is computed
    source = RunProbabilities(run)
    photos = _photos(run, source, request)
    predicted = photos.predict(request.tta)
    fitted = None if request.tta else _calibrate(source, request)
    mistakes, unsure_correct = _examples(predicted, fitted)
    evaluation = Evaluation(
        split=photos.name,
        model=source.model,
        data=str(photos.root.absolute()),
        seen_in_training=photos.seen_in_training,
        copies=photos.copies,
        tta=request.tta,
        without_tta=_scores_without_views(photos.predict(0)) if request.tta else None,
        **dict(metrics.measure(predicted.probabilities, predicted.labels, source.classes, fitted)),
        mistakes=mistakes,
        unsure_correct=unsure_correct,
    )
    return EvaluationResult(evaluation, _write(run, request, evaluation, predicted))


@dataclass(frozen=True)
class _PhotoSet:
    """Photos to evaluate on.

    Attributes:
        seen_in_training: how many of them the run was trained on; such photos flatter it.
        copies: how many of them have the bytes of another one; each counts, as in training.
        predict: their probabilities, as means over each photo and so many views of it.
    """

    name: str
    root: Path
    seen_in_training: int
    copies: int
    predict: Callable[[int], LabelledProbabilities]


def _photos(run: Run, source: RunProbabilities, request: EvaluationRequest) -> _PhotoSet:
    if request.split is not None:
        return _photos_of_split(run, source, request.split, request)
    photos = (
        labelled_photos.find_table_photos(
            request.table, source.classes, read_recipe(run).data.columns
        )
        if request.table is not None
        else labelled_photos.find_folder_photos(request.folder or Path(), source.classes)
    )
    digests = [photo.sha256 for photo in photos.photos]
    return _PhotoSet(
        photos.name,
        photos.root,
        _count_seen(run, digests),
        _count_copies(digests),
        lambda tta: source.predict(photos, tta=tta),
    )


def _photos_of_split(
    run: Run, source: RunProbabilities, split: str, request: EvaluationRequest
) -> _PhotoSet:
    def predict(tta: int) -> LabelledProbabilities:
        if not tta:
            return source.split_probabilities(split, data=request.data, again=request.again)
        photos = labelled_photos.find_split_photos(run, split, source.classes, request.data)
        return source.predict(photos, tta=tta)

    digests = [row.sha256 for row in labelled_photos.read_recorded_split(run, split)]
    seen = len(digests) if split == "train" else _count_seen(run, digests)
    root = request.data or labelled_photos.data_folder_of(run)
    return _PhotoSet(split, root, seen, _count_copies(digests), predict)


def _scores_without_views(predicted: LabelledProbabilities) -> ScoresWithoutViews:
    scores = metrics.measure(predicted.probabilities, predicted.labels, predicted.classes)
    return ScoresWithoutViews(accuracy=scores.accuracy, log_loss=scores.log_loss)


def _calibrate(source: RunProbabilities, request: EvaluationRequest) -> Calibration | None:
    """The run's calibration: the existing one; a new one if there is none or it is requested."""
    existing = calibration.read_calibration(source.run)
    target = request.target_precision
    if target is None and existing is not None and not request.again:
        return existing
    # Where the split is val, its probabilities have just been computed again.
    again = request.again and request.split != "val"
    try:
        val = source.split_probabilities("val", data=request.data, again=again)
    except TlcliError as error:
        if target is not None:
            raise
        kept, none = "the existing calibration is kept", "the probabilities are not calibrated"
        console.warn(f"{kept if existing else none}: {error.problems[0]}")
        return existing
    fitted = calibration.fit(val.probabilities, val.labels)
    if target is None and existing is not None and existing.threshold is not None:
        target = existing.threshold.target_precision
    if target is not None:
        fitted = calibration.add_threshold(fitted, val.probabilities, val.labels, target)
    hint = "`tlcli predict` will not know it; make the run writable, or copy it"
    with predictions.warn_if_unwritable(hint):
        calibration.write_calibration(source.run, fitted)
    return fitted


def _count_seen(run: Run, digests: Sequence[str]) -> int:
    """How many of these photos the run was trained on."""
    trained = {row.sha256 for row in read_split(run) if row.split == "train"}
    return sum(digest in trained for digest in digests)


def _count_copies(digests: Sequence[str]) -> int:
    """How many of these photos have the bytes of an earlier one."""
    return len(digests) - len(set(digests))


def _examples(
    predicted: LabelledProbabilities, fitted: Calibration | None
) -> tuple[tuple[Guess, ...], tuple[Guess, ...]]:
    """The most confident mistakes, and the least confident right answers."""
    probabilities = predicted.probabilities
    best = likeliest_class(probabilities)
    confidence = probabilities.max(axis=1)
    tempered = None if fitted is None else fitted.apply(probabilities).max(axis=1)

    def guess(index: int) -> Guess:
        return Guess(
            path=predicted.names[index],
            label=predicted.classes[int(predicted.labels[index])],
            predicted=predicted.classes[int(best[index])],
            probability=float(confidence[index]),
            calibrated=None if tempered is None else float(tempered[index]),
        )

    order = np.argsort(confidence, kind="stable")
    right = best == predicted.labels
    mistakes = [int(index) for index in order[::-1] if not right[index]]
    unsure = [int(index) for index in order if right[index]]
    return tuple(map(guess, mistakes[:MOST_EXAMPLES])), tuple(map(guess, unsure[:MOST_EXAMPLES]))


def _write(
    run: Run, request: EvaluationRequest, evaluation: Evaluation, predicted: LabelledProbabilities
) -> tuple[Path, ...]:
    """Write the evaluation to where the request wants it, if anywhere; returns the files.

    Evaluations of other photos, and those with views, leave nothing in the run.
    """
    if request.out is not None:
        request.out.mkdir(parents=True, exist_ok=True)
        predicted.write(request.out / directory.predictions(evaluation.split))
        return _write_files(Run(request.out), evaluation)
    if request.split is None or request.tta:
        return ()
    with predictions.warn_if_unwritable("name a folder for the files with --out"):
        return _write_files(run, evaluation)
    return ()


def _write_files(folder: Run, evaluation: Evaluation) -> tuple[Path, ...]:
    """Write the pictures and then the numbers, beside the table of predictions that is there."""
    split = evaluation.split
    diagram = folder.file(directory.reliability(split))
    matrix = folder.file(directory.confusion(split))
    figures.draw_reliability(evaluation, diagram)
    figures.draw_confusion(evaluation, matrix)
    report = write_evaluation(folder, evaluation)
    return report, folder.file(directory.predictions(split)), diagram, matrix
