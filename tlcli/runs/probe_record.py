"""The record of a probe: what `tlcli probe` has measured, for whatever reads it later."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt

from tlcli.runs.records import Count, RecordPart, Share, read_record
from tlcli.system import files

#: The folder of probes, beside the runs, and the files in the folder of each.
PROBES = "probes"
PROBE = "probe.json"
ACCURACY_CHARTS = ("accuracy.png", "accuracy.svg")
LEARNING_CHARTS = ("learning-curve.png", "learning-curve.svg")

#: Two boundaries are told apart where chance alone gives such a difference less often than this.
SIGNIFICANCE = 0.05


class ProbedBoundary(RecordPart):
    """How well the features at a boundary tell the classes apart, by cross-validation.

    Attributes:
        accuracy: of a linear classifier on photos that it was not fitted on; `low` and `high` are
            the ends of its interval.
        knn: the accuracy of a vote of the nearest photos.
        p: of the paired test against the boundary with the highest accuracy; 1 for that one.
        parameters_above: trainable parameters of the base above it.
        row_bytes: of a row that training from there keeps in the store.
        seconds: that the classifiers took.
    """

    name: str
    accuracy: Share
    low: Share
    high: Share
    knn: Share
    p: Share
    parameters_above: Count
    row_bytes: PositiveInt
    seconds: NonNegativeFloat


class LearningPoint(RecordPart):
    """The accuracy with a share of the photos; `photos` is the mean number fitted on."""

    share: Share
    photos: PositiveInt
    accuracy: Share
    low: Share
    high: Share


class PairedDifference(RecordPart):
    """By how much one accuracy is higher than another on the same photos.

    Attributes:
        low, high: the ends of its interval.
        p: of the paired test that both are equal.
    """

    value: Annotated[float, Field(ge=-1, le=1)]
    low: Annotated[float, Field(ge=-1, le=1)]
    high: Annotated[float, Field(ge=-1, le=1)]
    p: Share

    @property
    def certain(self) -> bool:
        """Whether chance alone would hardly make it."""
        return self.p < SIGNIFICANCE


def find_most_accurate(rows: Sequence[ProbedBoundary]) -> ProbedBoundary:
    """The boundary with the highest accuracy; of equal ones the highest in the network."""
    return max(reversed(rows), key=lambda row: row.accuracy)


class ProbeRecord(RecordPart):
    """`probe.json`.

    Attributes:
        recipe: the name of the recipe.
        data: a fingerprint of the photos with their labels.
        photos, classes, folds: of the cross-validation.
        majority: the share of the most frequent class.
        boundaries: from the lowest to the highest.
        best: the highest boundary that cannot be told apart from the most accurate one.
        foreignness: by how much the most accurate boundary is better than the top of the base.
        slope: what the last doubling of the photos has gained at `best`.
        images: photos that went through the network from their pixels.
        seconds: of the features, and of the classifiers.
    """

    recipe: str
    base: str
    image_size: tuple[PositiveInt, PositiveInt]
    weights: str
    data: str
    photos: PositiveInt
    classes: PositiveInt
    folds: PositiveInt
    majority: Share
    boundaries: Annotated[tuple[ProbedBoundary, ...], Field(min_length=1)]
    best: str
    learning_curve: tuple[LearningPoint, ...]
    foreignness: PairedDifference
    slope: PairedDifference
    images: Count
    seconds: dict[str, NonNegativeFloat]

    @property
    def most_accurate(self) -> ProbedBoundary:
        """The boundary with the highest accuracy; of equal ones the highest in the network."""
        return find_most_accurate(self.boundaries)

    def boundary(self, name: str) -> ProbedBoundary:
        """The row of a boundary."""
        return next(row for row in self.boundaries if row.name == name)


def fingerprint_photos(photos: Iterable[tuple[str, str]]) -> str:
    """What tells photos, by their hashes and the names of their classes, from others; in hex."""
    digest = hashlib.sha256()
    for photo, label in sorted(set(photos)):
        digest.update(f"{photo} {label}\n".encode())
    return digest.hexdigest()


def read_probe(folder: Path) -> ProbeRecord:
    """The record in the folder of a probe. Raises `RunError` where it is missing or damaged."""
    return read_record(folder / PROBE, ProbeRecord, "a probe", "tlcli probe")


def write_probe(folder: Path, record: ProbeRecord) -> None:
    """Write the record of a probe into its folder."""
    files.write_json(folder / PROBE, record.model_dump())
