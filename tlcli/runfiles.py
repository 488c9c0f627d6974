"""What the JSON files of a run hold, typed: records of training, evaluation and explanation.

Numbers are checked when they are read, so that what is made of them need not ask again. Keys that a
later version adds are passed over.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Record(_Part):
    """`run.json`: what was known before training."""

    created: str
    command: tuple[str, ...] = ()
    base: str
    seed: int
    recipe_fingerprint: str
    dataset_fingerprint: str
    classes: tuple[str, ...]
    photos: dict[str, dict[str, int]]
    weights: dict[str, Any] = {}
    versions: dict[str, str] = {}
    devices: tuple[str, ...] = ()

    def count(self, split: str) -> int:
        """The photos of a split."""
        return sum(self.photos.get(split, {}).values())


class Score(_Part):
    """A score on the test photos: a share, a mean loss, and of how many photos."""

    accuracy: float
    loss: float
    n: int

    @property
    def right(self) -> int:
        """The photos whose class was named."""
        return round(self.accuracy * self.n)


class StageResult(_Part):
    """What a stage came to, in seconds and by its best epoch, counted from 1."""

    name: str
    epochs: int
    best_epoch: int
    val_loss: float | None = None
    val_accuracy: float | None = None
    seconds: float
    test: Score | None = None


class Extraction(_Part):
    """Photos that went through the trunk, and rows computed and found, by boundary."""

    images: int = 0
    computed: dict[str, int] = {}
    stored: dict[str, int] = {}


class Outcome(_Part):
    """`summary.json`; `seconds` are those of every act."""

    stages: tuple[StageResult, ...]
    test: Score | None = None
    extraction: Extraction = Extraction()
    seconds: dict[str, float] = {}


class Epoch(_Part):
    """A line of `metrics.jsonl`; epochs count from 1 in every stage."""

    stage: str
    epoch: int
    loss: float
    accuracy: float
    val_loss: float | None = None
    val_accuracy: float | None = None
    learning_rate: float


class Bin(_Part):
    """Predictions of like confidence: how many, their mean confidence, the share of right ones."""

    low: float
    high: float
    n: int
    confidence: float | None = None
    accuracy: float | None = None


class Reliability(_Part):
    """Bins of the probabilities as they are, and after temperature scaling."""

    bins: tuple[Bin, ...] = ()
    calibrated_bins: tuple[Bin, ...] | None = None


class Guess(_Part):
    """A photo with its label, the class that was named, and that class's probability."""

    path: str
    label: str
    predicted: str
    probability: float


class ClassScore(_Part):
    """How one class fares; None where a figure is not defined."""

    name: str = Field(validation_alias="class")
    support: int
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    roc_auc: float | None = None
    average_precision: float | None = None


class Majority(_Part):
    """The share of right answers for naming one class always."""

    name: str = Field(validation_alias="class")
    accuracy: float


class Abstaining(_Part):
    """What is left where the network answers only from a probability on."""

    probability: float
    answered: int
    coverage: float
    precision: float | None = None
    precision_interval: tuple[float, float]


class Scaled(_Part):
    """Scores of the probabilities after temperature scaling."""

    temperature: float
    log_loss: float
    brier: float
    ece: float


class TopK(_Part):
    """The share of photos whose class is among the k likeliest."""

    k: int
    accuracy: float


class Averages(_Part):
    """Means over the classes, each class counting alike."""

    precision: float
    recall: float
    f1: float


class Evaluation(_Part):
    """`evaluation-SPLIT.json`, as `tlcli evaluate` writes it; `data` is where the photos were."""

    n: int
    classes: tuple[str, ...]
    data: str | None = None
    seen_in_training: int = 0
    accuracy: float
    accuracy_interval: tuple[float, float]
    level: float = 0.95
    majority: Majority
    balanced_accuracy: float | None = None
    macro: Averages
    per_class: tuple[ClassScore, ...]
    top_k: TopK | None = None
    roc_auc: float | None = None
    average_precision: float | None = None
    log_loss: float
    brier: float
    ece: float
    calibrated: Scaled | None = None
    abstaining: Abstaining | None = None
    reliability: Reliability = Reliability()
    confusion: tuple[tuple[int, ...], ...]
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


class Explanation(_Part):
    """A heat map over a photo, for one class; `image` is a file of the explanations folder."""

    path: str
    name: str = Field(validation_alias="class")
    method: str
    layer: str
    image: str


class Finding(_Part):
    """Something that the check of the photos noticed."""

    kind: str
    severity: Literal["error", "warning", "note"] = "note"
    message: str
    hint: str = ""
    count: int = 0
    paths: tuple[str, ...] = ()


class Audit(_Part):
    """`audit.json`."""

    findings: tuple[Finding, ...]
