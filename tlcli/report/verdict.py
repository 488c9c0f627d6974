"""How good a network is, in sentences: with intervals, against the majority class and the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tlcli.data.balance import Imbalance, measure_imbalance
from tlcli.data.layout import SPLITS
from tlcli.evaluation.intervals import CONFIDENCE_LEVEL, Interval, PairedCounts, wilson_interval
from tlcli.report.html import percent, percentage_points, sentence
from tlcli.report.run_data import RunData
from tlcli.runs.evaluation_records import MajorityBaseline
from tlcli.system.console import counted

#: What photos a verdict is about: a split of the run, or photos from elsewhere.
PhotoKind = Literal["test", "val", "other"]


@dataclass(frozen=True)
class MeasuredAccuracy:
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
        """Where the true share lies, with a confidence of `CONFIDENCE_LEVEL`."""
        return wilson_interval(self.right, self.n, CONFIDENCE_LEVEL)


@dataclass(frozen=True)
class Gain:
    """By how much the accuracy of a network exceeds that of an earlier stage, on the same photos.

    Attributes:
        over: the name of the earlier stage.
        difference: of the two accuracies.
        interval: of `difference`, the widest one that fits the two scores.
    """

    over: str
    difference: float
    interval: Interval

    @property
    def significant(self) -> bool:
        """Whether zero lies outside of the interval."""
        low, high = self.interval
        return not low <= 0 <= high


@dataclass(frozen=True)
class Verdict:
    """The judgement on a run.

    Attributes:
        photos: what the scores were measured on.
        network: the finished network; None where there were neither test nor val photos.
        majority: the most frequent class, and the accuracy of always answering it.
        stages: the network after each stage, as far as it was tested.
        gain: of fine-tuning over the head alone.
        seen: how many of the photos are also among the training photos.
        imbalance: how the classes differ in size; None where hardly.
        weighted: whether some stage weighs classes.
    """

    photos: PhotoKind
    network: MeasuredAccuracy | None
    majority: MajorityBaseline | None
    stages: tuple[MeasuredAccuracy, ...]
    gain: Gain | None
    seen: int = 0
    imbalance: Imbalance | None = None
    weighted: bool = False

    @property
    def standing(self) -> Literal["above", "even", "below"]:
        """Whether the network's interval lies above or below the majority baseline, or holds it."""
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

    @property
    def pleasing(self) -> bool:
        """Whether it is better than the majority baseline, and fine-tuning cost nothing."""
        if self.network is None or (self.majority is not None and self.standing != "above"):
            return False
        return self.gain is None or self.gain.difference >= 0 or not self.gain.significant

    @property
    def level(self) -> str:
        """The confidence level of the intervals, as a percentage."""
        return f"{100 * CONFIDENCE_LEVEL:g}%"

    def sentences(self) -> list[str]:
        """The verdict in words, the most important sentence first."""
        if self.network is None:
            return ["There were no photos to test this network on, so its accuracy is unknown."]
        return [
            self._quality(),
            *self._baseline(),
            *self._fine_tuning(),
            *self._caution(),
            *self._balance(),
        ]

    def _quality(self) -> str:
        assert self.network is not None
        low, high = self.network.interval
        kind = {"test": "test photo", "val": "validation photo", "other": "photo"}[self.photos]
        share = f"{percent(self.network.accuracy)} of {counted(self.network.n, kind)}"
        if self.photos == "val" or self.seen:  # `_caution` says why that promises nothing
            return f"It classifies {share} correctly."
        return (
            f"It classifies {share} correctly; for new photos like these, expect {percent(low)} to "
            f"{percent(high)}."
        )

    def _baseline(self) -> list[str]:
        if self.majority is None:
            return []
        always = f"always answering “{self.majority.name}”"
        accuracy = percent(self.majority.accuracy)
        return {
            "above": [f"That is more than chance: {always} would be right for {accuracy}."],
            "even": [
                f"That cannot be distinguished from {always}, which would be right for {accuracy}: "
                "the network is of no use yet."
            ],
            "below": [f"That is worse than {always}, which would be right for {accuracy}."],
        }[self.standing]

    def _fine_tuning(self) -> list[str]:
        if self.gain is None:
            return []
        low, high = (percentage_points(end) for end in self.gain.interval)
        change = self.gain.difference
        between = f"({self.level} interval {low} to {high} points)"
        if change == 0:
            return [f"Fine-tuning gained nothing over the head alone on these photos {between}."]
        verb = "gained" if change > 0 else "lost"
        sentence = f"Fine-tuning {verb} {_size(change)} over the head alone {between}"
        return [f"{sentence}." if self.gain.significant else f"{sentence}, which may be chance."]

    def _caution(self) -> list[str]:
        sentences = []
        if self.photos == "val":
            sentences.append(
                "There were no test photos: the validation photos were also used to choose the "
                "best epoch, so the figures are optimistic, and new photos may do worse."
            )
        if self.seen:
            sentences.append(
                f"{self.seen:,} of these photos {'was' if self.seen == 1 else 'were'} also "
                "among the training photos, byte for byte, so the figures are optimistic."
            )
        return sentences

    def _balance(self) -> list[str]:
        """Of classes of different sizes: which cannot be judged, and what weights would change."""
        if self.imbalance is None:
            return []
        sentences = [f"{self.imbalance.sizes()}, so the accuracy is mostly that of the large ones."]
        if self.imbalance.rare:
            sentences.append(f"{sentence(self.imbalance.rare_classes())}.")
        if not self.weighted:
            sentences.append(f"{sentence(self.imbalance.hint())}.")
        return sentences


