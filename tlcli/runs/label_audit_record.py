"""The record of a label audit: what `tlcli audit labels` has found, for the report and later ones.

It lies beside the runs, as probes do, and belongs to a run that was trained on the same photos with
the same labels by the same base.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt

from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.probe_record import fingerprint_photos
from tlcli.runs.records import Count, RecordPart, Share, read_record
from tlcli.system import files

if TYPE_CHECKING:
    from tlcli.recipe.recipe import Recipe
    from tlcli.runs.inputs import RecordedPhoto

#: The folder of label audits, beside the runs, and the files in the folder of each.
LABEL_AUDITS = "label-audits"
LABEL_AUDIT, SUSPECTS_SHEET = "labels.json", "suspects.png"

#: The splits whose labels are audited.
AUDITED = ("train", "val")


class Neighbour(RecordPart):
    """A photo like another one, and how far from it: 1 less the cosine of their features."""

    path: str
    label: str
    distance: NonNegativeFloat


class Suspect(RecordPart):
    """A photo whose label may be wrong.

    Attributes:
        path: as seen from the folder of the data.
        suggested: the likelier class.
        score: by how much that class is likelier than the label, by classifiers that were not
            fitted on the photo; suspects are ordered by it.
        neighbours: the nearest photos with its label, then those of the likelier class; no suspects
            themselves.
    """

    path: str
    split: str
    label: str
    suggested: str
    score: Share
    neighbours: tuple[Neighbour, ...]


class SurestPhotos(RecordPart):
    """The half of the photos that the classifier is surest of, and how many labels disagree.

    Among them it makes hardly a mistake of its own, so that the share of those that disagree tells
    how many labels are wrong; `low` and `high` are the ends of that share's interval.
    """

    photos: PositiveInt
    disagree: Count
    low: Share
    high: Share


class LabelAuditRecord(RecordPart):
    """`labels.json`.

    Attributes:
        recipe: the name of the recipe.
        root: the folder that paths are relative to.
        data: a fingerprint of the audited photos with their labels.
        photos, classes, folds: of the cross-validation.
        boundaries: whose features were used.
        suspects: the likeliest to be wrong first.
        surest: what the number of wrong labels is estimated by.
        decided: suspects that are not listed, since a person has decided about them.
        images: photos that went through the network from their pixels.
        seconds: of the features, and of the classifiers.
    """

    recipe: str
    base: str
    image_size: tuple[PositiveInt, PositiveInt]
    weights: str
    root: str
    data: str
    photos: PositiveInt
    classes: PositiveInt
    folds: PositiveInt
    boundaries: Annotated[tuple[str, ...], Field(min_length=1)]
    suspects: tuple[Suspect, ...]
    surest: SurestPhotos
    decided: Count
    images: Count
    seconds: dict[str, NonNegativeFloat]

    @property
    def wrong(self) -> int:
        """How many labels are wrong, estimated."""
        return round(self.photos * self.surest.disagree / self.surest.photos)

    @property
    def wrong_interval(self) -> tuple[int, int]:
        """The ends of the interval of that estimate."""
        return round(self.photos * self.surest.low), round(self.photos * self.surest.high)

    @property
    def false_alarms(self) -> int:
        """How many of the suspects have the right label, by that estimate."""
        return max(0, len(self.suspects) - self.wrong)

    @property
    def alarms_interval(self) -> tuple[int, int]:
        """The ends of the interval of that number."""
        low, high = self.wrong_interval
        suspects = len(self.suspects)
        return max(0, suspects - high), max(0, suspects - low)

    @property
    def looks_right(self) -> bool:
        """Whether all labels may well be right: not one must be wrong."""
        return self.wrong_interval[0] < 1


def read_label_audit(folder: Path) -> LabelAuditRecord:
    """The record in the folder of an audit. Raises `RunError` where it is missing or damaged."""
    return read_record(
        folder / LABEL_AUDIT, LabelAuditRecord, "a label audit", "tlcli audit labels"
    )


def write_label_audit(folder: Path, record: LabelAuditRecord) -> None:
    """Write the record of an audit into its folder."""
    files.write_json(folder / LABEL_AUDIT, record.model_dump())


def find_label_audit(
    run: Run, recipe: Recipe, photos: Sequence[RecordedPhoto]
) -> LabelAuditRecord | None:
    """The audit of the labels that a run was trained on, if there is one.

    Raises `RunError` where such a record is damaged.
    """
    data = fingerprint_photos(
        (photo.sha256, photo.label) for photo in photos if photo.split in AUDITED
    )
    for root in dict.fromkeys((run.path.parent, directory.runs_root())):
        for path in sorted((root / LABEL_AUDITS).glob(f"*/{LABEL_AUDIT}")):
            record = read_label_audit(path.parent)
            if (record.base, record.data) == (recipe.base.name, data):
                return record
    return None
