"""How well a run tells photos that are like none of its training photos, as it was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import NonNegativeFloat, StrictStr

from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.model_file import DAMAGED, archive_fingerprint
from tlcli.runs.records import Count, RecordPart, Share, validate_record
from tlcli.system import files


class MarkedPhotos(RecordPart):
    """Photos of one kind, and how many of them are called unknown.

    Attributes:
        name: the folder, or the class.
        marked: how many are unknown; None where no limit is in force.
        interval: of their share.
        auroc: the area under the ROC curve of the distance: how likely a photo of these lies
            farther than one of the split.
        auroc_probability: the same of the highest probability, where the lower one is the stranger.
    """

    name: StrictStr
    n: Count
    marked: Count | None
    interval: tuple[Share, Share] | None
    auroc: Share
    auroc_probability: Share


class UnknownRecord(RecordPart):
    """`unknown.json`, and what `evaluate --unknown --json` adds.

    Attributes:
        model: the fingerprint of the model.
        split: the photos that are known.
        limit: the distance beyond which a photo is unknown; None where there is none.
        rate: the share of known photos that is expected beyond it.
        false_alarms: known photos that lie beyond it, and the interval of their share.
        foreign: photos of folders that show none of the classes.
        left_out: for each class its photos among those of the split, compared with the training
            photos of the other classes alone. The network has learned the class.
        level: of the intervals.
    """

    model: StrictStr
    split: StrictStr
    n: Count
    limit: NonNegativeFloat | None
    rate: Share | None
    false_alarms: Count | None
    false_alarms_interval: tuple[Share, Share] | None
    foreign: tuple[MarkedPhotos, ...] = ()
    left_out: tuple[MarkedPhotos, ...] = ()
    level: Share = 0.95

    @property
    def mean_left_out(self) -> float | None:
        """The mean area over the classes that were left out."""
        areas = [marked.auroc for marked in self.left_out]
        return sum(areas) / len(areas) if areas else None

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**self.model_dump(mode="json"), "mean_left_out": self.mean_left_out}


def write_unknown(run: Run, record: UnknownRecord) -> Path:
    """Keep the record in a run; returns the file."""
    path = run.file(directory.UNKNOWN)
    files.write_json(path, record.as_dict())
    return path


def find_unknown(run: Run) -> UnknownRecord | None:
    """The record that a run holds, if it is about its model.

    Raises `RunError` with the first place in the file that does not fit.
    """
    path = run.file(directory.UNKNOWN)
    if not path.is_file():
        return None
    record = validate_record(path, run.read(directory.UNKNOWN), UnknownRecord)
    try:
        return record if record.model == archive_fingerprint(run.file(directory.MODEL)) else None
    except (OSError, ValueError, *DAMAGED):
        return None
