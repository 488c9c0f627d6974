"""The record of an advice: what `tlcli advise` has measured and concluded, for the report."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from tlcli.runs.probe_record import PairedDifference, ProbeRecord
from tlcli.runs.records import RecordPart, Share, read_record
from tlcli.system import files

#: In the folder of the probe that it rests on: the advice, and the recipe that it has written.
ADVICE, ADVISED_RECIPE = "advice.json", "recipe.yaml"

StrategyName = Literal[
    "train the head", "tune the top", "cut lower and augment", "train everything"
]


class MeasuredShare(RecordPart):
    """An accuracy with the ends of its interval, and the number of photos it was measured on."""

    accuracy: Share
    low: Share
    high: Share
    photos: PositiveInt


class TuningTrial(RecordPart):
    """One short tuning stage on a part of the training photos, judged on another part of them.

    Attributes:
        boundary: what it was frozen until.
        fitted: photos trained on.
        head: the network after its head was trained, before tuning.
        tuned: the same after tuning.
        gain: by how much the second is better, on the same photos.
        seconds: of all of it, features included.
    """

    boundary: str
    epochs: PositiveInt
    learning_rate: NonNegativeFloat
    fitted: PositiveInt
    head: MeasuredShare
    tuned: MeasuredShare
    gain: PairedDifference
    seconds: NonNegativeFloat


class BaseScore(RecordPart):
    """One of several bases, measured on the same photos; without numbers if that was impossible.

    Attributes:
        photos_per_second: through the whole base, decoding left out.
        answers_per_second: right answers for each second of a processor: accuracy times photos.
        tied: whether its interval overlaps with that of the most accurate one.
        missing: why it could not be measured.
    """

    name: str
    best: str = ""
    accuracy: Share | None = None
    low: Share | None = None
    high: Share | None = None
    photos_per_second: NonNegativeFloat | None = None
    answers_per_second: NonNegativeFloat | None = None
    tied: bool = False
    missing: str = ""


class AdviceRecord(RecordPart):
    """`advice.json`.

    Attributes:
        reasons: why, one sentence for each measurement.
        expected: of the advised plan, on photos that it was not trained on.
        seconds: that the advised plan will take; None where that cannot be estimated.
        spent: seconds that the measurements took.
        recipe_sha256: of the recipe that was written beside the record, to tell whether somebody
            has changed it since.
    """

    strategy: StrategyName
    base: str
    freeze_until: str | None
    reasons: tuple[str, ...]
    expected: MeasuredShare
    seconds: NonNegativeFloat | None
    spent: dict[str, NonNegativeFloat]
    probe: ProbeRecord
    trial: TuningTrial | None
    bases: tuple[BaseScore, ...]
    recipe_sha256: str = ""

    @property
    def untried(self) -> bool:
        """Whether tuning is advised without a trial, so that `expected` is that of a head alone."""
        return self.freeze_until is not None and self.trial is None


def read_advice(folder: Path) -> AdviceRecord:
    """The advice in the folder of a probe. Raises `RunError` where it is missing or damaged."""
    return read_record(folder / ADVICE, AdviceRecord, "an advice", "tlcli advise")


def write_advice(folder: Path, record: AdviceRecord) -> None:
    """Write the record of an advice into the folder of its probe."""
    files.write_json(folder / ADVICE, record.model_dump())
