"""How good a network is, in sentences: how sure that is, and what it is to be held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tlcli.evaluation.intervals import CONFIDENCE_LEVEL, Interval, PairedCounts, wilson_interval
from tlcli.report.html import points, share
from tlcli.report.run_data import Evidence
from tlcli.runs.evaluation_records import MajorityBaseline
from tlcli.system.console import counted


@dataclass(frozen=True)
class Measured:
    """A share of right answers with its Wilson interval."""

    title: str
    right: int
    n: int

    @property
    def accuracy(self) -> float:
        """The share."""
        return self.right / self.n

    @property
    def interval(self) -> Interval:
        """Where the true share lies, with a confidence of `LEVEL`."""
        return wilson_interval(self.right, self.n, CONFIDENCE_LEVEL)


@dataclass(frozen=True)
class Gain:
    """What one network gets right more often than another, on the same photos.

    Attributes:
        over: the stage that it is compared with.
        interval: of `difference`, the widest one that fits the two scores.
    """

    over: str
    difference: float
    interval: Interval

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves out zero."""
        low, high = self.interval
        return not low <= 0 <= high


@dataclass(frozen=True)
class Verdict:
    """The judgement on a run.

    Attributes:
        photos: what the scores were measured on.
        network: the finished network; None where there were neither test nor val photos.
        majority: naming the class that is most frequent, always.
        stages: the network after each stage, as far as it was tested.
        gain: of fine-tuning over the head alone.
        seen: photos that the network was trained on all the same.
    """

    photos: Literal["test", "val"]
    network: Measured | None
    majority: MajorityBaseline | None
    stages: tuple[Measured, ...]
    gain: Gain | None
    seen: int = 0

    @property
    def standing(self) -> Literal["above", "even", "below"]:
        """How the network's interval lies to the majority baseline."""
        assert self.network is not None
        assert self.majority is not None
        low, high = self.network.interval
        return (
            "above"
            if low > self.majority.accuracy
            else "below"
            if high < self.majority.accuracy
            else "even"
        )

    def sentences(self) -> list[str]:
        """The verdict in words, the most important sentence first."""
        if self.network is None:
            return ["There were no photos to test this network on, so its accuracy is unknown."]
        return [self._quality(), *self._baseline(), *self._fine_tuning(), *self._caution()]

    def _quality(self) -> str:
        assert self.network is not None
        low, high = self.network.interval
        kind = {"test": "test photo", "val": "validation photo"}[self.photos]
        return (
            f"It classifies {share(self.network.accuracy)} of {counted(self.network.n, kind)} "
            f"correctly; for new photos like these, expect {share(low)} to {share(high)}."
        )

    def _baseline(self) -> list[str]:
        if self.majority is None:
            return []
        said = f"always answering “{self.majority.name}”"
        there = share(self.majority.accuracy)
        return {
            "above": [f"That is more than chance: {said} would be right for {there}."],
            "even": [
                f"That cannot be distinguished from {said}, which would be right for {there}: "
                "the network is of no use yet."
            ],
            "below": [f"That is worse than {said}, which would be right for {there}."],
        }[self.standing]

    def _fine_tuning(self) -> list[str]:
        if self.gain is None:
            return []
        low, high = (points(end) for end in self.gain.interval)
        change = self.gain.difference
        between = f"(95% interval {low} to {high} points)"
        if change == 0:
            return [f"Fine-tuning gained nothing over the head alone on these photos {between}."]
        verb = "gained" if change > 0 else "lost"
        said = f"Fine-tuning {verb} {_size(change)} over the head alone {between}"
        return [f"{said}." if self.gain.told_apart else f"{said}, which may be chance."]

    def _caution(self) -> list[str]:
        said = []
        if self.photos == "val":
            said.append(
                "There were no test photos: the validation photos were also used to choose the "
                "best epoch, so the figures are optimistic."
            )
        if self.seen:
            said.append(
                f"{self.seen:,} of these photos {'was' if self.seen == 1 else 'were'} also "
                "among the training photos, byte for byte, so the figures are optimistic."
            )
        return said


def _size(difference: float) -> str:
    value = f"{100 * abs(difference):.1f}"
    return f"{value} percentage {'point' if value == '1.0' else 'points'}"


def judge(evidence: Evidence) -> Verdict:
    """The verdict that a run's files allow."""
    return Verdict(
        evidence.split,
        _network(evidence),
        _majority(evidence),
        tuple(
            Measured(stage.name, stage.test.right, stage.test.n)
            for stage in evidence.outcome.stages
            if stage.test is not None and stage.test.n
        ),
        _gain(evidence),
        evidence.evaluation.seen_in_training if evidence.evaluation else 0,
    )


def _network(evidence: Evidence) -> Measured | None:
    title = "this network"
    if evidence.evaluation is not None and evidence.evaluation.n:
        return Measured(title, evidence.evaluation.right, evidence.evaluation.n)
    if evidence.outcome.test is not None and evidence.outcome.test.n:
        return Measured(title, evidence.outcome.test.right, evidence.outcome.test.n)
    n, last = evidence.record.count("val"), evidence.outcome.stages[-1]
    if evidence.split == "val" and n and last.val_accuracy is not None:
        return Measured(title, round(last.val_accuracy * n), n)
    return None


def _majority(evidence: Evidence) -> MajorityBaseline | None:
    if evidence.evaluation is not None:
        return evidence.evaluation.majority
    n = evidence.record.count(evidence.split)
    if not n:
        return None
    here = evidence.record.photos[evidence.split]
    name = max(evidence.record.classes, key=lambda one: here.get(one, 0))
    return MajorityBaseline(name=name, accuracy=here.get(name, 0) / n)


def _gain(evidence: Evidence) -> Gain | None:
    """What the stages after the last head stage brought, if that stage was tested, too."""
    planned = evidence.recipe.stages
    results = evidence.outcome.stages
    heads = 0
    while heads < len(planned) and planned[heads].freeze_until is None:
        heads += 1
    if not 0 < heads < len(results):
        return None
    first, last = results[heads - 1], results[-1]
    if first.test is None or last.test is None or not first.test.n == last.test.n > 0:
        return None
    return gain(first.name, first.test.right, last.test.right, last.test.n)


def gain(over: str, first: int, second: int, n: int) -> Gain:
    """The difference of two shares of right answers, `second` less `first` of `n` photos.

    The same photos were asked twice, but how often just one of the two was right is not known. Of
    all tables that fit both scores, the one in which they were right on the same photos as seldom
    as can be has the lowest correlation and so the widest interval; it is taken.
    """
    both = max(0, first + second - n)
    table = PairedCounts(both, first - both, second - both, n - first - second + both)
    return Gain(over, table.difference, table.difference_interval(CONFIDENCE_LEVEL))