def _size(difference: float) -> str:
    value = f"{100 * abs(difference):.1f}"
    return f"{value} percentage {'point' if value == '1.0' else 'points'}"


def judge_run(data: RunData) -> Verdict:
    """The verdict on a run, as far as its files allow one."""
    return Verdict(
        data.split,
        _network(data),
        _majority(data),
        tuple(
            MeasuredAccuracy(stage.name, stage.test.right, stage.test.n)
            for stage in data.outcome.stages
            if stage.test is not None and stage.test.n
        ),
        _gain(data),
        data.evaluation.seen_in_training if data.evaluation else 0,
        measure_imbalance({split: data.record.photos.get(split, {}) for split in SPLITS}),
        any(stage.class_weights for stage in data.recipe.stages),
    )


def _network(data: RunData) -> MeasuredAccuracy | None:
    title = "this network"
    if data.evaluation is not None and data.evaluation.n:
        return MeasuredAccuracy(title, data.evaluation.right, data.evaluation.n)
    if data.outcome.test is not None and data.outcome.test.n:
        return MeasuredAccuracy(title, data.outcome.test.right, data.outcome.test.n)
    n, last = data.record.count("val"), data.outcome.stages[-1]
    if data.split == "val" and n and last.val_accuracy is not None:
        return MeasuredAccuracy(title, round(last.val_accuracy * n), n)
    return None


def _majority(data: RunData) -> MajorityBaseline | None:
    if data.evaluation is not None:
        return data.evaluation.majority
    n = data.record.count(data.split)
    if not n:
        return None
    photos = data.record.photos[data.split]
    name = max(data.record.classes, key=lambda name: photos.get(name, 0))
    return MajorityBaseline(name=name, accuracy=photos.get(name, 0) / n)


def _gain(data: RunData) -> Gain | None:
    """What the stages after the last head stage gained, if that stage was tested too."""
    planned = data.recipe.stages
    results = data.outcome.stages
    heads = 0
    while heads < len(planned) and planned[heads].freeze_until is None:
        heads += 1
    if not 0 < heads < len(results):
        return None
    first, last = results[heads - 1], results[-1]
    if first.test is None or last.test is None or not first.test.n == last.test.n > 0:
        return None
    return widest_gain(first.name, first.test.right, last.test.right, last.test.n)


def widest_gain(over: str, first: int, second: int, n: int) -> Gain:
    """The difference of two shares of right answers, `second` less `first` of `n` photos.

    Both shares are of the same photos, but a run does not record on how many of them only one was
    right. Many 2 x 2 tables fit the two shares; taken is the one with the fewest photos on which
    both were right, which has the lowest correlation and so the widest interval.
    """
    both = max(0, first + second - n)
    table = PairedCounts(both, first - both, second - both, n - first - second + both)
    return Gain(over, table.difference, table.difference_interval(CONFIDENCE_LEVEL))
