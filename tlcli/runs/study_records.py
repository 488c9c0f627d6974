"""What the JSON files of a study hold, and what the record of a trial has beside that of a run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import NonNegativeFloat

from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.records import Count, RecordPart, Share, validate_record

TrialState = Literal["complete", "pruned", "failed"]


class StudyRecord(RecordPart):
    """`study.json`: what must be equal for a study to be gone on with.

    Attributes:
        space: the values of each setting as text.
        stages: the names of those that trials train.
        objective: the metric of the validation photos that trials are compared by.
        batch: how many trials are planned at once.
    """

    space: dict[str, str]
    stages: tuple[str, ...]
    objective: Literal["val_loss", "val_accuracy"]
    seed: int
    batch: int


class TrialRecord(RecordPart):
    """What makes a run a trial.

    Attributes:
        settings: those that the search has chosen, by their keys.
        together: whether it was trained beside others, so that no model was kept, and its numbers
            are those of a run by itself only within rounding.
        message: why it failed.
    """

    number: Count
    state: TrialState
    settings: dict[str, Any]
    together: bool
    message: str = ""


class TrialScore(RecordPart):
    """A trial as the outcome of a study lists it: the values are those of its best epoch."""

    number: Count
    state: TrialState
    settings: dict[str, Any]
    val_loss: NonNegativeFloat | None = None
    val_accuracy: Share | None = None
    epochs: Count = 0
    message: str = ""


def read_trial_record(run: Run) -> TrialRecord | None:
    """What a run records of itself as a trial; None for a run that is none.

    Raises `RunError` for a damaged record.
    """
    value = run.record().get(directory.TRIAL)
    return (
        None if value is None else validate_record(run.file(directory.RECORD), value, TrialRecord)
    )


def is_study(run: Run) -> bool:
    """Whether a folder is a study."""
    return run.file(directory.STUDY).is_file()
