"""The run that another one started from, as the other records it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, StrictStr

from tlcli.errors import Problem, RunError, reason
from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.model_file import DAMAGED, archive_fingerprint
from tlcli.runs.records import Count, RecordPart, RunRecord, Summary, validate_record

#: The key of it in the record of a run.
PARENT = "parent"


class FreshTraining(RecordPart):
    """The training from the base that a network goes back to, to hold later ones against.

    Attributes:
        run: its name.
        seconds: of all its acts.
        photos: that it was trained on.
        stored: rows of features that were in the store before it.
    """

    run: StrictStr
    seconds: NonNegativeFloat
    photos: Count
    stored: Count = 0


class ParentRecord(RecordPart):
    """The run that training started from.

    Attributes:
        run: its name.
        path: its directory, absolute.
        model: the fingerprint of its model.
        classes: that it knows.
        photos: that it was trained on.
        fresh: how its network began, where that is known.
    """

    run: StrictStr
    path: StrictStr
    model: StrictStr
    classes: Annotated[tuple[StrictStr, ...], Field(min_length=2)]
    photos: Count
    fresh: FreshTraining | None = None


def read_parent(run: Run) -> ParentRecord | None:
    """The run that a run started from; None where it began with its base."""
    value = run.record().get(PARENT)
    if value is None:
        return None
    return validate_record(run.file(directory.RECORD), value, ParentRecord)


def describe_parent(recipe: Recipe) -> ParentRecord | None:
    """What a run of this recipe records of the run that it starts from, if it starts from one.

    Raises `RunError` where that run is damaged.
    """
    if recipe.start_from is None:
        return None
    run = Run(recipe.start_from)
    record = validate_record(run.file(directory.RECORD), run.record(), RunRecord)
    return ParentRecord(
        run=run.path.resolve().name,
        path=str(run.path),
        model=model_fingerprint(run),
        classes=record.classes,
        photos=record.count("train"),
        fresh=_fresh_training(run, record),
    )


def model_fingerprint(run: Run) -> str:
    """The fingerprint of a run's model; a `RunError` where it cannot be read."""
    path = run.file(directory.MODEL)
    try:
        return archive_fingerprint(path)
    except (OSError, ValueError, *DAMAGED) as error:
        raise RunError(Problem(str(path), f"cannot be read: {reason(error)}")) from error


def _fresh_training(run: Run, record: RunRecord) -> FreshTraining | None:
    if (earlier := read_parent(run)) is not None:
        return earlier.fresh
    summary = validate_record(run.file(directory.SUMMARY), run.read(directory.SUMMARY), Summary)
    return FreshTraining(
        run=run.path.resolve().name,
        seconds=round(sum(summary.seconds.values()), 2),
        photos=record.count("train"),
        stored=sum(summary.extraction.stored.values()),
    )
