"""Where the time of a run went, and what the feature store saved."""

from __future__ import annotations

from dataclasses import dataclass

from tlcli.report.run_data import RunData


@dataclass(frozen=True)
class PhaseTime:
    """A phase of a run: its seconds, and their share of those of the longest phase."""

    name: str
    seconds: float
    share: float


@dataclass(frozen=True)
class TimeAccount:
    """Time, and passes of photos through the frozen part of the network.

    Attributes:
        phases: of the run, in order.
        total: seconds of all phases.
        passes: photos that this run sent through the frozen part.
        usual: photos that training without a feature store sends through it in the same epochs:
            all training and validation photos in each, and the test photos after each stage.
        computed, stored: rows of the store that were computed, and that were there before.
        spared: seconds saved by the passes that were not needed, at this run's own rate; None where
            it computed too few to know the rate.
    """

    phases: tuple[PhaseTime, ...]
    total: float
    passes: int
    usual: int
    computed: int
    stored: int
    spared: float | None


#: Passes from which on the rate of an extraction is reliable.
ENOUGH = 100


def time_account(data: RunData) -> TimeAccount:
    """Where the time of a run went, from its summary."""
    outcome, record = data.outcome, data.record
    seconds = outcome.seconds
    longest = max(seconds.values(), default=0) or 1.0
    epochs = sum(stage.epochs for stage in outcome.stages)
    train, val, test = (record.count(split) for split in ("train", "val", "test"))
    usual = epochs * (train + val) + len(outcome.stages) * test
    passes = outcome.extraction.images
    if data.recipe.augment.views == "live":
        passes += epochs * train
    rate = None
    if outcome.extraction.images >= ENOUGH and seconds.get("extract"):
        rate = seconds["extract"] / outcome.extraction.images
    return TimeAccount(
        tuple(PhaseTime(name, value, value / longest) for name, value in seconds.items()),
        sum(seconds.values()),
        passes,
        usual,
        sum(outcome.extraction.computed.values()),
        sum(outcome.extraction.stored.values()),
        None if rate is None or usual <= passes else rate * (usual - passes),
    )
