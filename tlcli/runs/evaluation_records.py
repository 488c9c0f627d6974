"""The records that evaluation, explanation and the audit write into a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    model_validator,
)

from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.records import Count, RecordPart, Share, validate_record
from tlcli.system import files

#: The scores of probabilities that calibration changes.
_LOSSES = ("log_loss", "brier", "ece")

#: A probability, or a mean of some; in float32 it may come out above 1 by a rounding error.
Probability = Annotated[float, Field(ge=0, le=1 + 1e-6)]


class ReliabilityBin(RecordPart):
    """Predictions of similar confidence: how many, their mean confidence and their accuracy."""

    low: Share
    high: Share
    n: Count
    confidence: Probability | None = None
    accuracy: Share | None = None


class Reliability(RecordPart):
    """Reliability bins of the probabilities, and of the network's own where those are others."""

    bins: tuple[ReliabilityBin, ...] = ()
    uncalibrated_bins: tuple[ReliabilityBin, ...] | None = None


class Guess(RecordPart):
    """A photo with its label, the predicted class, and that class's probability.

    `log_odds` is ln(p / (1 - p)) of that, which ranks the surest photos; 0.1.0 wrote none.
    """

    path: str
    label: str
    predicted: str
    probability: Probability
    log_odds: float | None = None

    @property
    def confidence(self) -> tuple[float, float]:
        """What guesses are ranked by."""
        return (self.probability, self.log_odds or 0.0)


class ClassScores(RecordPart):
    """The scores of one class; None where a score is not defined."""

    model_config = ConfigDict(populate_by_name=True)

    name: str = Field(validation_alias="class", serialization_alias="class")
    support: Count
    precision: Share | None = None
    recall: Share | None = None
    f1: Share | None = None
    roc_auc: Share | None = None
    average_precision: Share | None = None


class MajorityBaseline(RecordPart):
    """The accuracy of always answering the most frequent class."""

    model_config = ConfigDict(populate_by_name=True)

    name: str = Field(validation_alias="class", serialization_alias="class")
    accuracy: Share


class Abstention(RecordPart):
    """Answers with at least some probability: how many, and how many of them are right.

    Attributes:
        probability: the threshold, a calibrated probability.
        coverage: the share of photos that are answered.
        precision: the share of the answers that are right.
        target_precision: what the threshold was chosen for on the validation photos.
    """

    probability: Share
    target_precision: Share | None = None
    answered: Count
    coverage: Share
    precision: Share | None = None
    precision_interval: tuple[Share, Share]


class UncalibratedScores(RecordPart):
    """Scores of the network's own probabilities, beside those of the calibrated ones."""

    log_loss: float
    brier: float
    ece: Probability


class TopK(RecordPart):
    """The share of photos whose class is among the k likeliest."""

    k: int
    accuracy: Share


class MacroAverages(RecordPart):
    """Means over the classes that have photos; each class counts the same."""

    precision: Share
    recall: Share
    f1: Share


class EvaluatedModel(RecordPart):
    """The run that was evaluated: its name, its base, and when it was created."""

    run: str
    base: str | None = None
    created: str | None = None


class ScoresWithoutViews(RecordPart):
    """Scores of the photos alone, with which those of test-time augmentation are compared."""

    accuracy: Share
    log_loss: float


class EvaluationSubject(RecordPart):
    """The model and the photos of an evaluation.

    Attributes:
        split: of the run, or `data` or `csv` for other photos.
        data: the folder of the photos.
        seen_in_training: how many of the photos the model was trained on.
        copies: how many of the photos have the bytes of another one; each counts.
        precision: that the base computed in; None in records of earlier versions.
        tta: augmented views of each photo whose probabilities were averaged; 0 for none.
        without_tta: scores of the photos alone, where there were views.
    """

    split: str = ""
    model: EvaluatedModel | None = None
    data: str | None = None
    seen_in_training: Count = 0
    copies: Count = 0
    precision: str | None = None
    tta: Count = 0
    without_tta: ScoresWithoutViews | None = None


