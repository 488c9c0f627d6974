"""What the JSON files of a run hold, typed: records of training, evaluation and explanation.

Numbers are checked when they are read, so that what is made of them need not ask again. Keys that a
later version adds are passed over.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
)

from tlcli.errors import Problem, RunError
from tlcli.system import files

#: What to do about a file that holds something else.
AGAIN = "make it again, or remove it"

Part = TypeVar("Part")

#: A mean of shares may come out above 1 by a rounding error.
Share = Annotated[float, Field(ge=0, le=1 + 1e-9)]
Count = Annotated[int, Field(ge=0)]


class RecordPart(BaseModel):
    """What every record and each part of one has in common: it cannot change, and is finite."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


def validate_record(path: Path, value: Any, kind: type[Part], line: int | None = None) -> Part:
    """The value of a file, or of one of its lines, as one of the kinds below.

    Raises `RunError` with the first place in it that does not fit.
    """
    try:
        record: Part = _adapter(cast(Any, kind)).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        where = f"{path}:{line}" if line else str(path)
        message = f"{place}: {first['msg']}" if place else str(first["msg"])
        raise RunError(Problem(where, message, AGAIN)) from error
    return record


def read_record(path: Path, kind: type[Part], what: str, command: str) -> Part:
    """The record in a JSON file, as one of the kinds below.

    Raises `RunError` where it is missing or damaged. The message says `what` it is, and which
    command makes it again.
    """
    try:
        return validate_record(path, files.read_json(path), kind)
    except (OSError, ValueError) as error:
        hint = f"make it again with `{command}`"
        raise RunError(Problem(str(path), f"is no record of {what}", hint)) from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


class StepMethods(RecordPart):
    """How the training steps of a run are computed: the same formulas, other last bits.

    What is left out is as Keras and TensorFlow compute it.

    Attributes:
        fused_adam: Adam updates each variable in one operation.
        kernel_products: the layers whose kernels have their gradients by products of matrices.
        wide_depthwise: gradients of depthwise convolutions that are slow in bfloat16 are computed
            in float32.
        pointwise: without oneDNN, convolutions with a kernel of one place have the gradient of
            their input by a forward convolution, too, and so have the layers of `kernel_products`.
    """

    fused_adam: bool = False
    kernel_products: tuple[str, ...] = ()
    wide_depthwise: bool = False
    pointwise: bool = False


class RunRecord(RecordPart):
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
    precision: str | None = None
    precision_why: str = ""
    step_methods: StepMethods = StepMethods()

    @property
    def devices(self) -> list[str]:
        """What it was trained on."""
        processor, devices = self.machine.get("processor"), self.machine.get("devices") or []
        return [str(name) for name in (processor, *devices) if name]

    def count(self, split: str) -> int:
        """The photos of a split."""
        return sum(self.photos.get(split, {}).values())


class Score(RecordPart):
    """How a network does on some photos: accuracy, mean cross-entropy, and how many they were."""

    accuracy: Share
    loss: NonNegativeFloat
    n: Count

    @property
    def right(self) -> int:
        """How many photos were classified correctly."""
        return round(self.accuracy * self.n)


class StageResult(RecordPart):
    """A stage in `summary.json`: the figures of its best epoch, and its score on the test photos.

    Attributes:
        epochs: how many were trained.
        best_epoch: counted from 1.
        averaged: the epochs whose average the stage handed on, if they are several; left out
            otherwise.
        seconds: of all its epochs.
    """

    name: str
    epochs: PositiveInt
    best_epoch: PositiveInt
    averaged: tuple[PositiveInt, ...] = ()
    val_loss: NonNegativeFloat | None = None
    val_accuracy: Share | None = None
    seconds: NonNegativeFloat
    test: Score | None = None

    @model_serializer(mode="wrap")
    def _without_average(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        if not self.averaged:
            values.pop("averaged", None)
        return values


class Extraction(RecordPart):
    """How many images went through the trunk, and rows computed and already stored, by boundary."""

    images: Count = 0
    computed: dict[str, Count] = {}
    stored: dict[str, Count] = {}


class Summary(RecordPart):
    """`summary.json`: the results of a run; `seconds` are those of each of its acts."""

    stages: Annotated[tuple[StageResult, ...], Field(min_length=1)]
    test: Score | None = None
    extraction: Extraction = Extraction()
    seconds: dict[str, NonNegativeFloat] = {}


class Epoch(RecordPart):
    """A line of `metrics.jsonl`; epochs count from 1 in every stage.

    `top_5`, the share of photos whose label is among the five likeliest classes, is left out where
    there are no more than five classes.
    """

    stage: str
    epoch: PositiveInt
    loss: NonNegativeFloat
    accuracy: Share
    val_loss: NonNegativeFloat | None = None
    val_accuracy: Share | None = None
    top_5: Share | None = None
    val_top_5: Share | None = None
    learning_rate: NonNegativeFloat
    seconds: NonNegativeFloat = 0.0

    @model_serializer(mode="wrap")
    def _without_top_5(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        for name in ("top_5", "val_top_5"):
            if values[name] is None:
                del values[name]
        return values


class BriefRecord(RecordPart):
    """As much of `run.json` as a list of runs tells."""

    created: str = "?"
    base: str = "?"
    precision: str | None = None
    dataset_fingerprint: str = ""
    photos: dict[str, dict[str, Count]] = {}

    def count(self, split: str) -> int:
        """The photos of a split."""
        return sum(self.photos.get(split, {}).values())


class BriefScore(RecordPart):
    """As much of a score."""

    accuracy: Share
    n: Count | None = None


class BriefStage(RecordPart):
    """As much of what a stage came to as a list of runs and the curves tell."""

    name: str = ""
    best_epoch: PositiveInt | None = None
    val_loss: NonNegativeFloat | None = None
    val_accuracy: Share | None = None


class BriefSummary(RecordPart):
    """As much of `summary.json`."""

    stages: tuple[BriefStage, ...] = ()
    test: BriefScore | None = None
    seconds: dict[str, NonNegativeFloat] = {}
