"""The record of a finished search: what `tlcli tune` has found, as the report reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeFloat, PositiveInt

from tlcli.runs import directory
from tlcli.runs.records import Count, RecordPart, Share, read_record
from tlcli.runs.study_records import TrialScore


class MeanScore(RecordPart):
    """A metric of the validation photos under other seeds; no mean where none came to an end."""

    values: tuple[NonNegativeFloat, ...]
    mean: NonNegativeFloat | None


class SeedMeans(RecordPart):
    """A recipe under other seeds."""

    val_loss: MeanScore
    val_accuracy: MeanScore


class SplitScore(RecordPart):
    """The complete run of a recipe on the photos that the search did not look at."""

    accuracy: Share
    accuracy_interval: tuple[Share, Share]


class SearchedRecipe(RecordPart):
    """The default or the winner; `val` is there where there were no test photos."""

    seeds: SeedMeans
    test: SplitScore | None = None
    val: SplitScore | None = None

    @property
    def score(self) -> SplitScore | None:
        """That of its complete run."""
        return self.test or self.val


class Winner(SearchedRecipe):
    """The best trial, with the settings that the search has chosen, by their keys."""

    number: Count
    settings: dict[str, Any]
    val_loss: NonNegativeFloat
    val_accuracy: Share


class TestedPair(RecordPart):
    """The complete runs of default and winner on the same photos: how many, and what they show."""

    split: str
    n: PositiveInt
    verdict: str


class Comparison(RecordPart):
    """Default and winner, compared; `seeds` are those under which both were repeated."""

    seeds: tuple[Count, ...]
    photos: TestedPair


class TuningRecord(RecordPart):
    """`tuning.json`, as far as it is read again.

    Attributes:
        data: a fingerprint of the training photos with their labels; empty in records of an
            earlier version.
    """

    objective: str
    base: str = ""
    image_size: tuple[PositiveInt, PositiveInt] | None = None
    data: str = ""
    trials: tuple[TrialScore, ...] = Field(min_length=1)
    best: Winner
    default: SearchedRecipe
    comparison: Comparison


def read_tuning(folder: Path) -> TuningRecord:
    """The outcome in the folder of a study. Raises `RunError` where it is missing or damaged."""
    return read_record(folder / directory.TUNING, TuningRecord, "a search", "tlcli tune")