class EvaluationScores(RecordPart):
    """All numbers that follow from probabilities and labels; `level` is that of the intervals.

    Attributes:
        confusion: photos by true class (row) and predicted class (column).
        temperature: of all probabilities here; None where they are the network's own.
        log_loss, brier, ece: of these probabilities.
        uncalibrated: the same of the network's own, where they are calibrated.
    """

    n: Count
    classes: tuple[str, ...]
    accuracy: Share
    accuracy_interval: tuple[Share, Share]
    level: Share = 0.95
    majority: MajorityBaseline
    balanced_accuracy: Share | None = None
    macro: MacroAverages
    per_class: tuple[ClassScores, ...]
    top_k: TopK | None = None
    roc_auc: Share | None = None
    average_precision: Share | None = None
    temperature: float | None = None
    log_loss: float
    brier: float
    ece: Probability
    uncalibrated: UncalibratedScores | None = None
    abstaining: Abstention | None = None
    reliability: Reliability = Reliability()
    confusion: tuple[tuple[Count, ...], ...]

    @property
    def right(self) -> int:
        """The photos whose class was predicted."""
        return sum(row[at] for at, row in enumerate(self.confusion))

    @model_validator(mode="after")
    def _check_confusion(self) -> Self:
        size = len(self.classes)
        if [len(row) for row in self.confusion] != [size] * size:
            raise ValueError(f"the confusion matrix must have {size} rows of {size} counts")
        return self


# Pydantic takes the fields of the last base class first: the file begins with the subject.
class Evaluation(EvaluationScores, EvaluationSubject):
    """`evaluation-SPLIT.json` and what `tlcli evaluate --json` prints.

    Attributes:
        mistakes: the most confident ones first.
        unsure_correct: right answers, the least confident ones first.
    """

    mistakes: tuple[Guess, ...] = ()
    unsure_correct: tuple[Guess, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return self.model_dump(mode="json", by_alias=True)


def read_evaluation(run: Run, split: str) -> Evaluation | None:
    """The evaluation of a split that a run holds, or None.

    Raises `RunError` with the first place in the file that does not fit.
    """
    name = directory.evaluation(split)
    path = run.file(name)
    if not path.is_file():
        return None
    value = run.read(name, files.TABLE_BYTES)
    return validate_record(path, _in_this_form(value), Evaluation)


def _in_this_form(value: Any) -> Any:
    """An evaluation as it is written now; tlcli 0.1.0 wrote calibrated numbers beside the others.

    What does not have the form of 0.1.0 is left to the validation.
    """
    if not isinstance(value, dict) or not isinstance(value.get("calibrated"), dict):
        return value
    calibrated = value["calibrated"]
    value = {**value, **calibrated, "uncalibrated": {key: value.get(key) for key in _LOSSES}}
    if isinstance(bins := value.get("reliability"), dict):
        both = {"bins": bins.get("calibrated_bins"), "uncalibrated_bins": bins.get("bins")}
        value["reliability"] = both
    for key in ("mistakes", "unsure_correct"):
        if isinstance(guesses := value.get(key), list):
            value[key] = [_calibrated_guess(guess) for guess in guesses]
    return value


def _calibrated_guess(guess: Any) -> Any:
    if not isinstance(guess, dict) or "calibrated" not in guess:
        return guess
    return {**guess, "probability": guess["calibrated"]}


def write_evaluation(run: Run, evaluation: Evaluation) -> Path:
    """Write an evaluation into a run's folder; returns the path of the file."""
    path = run.file(directory.evaluation(evaluation.split))
    files.write_json(path, evaluation.as_dict())
    return path


class ExplanationRecord(RecordPart):
    """A heat map over a photo, for one class; `image` is a file of the explanations folder.

    `precision` is what the base computed in; earlier versions wrote none.
    """

    path: str
    name: str = Field(validation_alias="class")
    method: str
    layer: str
    precision: str | None = None
    image: str


class FindingRecord(RecordPart):
    """A finding of the check of the photos; `noun` is what the counted things are called."""

    kind: str
    severity: Literal["error", "warning", "note"] = "note"
    message: str
    hint: str = ""
    count: Count = 0
    noun: str = "file"
    paths: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class AuditRecord(RecordPart):
    """`audit.json`."""

    findings: tuple[FindingRecord, ...]
