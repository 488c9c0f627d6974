"""`tlcli evaluate`: how good a run is on labelled photos, how sure that is, and what it gets wrong.

The logits of a split are computed once and kept in the run; everything else follows from them
without TensorFlow. What the run answers in other commands only changes where that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlcli.evaluation import figures, labelled_photos, metrics, predictions, run_calibration
from tlcli.evaluation.calibration import RAW, Calibration
from tlcli.evaluation.predictions import LabelledLogits, RunProbabilities
from tlcli.evaluation.tta import read_tta_settings
from tlcli.networks.probabilities import likeliest_class
from tlcli.networks.temperature import log_loss
from tlcli.runs import directory
from tlcli.runs.create import check_out_folder
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import Evaluation, ScoresWithoutViews, write_evaluation
from tlcli.runs.inputs import read_recipe, read_split
from tlcli.system.object_stores import written

#: Mistakes, and right but unsure answers, that are listed at most.
MOST_EXAMPLES = 100


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate on, and what to do with it.

    Attributes:
        split: of the run; None for other photos, or without them for the run's test photos, or
            those of val where it has no others.
        folder: class folders of other photos.
        table: a CSV table of other photos.
        data: where the data folder of the run is now, if it has moved.
        target_precision: choose a threshold that reaches it, and write that into the run.
        clear_threshold: remove the threshold from the run.
        calibrate: calibrate a run of an earlier version on its validation photos.
        raw: measure the network's own probabilities; nothing of them is written into the run.
        out: a folder for the files; by default those of a split go into the run.
        force: replace an evaluation that is in `out`.
        again: compute the logits, also where the run has them.
        tta: average the probabilities of each photo and so many of its augmented views. The
            threshold was chosen without views and is left aside, and nothing is written into the
            run.
        precision: that the base computes in; see `engines.choose_engine`. Logits in another one
            that the run has are computed again.
    """

    split: str | None = "test"
    folder: Path | None = None
    table: Path | None = None
    data: Path | None = None
    target_precision: float | None = None
    clear_threshold: bool = False
    calibrate: bool = False
    raw: bool = False
    out: Path | None = None
    force: bool = False
    again: bool = False
    tta: int = 0
    precision: str = "auto"


@dataclass(frozen=True)
class EvaluationResult:
    """An evaluation, and the files that hold it; none where nothing was written."""

    evaluation: Evaluation
    written: tuple[Path, ...] = ()


def evaluate(run: Run, request: EvaluationRequest) -> EvaluationResult:
    """Predict, measure, and write the result.

    Raises a `TlcliError` for photos that are missing, changed or unreadable, and for a precision
    that no threshold reaches.
    """
    if request.split is None and request.folder is None and request.table is None:
        request = replace(request, split=labelled_photos.default_split(run))
    if request.out is not None:
        name = request.split or ("csv" if request.table else "dir")
        check_out_folder(request.out, directory.evaluation_files(name), force=request.force)
    if request.tta:
        read_tta_settings(run.path)  # refuses a run without views before anything is computed
    if request.calibrate:
        run_calibration.calibrate(run, request.data, request.precision)
    if request.clear_threshold:
        run_calibration.clear_threshold(run)
    if request.target_precision is not None:
        run_calibration.set_threshold(
            run, request.target_precision, request.data, request.precision
        )
    source = RunProbabilities(run, raw=request.raw, precision=request.precision)
    calibration = source.calibration
    if request.tta:
        calibration = calibration.without_threshold()
    calibration.without_threshold().note()
    photos = _photos(run, source, request)
    predicted = photos.predict(request.tta)
    evaluation = Evaluation(
        split=photos.name,
        model=source.model,
        data=written(photos.root.absolute()),
        seen_in_training=photos.seen_in_training,
        copies=photos.copies,
        precision=predicted.precision,
        tta=request.tta,
        without_tta=_scores_without_views(photos.predict(0), calibration) if request.tta else None,
        **score(predicted, RAW if request.tta else calibration),
    )
    if request.tta:  # logarithms of means are calibrated already
        evaluation = evaluation.model_copy(update={"temperature": calibration.temperature})
    return EvaluationResult(evaluation, _write(run, request, evaluation, predicted, calibration))


