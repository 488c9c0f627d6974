"""Everything that a report is written from: the files of a run, read and checked.

For a file that is missing there is None, so that the page can say which command writes it. A file
with other contents than it should have is a `RunError` with its name and the place in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tlcli.errors import Problem, RunError
from tlcli.evaluation import labelled_photos
from tlcli.evaluation.answer_curves import AnswerCurves, answer_curves
from tlcli.evaluation.calibration import Calibration, read_calibration
from tlcli.evaluation.evaluate import score
from tlcli.evaluation.predictions import LabelledLogits, read_table
from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory
from tlcli.runs.choice import MeasuredChoice, find_choice
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import (
    AuditRecord,
    Evaluation,
    ExplanationRecord,
    Guess,
    read_evaluation,
)
from tlcli.runs.fold_record import FOLDS, FOLDS_WITH_TUNING, FoldRecord
from tlcli.runs.inputs import read_recipe, read_split
from tlcli.runs.label_audit_record import LabelAuditRecord, find_label_audit
from tlcli.runs.metrics import read_metrics
from tlcli.runs.parent_record import ParentRecord, read_parent
from tlcli.runs.records import Epoch, RunRecord, Summary, validate_record
from tlcli.runs.unknown_record import UnknownRecord, find_unknown
from tlcli.system import files


@dataclass(frozen=True)
class RunData:
    """What the files of a run contain.

    Attributes:
        split: the photos that evaluation, predictions and scores are about.
        digests: hex SHA-256 of every photo, by its name in evaluations.
        evaluation: under `calibration`, as `predictions` are.
        predictions: for every photo of `split` the predicted class with its probability.
        calibration: in force, or none where the network's own probabilities are shown.
        choice: what was measured on its training photos before, if anything.
        labels: an audit of the labels that it was trained on, if there is one.
        folds: k-fold evaluations of its recipe, of the head and of all stages.
        parent: the run that it started from, if it did.
        unknown: how well it tells photos that show none of its classes, if that was measured.
        curves: of the probabilities of `split`, where they are kept.
    """

    run: Run
    record: RunRecord
    recipe: Recipe
    outcome: Summary
    epochs: tuple[Epoch, ...]
    split: Literal["test", "val"]
    evaluation: Evaluation | None
    predictions: tuple[Guess, ...] | None
    calibration: Calibration
    explanations: tuple[ExplanationRecord, ...] | None
    audit: AuditRecord | None
    digests: dict[str, str]
    choice: MeasuredChoice | None
    labels: LabelAuditRecord | None = None
    folds: tuple[FoldRecord, ...] = ()
    parent: ParentRecord | None = None
    unknown: UnknownRecord | None = None
    curves: AnswerCurves | None = None


def read_run_data(run: Run, *, raw: bool = False) -> RunData:
    """Read a finished run; raises `RunError` for a damaged file, or a missing one it must have.

    All probabilities are calibrated, unless `raw` asks for the network's own.
    """
    record = _required(run, directory.RECORD, RunRecord)
    split: Literal["test", "val"] = "test" if record.count("test") else "val"
    explanations = f"{directory.EXPLANATIONS}/{directory.EXPLANATIONS_INDEX}"
    recipe, photos = read_recipe(run), read_split(run)
    calibration = read_calibration(run, raw=raw)
    evaluation = read_evaluation(run, split)
    table_path = run.file(directory.predictions(split))
    table = read_table(table_path) if table_path.is_file() else None
    predictions = table.guesses(calibration) if table else None
    if evaluation is not None and predictions is not None:
        _check_agreement(table_path, evaluation, predictions)
    return RunData(
        run,
        record,
        recipe,
        _required(run, directory.SUMMARY, Summary),
        read_metrics(run) if run.file(directory.METRICS).is_file() else (),
        split,
        _under(calibration, evaluation, table),
        predictions,
        calibration,
        _optional(run, explanations, tuple[ExplanationRecord, ...]),
        _optional(run, directory.AUDIT, AuditRecord),
        {labelled_photos.photo_name(row, recipe.data.root): row.sha256 for row in photos},
        find_choice(run, recipe, photos),
        find_label_audit(run, recipe, photos),
        tuple(_fold_evaluations(run)),
        read_parent(run),
        find_unknown(run),
        _curves(calibration, table),
    )


def _curves(calibration: Calibration, table: LabelledLogits | None) -> AnswerCurves | None:
    if table is None or not len(table.labels):
        return None
    return answer_curves(calibration.apply(table.logits), table.labels, table.classes)


def _fold_evaluations(run: Run) -> Iterator[FoldRecord]:
    """Those with at least one division of the photos whose folds are all there."""
    for name in (FOLDS, FOLDS_WITH_TUNING):
        record = _optional(run, name, FoldRecord)
        if record is not None and (whole := record.whole_seeds()).results:
            yield whole


def _under(
    calibration: Calibration, evaluation: Evaluation | None, table: LabelledLogits | None
) -> Evaluation | None:
    """The evaluation under a calibration; what another one gave is worked out again.

    Without the table that is not possible, and it counts as missing.
    """
    if evaluation is None:
        return None
    kept, threshold = evaluation.abstaining, calibration.threshold
    same_threshold = (kept and kept.probability) == (threshold and threshold.probability)
    if evaluation.temperature == calibration.temperature and same_threshold:
        return evaluation
    return evaluation.model_copy(update=score(table, calibration)) if table else None


def _required(run: Run, name: str, kind: Any) -> Any:
    return validate_record(run.file(name), run.read(name, files.TABLE_BYTES), kind)


def _optional(run: Run, name: str, kind: Any) -> Any:
    return _required(run, name, kind) if run.file(name).is_file() else None


def _check_agreement(path: Path, evaluation: Evaluation, predictions: tuple[Guess, ...]) -> None:
    """Raise `RunError` unless the confusion matrix counts the photos of the predictions."""
    predicted = Counter((guess.label, guess.predicted) for guess in predictions)
    classes, rows = evaluation.classes, evaluation.confusion
    counted = Counter(
        {
            (label, predicted): n
            for label, row in zip(classes, rows, strict=True)
            for predicted, n in zip(classes, row, strict=True)
        }
    )
    if predicted != counted:
        message = "does not agree with the evaluation beside it"
        raise RunError(Problem(str(path), message, "run `tlcli evaluate` again"))
