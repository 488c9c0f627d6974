"""The record of a k-fold evaluation: what `tlcli evaluate --folds` has measured, fold after fold.

It is written after every fold, so that an evaluation that was stopped goes on with the next one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt

from tlcli.runs.evaluation_records import Guess
from tlcli.runs.records import Count, RecordPart, StepMethods, read_record
from tlcli.system import files

#: The folder of k-fold evaluations of recipes, beside the runs.
FOLD_EVALUATIONS = "folds"

#: The file of one in a run or in a folder: of the stages of the head alone, and of all stages.
FOLDS, FOLDS_WITH_TUNING = "folds.json", "folds-tuning.json"


class FoldResult(RecordPart):
    """What the network of one fold says of the photos that it was not trained on.

    Attributes:
        seed: of the division into folds and of training.
        fold: from 1.
        fitted, val: photos that were trained on, and those that chose the best epoch.
        judged, right: photos that were judged by class, and those of them with the right answer.
        log_loss: of the judged photos, calibrated on those of `val` if there are any.
        mistakes: in the order of the photos.
    """

    seed: Count
    fold: PositiveInt
    fitted: PositiveInt
    val: Count
    judged: tuple[Count, ...]
    right: tuple[Count, ...]
    log_loss: NonNegativeFloat
    mistakes: tuple[Guess, ...]
    seconds: NonNegativeFloat

    @property
    def n(self) -> int:
        """The photos that were judged."""
        return sum(self.judged)

    @property
    def accuracy(self) -> float:
        """Their share with the right answer."""
        return sum(self.right) / self.n


class FoldSettings(RecordPart):
    """What two evaluations must have in common for their folds to be those of one.

    Attributes:
        recipe: the fingerprint of the recipe with the stages that are trained.
        data: a fingerprint of the photos with their labels.
        val: those of them that a run holds back to choose the best epoch.
        stages: that are trained in every fold.
    """

    recipe: str
    data: str
    val: Count
    folds: Annotated[int, Field(ge=2)]
    stages: Annotated[tuple[str, ...], Field(min_length=1)]


class FoldRecord(RecordPart):
    """`folds.json`.

    Attributes:
        name: of the recipe.
        photos: of training and validation, copies counted once.
        images: photos and views that went through the trunk, since the store lacked their rows.
        precision: that the base computed in.
        step_methods: how training steps were computed.
        results: seed after seed, and fold after fold.
    """

    settings: FoldSettings
    name: str
    base: str
    image_size: tuple[PositiveInt, PositiveInt]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    photos: PositiveInt
    images: Count
    precision: str
    step_methods: StepMethods = StepMethods()
    results: tuple[FoldResult, ...] = ()

    def find(self, seed: int, fold: int) -> FoldResult | None:
        """The result of a fold, if it is there."""
        for result in self.results:
            if (result.seed, result.fold) == (seed, fold):
                return result
        return None

    def whole_seeds(self) -> FoldRecord:
        """The record with the results of those seeds alone of which every fold is there."""
        seeds = [result.seed for result in self.results]
        whole = tuple(r for r in self.results if seeds.count(r.seed) == self.settings.folds)
        return self.model_copy(update={"results": whole})


def read_folds(path: Path) -> FoldRecord:
    """The record in a file. Raises `RunError` where it is missing or damaged."""
    return read_record(path, FoldRecord, "a k-fold evaluation", "tlcli evaluate --folds 5 --again")


def write_folds(path: Path, record: FoldRecord) -> None:
    """Write the record, whole."""
    files.write_json(path, record.model_dump())