def score(predicted: LabelledLogits, calibration: Calibration) -> dict[str, Any]:
    """The fields of an evaluation that follow from logits: scores, and photos as examples.

    Of mistakes the most confident come first, of right answers the least confident.
    """
    guesses = predicted.guesses(calibration)
    by_confidence = sorted(guesses, key=lambda guess: guess.confidence)
    mistakes = [guess for guess in reversed(by_confidence) if guess.predicted != guess.label]
    unsure = [guess for guess in by_confidence if guess.predicted == guess.label]
    scores = metrics.measure(predicted.logits, predicted.labels, predicted.classes, calibration)
    return {
        **dict(scores),
        "mistakes": tuple(mistakes[:MOST_EXAMPLES]),
        "unsure_correct": tuple(unsure[:MOST_EXAMPLES]),
    }


@dataclass(frozen=True)
class _PhotoSet:
    """Photos to evaluate on.

    Attributes:
        seen_in_training: how many of them the run was trained on; such photos flatter it.
        copies: how many of them have the bytes of another one; each counts, as in training.
        predict: their logits; for a number of views, ln of the mean probabilities.
    """

    name: str
    root: Path
    seen_in_training: int
    copies: int
    predict: Callable[[int], LabelledLogits]


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
    def predict(tta: int) -> LabelledLogits:
        if not tta:
            return source.split_logits(split, data=request.data, again=request.again)
        photos = labelled_photos.find_split_photos(run, split, source.classes, request.data)
        return source.predict(photos, tta=tta)

    digests = [row.sha256 for row in labelled_photos.read_recorded_split(run, split)]
    in_training = len(digests) if split == "train" else _count_seen(run, digests)
    root = request.data or labelled_photos.data_folder_of(run)
    return _PhotoSet(split, root, in_training, _count_copies(digests), predict)


def _scores_without_views(
    predicted: LabelledLogits, calibration: Calibration
) -> ScoresWithoutViews:
    logits, labels = predicted.logits, predicted.labels
    return ScoresWithoutViews(
        accuracy=float((likeliest_class(logits) == labels).mean()),
        log_loss=log_loss(logits, labels, calibration.temperature or 1),
    )


def _count_seen(run: Run, digests: Sequence[str]) -> int:
    """How many of these photos the run was trained on."""
    trained = {row.sha256 for row in read_split(run) if row.split == "train"}
    return sum(digest in trained for digest in digests)


def _count_copies(digests: Sequence[str]) -> int:
    """How many of these photos have the bytes of an earlier one."""
    return len(digests) - len(set(digests))


def _write(
    run: Run, request: EvaluationRequest, evaluation: Evaluation, predicted: LabelledLogits,
    calibration: Calibration,
) -> tuple[Path, ...]:  # fmt: skip
    """Write the evaluation to where the request wants it, if anywhere; returns the files.

    Evaluations of other photos, those with views and those of the network's own probabilities
    leave nothing in the run.
    """
    if request.out is not None:
        request.out.mkdir(parents=True, exist_ok=True)
        table = request.out / directory.predictions(evaluation.split)
        predicted.write(table, RAW if request.tta else calibration)
        return _write_files(Run(request.out), evaluation)
    if request.split is None or request.tta or request.raw:
        return ()
    with predictions.warn_if_unwritable("name a folder for the files with --out"):
        return _write_files(run, evaluation)
    return ()


def _write_files(folder: Run, evaluation: Evaluation) -> tuple[Path, ...]:
    """Write the pictures and then the numbers, beside the table of predictions that is there."""
    split = evaluation.split
    diagram = folder.file(directory.reliability(split))
    matrix = folder.file(directory.confusion(split))
    model = evaluation.model.run if evaluation.model else ""
    subject = ", ".join(filter(None, (model, f"{split} photos")))
    figures.draw_reliability(evaluation, diagram, subject)
    figures.draw_confusion(evaluation, matrix, subject)
    report = write_evaluation(folder, evaluation)
    return report, folder.file(directory.predictions(split)), diagram, matrix
