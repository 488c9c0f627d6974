"""The record of a range test of learning rates: what `tlcli find-lr` has measured of a stage."""

from __future__ import annotations

from pathlib import Path

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from tlcli.runs.records import RecordPart, read_record
from tlcli.system import files

#: The folder of range tests, beside the runs, and the record in the folder of each.
RATES = "rates"
RATE_TEST = "find-lr.json"


class RateTestRecord(RecordPart):
    """`find-lr.json`.

    Attributes:
        stage: its name; `freeze_until` is its boundary, None for a head.
        data: a fingerprint of the training photos with their labels.
        suggested: the rate that is suggested; None where the curve suggests none.
        in_recipe: the rate that the recipe had.
        tests: with other orders of the photos, whose mean was looked at.
    """

    stage: str
    freeze_until: str | None
    base: str
    image_size: tuple[PositiveInt, PositiveInt]
    data: str
    suggested: PositiveFloat | None
    in_recipe: NonNegativeFloat
    tests: PositiveInt


def read_rate_test(folder: Path) -> RateTestRecord:
    """The record in the folder of a test. Raises `RunError` where it is missing or damaged."""
    return read_record(folder / RATE_TEST, RateTestRecord, "a range test", "tlcli find-lr")


def write_rate_test(folder: Path, record: RateTestRecord) -> None:
    """Write the record of a range test into its folder."""
    files.write_json(folder / RATE_TEST, record.model_dump())
