"""What the JSON files of a run hold, typed: records of training, evaluation and explanation.

Numbers are checked when they are read, so that what is made of them need not ask again. Keys that a
later version adds are passed over.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from tlcli.errors import Problem, RunError

#: What to do about a file that holds something else.
AGAIN = "make it again, or remove it"

Part = TypeVar("Part")

#: A mean of shares may come out above 1 by a rounding error.
Share = Annotated[float, Field(ge=0, le=1 + 1e-9)]
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


def checked(path: Path, value: Any, kind: type[Part], line: int | None = None) -> Part:
    """The value of a file, or of one of its lines, as one of the kinds below.

    Raises `RunError` with the first place in it that does not fit.
    """
    try:
        found: Part = _adapter(cast(Any, kind)).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        where = f"{path}:{line}" if line else str(path)
        message = f"{place}: {first['msg']}" if place else str(first["msg"])
        raise RunError(Problem(where, message, AGAIN)) from error
    return found


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


class Record(_Part):
    """`run.json`: what was known before training."""

    created: str
    command: tuple[str, ...] = ()
    base: str
    seed: int
    recipe_fingerprint: str
    dataset_fingerprint: str
    classes: tuple[str, ...]
    photos: dict[str, dict[str, Count]]
    weights: dict[str, Any] = {}
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}

    @property
    def devices(self) -> list[str]:
        """What it was trained on."""
        processor, found = self.machine.get("processor"), self.machine.get("devices") or []
        return [str(name) for name in (processor, *found) if name]

    def count(self, split: str) -> int:
        """The photos of a split."""
        return sum(self.photos.get(split, {}).values())


class Score(_Part):
    """A score on the test photos: a share, a mean loss, and of how many photos."""

    accuracy: Share
    loss: NonNegativeFloat
    n: Count

    @property
    def right(self) -> int:
        """The photos whose class was named."""
        return round(self.accuracy * self.n)


class StageResult(_Part):
    """What a stage came to, in seconds and by its best epoch, counted from 1."""

    name: str
    epochs: PositiveInt
    best_epoch: PositiveInt
    val_loss: NonNegativeFloat | None = None
    val_accuracy: Share | None = None
    seconds: NonNegativeFloat
    test: Score | None = None


class Extraction(_Part):
    """Photos that went through the trunk, and rows computed and found, by boundary."""

    images: Count = 0
    computed: dict[str, Count] = {}
    stored: dict[str, Count] = {}


class Outcome(_Part):
    """`summary.json`; `seconds` are those of every act."""

    stages: Annotated[tuple[StageResult, ...], Field(min_length=1)]
    test: Score | None = None
    extraction: Extraction = Extraction()
    seconds: dict[str, NonNegativeFloat] = {}


class Epoch(_Part):
    """A line of `metrics.jsonl`; epochs count from 1 in every stage."""

    stage: str
    epoch: PositiveInt
    loss: NonNegativeFloat
    accuracy: Share
    val_loss: NonNegativeFloat | None = None
    val_accuracy: Share | None = None
    learning_rate: NonNegativeFloat
    seconds: NonNegativeFloat = 0.0


class Bin(_Part):
    """Predictions of like confidence: how many, their mean confidence, the share of right ones."""

    low: Share
    high: Share
    n: Count
    confidence: Share | None = None
    accuracy: Share | None = None


class Reliability(_Part):
    """Bins of the probabilities as they are, and after temperature scaling."""

    bins: tuple[Bin, ...] = ()
    calibrated_bins: tuple[Bin, ...] | None = None


class Guess(_Part):
    """A photo with its label, the class that was named, and that class's probability."""

    path: str
    label: str
    predicted: str
    probability: Share


class ClassScore(_Part):
    """How one class fares; None where a figure is not defined."""

    name: str = Field(validation_alias="class")
    support: Count
    precision: Share | None = None
    recall: Share | None = None
    f1: Share | None = None
    roc_auc: Share | None = None
    average_precision: Share | None = None


class Majority(_Part):
    """The share of right answers for naming one class always."""

    name: str = Field(validation_alias="class")
    accuracy: Share


class Abstaining(_Part):
    """What is left where the network answers only from a probability on."""

    probability: Share
    answered: Count
    coverage: Share
    precision: Share | None = None
    precision_interval: tuple[Share, Share]


class Scaled(_Part):
    """Scores of the probabilities after temperature scaling."""

    temperature: float
    log_loss: float
    brier: float
    ece: Share


class TopK(_Part):
    """The share of photos whose class is among the k likeliest."""

    k: int
    accuracy: Share


class Averages(_Part):
    """Means over the classes, each class counting alike."""

    precision: Share
    recall: Share
    f1: Share


class Evaluation(_Part):
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
    count: Count = 0
    paths: tuple[str, ...] = ()


class Audit(_Part):
    """`audit.json`."""

    findings: tuple[Finding, ...]
