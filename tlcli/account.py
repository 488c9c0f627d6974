"""Where the time of a run went, and what the feature store spared it."""

from __future__ import annotations

from dataclasses import dataclass

from tlcli.evidence import Evidence


@dataclass(frozen=True)
class Act:
    """A part of a run: its seconds, and its share of the longest one."""

    name: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Account:
    """Time, and passes of photos through the frozen part of the network.

    Attributes:
        passes: photos that this run took through it.
        usual: those that a loop takes that runs the whole network in every epoch, over the same
            epochs: all photos to train and to validate on in each, and the test photos after each
            stage.
        computed, stored: rows of the store that were made, and that were there.
        spared: seconds for the passes not made, at this run's own rate; None where it computed too
            few to tell.
    """

    acts: tuple[Act, ...]
    total: float
    passes: int
    usual: int
    computed: int
    stored: int
    spared: float | None


#: Passes from which on the rate of an extraction says something.
ENOUGH = 100


def settle(evidence: Evidence) -> Account:
    """The account of a run, from its summary."""
    outcome, record = evidence.outcome, evidence.record
    seconds = outcome.seconds
    longest = max(seconds.values(), default=0) or 1.0
    epochs = sum(stage.epochs for stage in outcome.stages)
    train, val, test = (record.count(split) for split in ("train", "val", "test"))
    usual = epochs * (train + val) + len(outcome.stages) * test
    passes = outcome.extraction.images
    if evidence.recipe.augment.views == "live":
        passes += epochs * train
    rate = None
    if outcome.extraction.images >= ENOUGH and seconds.get("extract"):
        rate = seconds["extract"] / outcome.extraction.images
    return Account(
        tuple(Act(name, value, value / longest) for name, value in seconds.items()),
        sum(seconds.values()),
        passes,
        usual,
        sum(outcome.extraction.computed.values()),
        sum(outcome.extraction.stored.values()),
        None if rate is None or usual <= passes else rate * (usual - passes),
    )
