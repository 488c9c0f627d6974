"""What evaluation, explanation and the audit leave in a run, typed."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
    model_validator,
)

from tlcli.runs.records import Count, RecordPart, Share


class Bin(RecordPart):
    """Predictions of like confidence: how many, their mean confidence, the share of right ones."""

    low: Share
    high: Share
    n: Count
    confidence: Share | None = None
    accuracy: Share | None = None


class Reliability(RecordPart):
    """Bins of the probabilities as they are, and after temperature scaling."""

    bins: tuple[Bin, ...] = ()
    calibrated_bins: tuple[Bin, ...] | None = None


class Guess(RecordPart):
    """A photo with its label, the class that was named, and that class's probability."""

    path: str
    label: str
    predicted: str
    probability: Share


class ClassScore(RecordPart):
    """How one class fares; None where a figure is not defined."""

    name: str = Field(validation_alias="class")
    support: Count
    precision: Share | None = None
    recall: Share | None = None
    f1: Share | None = None
    roc_auc: Share | None = None
    average_precision: Share | None = None


class Majority(RecordPart):
    """The share of right answers for naming one class always."""

    name: str = Field(validation_alias="class")
    accuracy: Share


class Abstaining(RecordPart):
    """What is left where the network answers only from a probability on."""

    probability: Share
    answered: Count
    coverage: Share
    precision: Share | None = None
    precision_interval: tuple[Share, Share]


class Scaled(RecordPart):
    """Scores of the probabilities after temperature scaling."""

    temperature: float
    log_loss: float
    brier: float
    ece: Share


class TopK(RecordPart):
    """The share of photos whose class is among the k likeliest."""

    k: int
    accuracy: Share


class Averages(RecordPart):
    """Means over the classes, each class counting alike."""

    precision: Share
    recall: Share
    f1: Share


class Evaluation(RecordPart):
    """`evaluation-SPLIT.json`, as `tlcli evaluate` writes it; `data` is where the photos were."""

    n: Count
    classes: tuple[str, ...]
    data: str | None = None
    seen_in_training: Count = 0
    accuracy: Share
    accuracy_interval: tuple[Share, Share]
    level: Share = 0.95
    majority: Majority
    balanced_accuracy: Share | None = None
    macro: Averages
    per_class: tuple[ClassScore, ...]
    top_k: TopK | None = None
    roc_auc: Share | None = None
    average_precision: Share | None = None
    log_loss: float
    brier: float
    ece: Share
    calibrated: Scaled | None = None
    abstaining: Abstaining | None = None
    reliability: Reliability = Reliability()
    confusion: tuple[tuple[Count, ...], ...]
    mistakes: tuple[Guess, ...] = ()
    unsure_correct: tuple[Guess, ...] = ()

    @property
    def right(self) -> int:
        """The photos whose class was named."""
        return sum(row[at] for at, row in enumerate(self.confusion))

    @model_validator(mode="after")
    def _matrix_fits(self) -> Evaluation:
        size = len(self.classes)
        if [len(row) for row in self.confusion] != [size] * size:
            raise ValueError(f"the confusion matrix must have {size} rows of {size} counts")
        return self


class ExplanationRecord(RecordPart):
    """A heat map over a photo, for one class; `image` is a file of the explanations folder."""

    path: str
    name: str = Field(validation_alias="class")
    method: str
    layer: str
    image: str


class FindingRecord(RecordPart):
    """Something that the check of the photos noticed."""

    kind: str
    severity: Literal["error", "warning", "note"] = "note"
    message: str
    hint: str = ""
    count: Count = 0
    paths: tuple[str, ...] = ()


class Audit(RecordPart):
    """`audit.json`."""

    findings: tuple[FindingRecord, ...]
