"""The figures behind every chart: learning curves, reliability and confusion, ready to be drawn.

Pictures (`figures`, `learning_curves`) and the page of a report draw the same records, each in its
own medium, so that they cannot disagree. Nothing here needs matplotlib or TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tlcli.evaluation.intervals import Interval, wilson_interval
from tlcli.runs.evaluation_records import EvaluationScores, ReliabilityBin
from tlcli.runs.records import Epoch

#: Of the exponential moving average: the share of the past in each smoothed value.
SMOOTHING = 0.6

#: Shorter stages are not smoothed: the average would only lag behind what was measured.
SMOOTHED_FROM = 15

Measure = Literal["accuracy", "top_5", "loss", "learning_rate"]


@dataclass(frozen=True)
class StageSpan:
    """Where a stage lies on the axis of epochs, which counts from 1 over all stages.

    Attributes:
        name: of the stage.
        start: epochs of the stages before it.
        length: its own epochs.
    """

    name: str
    start: int
    length: int

    @property
    def positions(self) -> range:
        """The places of its epochs on the axis."""
        return range(self.start + 1, self.start + self.length + 1)

    @property
    def border(self) -> float:
        """Where it begins: halfway between its first epoch and the last one before it."""
        return self.start + 0.5


@dataclass(frozen=True)
class StageValues:
    """The values of a series in the epochs of one stage, as measured and as moving average.

    The average starts afresh in every stage: a stage goes on from the best epoch of the one before
    it, not from the last. In a stage that is too short for it, it is the values themselves; it is
    empty for what is never smoothed.
    """

    values: tuple[float, ...]
    smooth: tuple[float, ...] = ()


@dataclass(frozen=True)
class Series:
    """One line of a chart: its kind, its name in a legend, and its values stage by stage."""

    kind: Literal["train", "val", "rate"]
    label: str
    stages: tuple[StageValues, ...]

    @property
    def values(self) -> list[float]:
        """The measured values over all stages."""
        return [value for stage in self.stages for value in stage.values]


@dataclass(frozen=True)
class BestEpoch:
    """The epoch of a stage whose weights were kept.

    Attributes:
        stage: its number, from 0.
        epoch: its number within the stage, from 1.
        position: its place on the axis of epochs.
        value: what was measured then, on the validation photos where there are any.
    """

    stage: int
    epoch: int
    position: int
    value: float


@dataclass(frozen=True)
class Curve:
    """One measure over all epochs: on the training photos, and on the validation photos if any."""

    measure: Measure
    series: tuple[Series, ...]
    best: tuple[BestEpoch, ...] = ()

    @property
    def values(self) -> list[float]:
        """The measured values of every series."""
        return [value for series in self.series for value in series.values]


@dataclass(frozen=True)
class LearningCurves:
    """How training went, over the epochs of all stages.

    `top_5` is None where there are no more than five classes.
    """

    stages: tuple[StageSpan, ...]
    accuracy: Curve
    loss: Curve
    learning_rate: Curve
    top_5: Curve | None = None

    @property
    def epochs(self) -> int:
        """How many epochs there are in all stages."""
        return sum(stage.length for stage in self.stages)


def learning_curves(epochs: Sequence[Epoch], best: Iterable[int | None]) -> LearningCurves:
    """The curves of a run.

    Args:
        epochs: of all stages, in their order.
        best: the best epoch of each stage, from 1; None, or one that is not there, is not marked.
    """
    stages, best = split_stages(epochs), list(best)
    spans: list[StageSpan] = []
    for stage in stages:
        start = spans[-1].start + spans[-1].length if spans else 0
        spans.append(StageSpan(stage[0].stage, start, len(stage)))
    rates = tuple(StageValues(tuple(epoch.learning_rate for epoch in stage)) for stage in stages)
    ranked = bool(epochs) and all(epoch.top_5 is not None for epoch in epochs)
    return LearningCurves(
        tuple(spans),
        _curve("accuracy", stages, spans, best),
        _curve("loss", stages, spans, best),
        Curve("learning_rate", (Series("rate", "learning rate", rates),)),
        _curve("top_5", stages, spans, best) if ranked else None,
    )


def split_stages(epochs: Iterable[Epoch]) -> list[list[Epoch]]:
    """The epochs of each stage: they count from 1 again, also where two stages share a name."""
    stages: list[list[Epoch]] = []
    for epoch in epochs:
        last = stages[-1][-1] if stages else None
        if last is None or epoch.stage != last.stage or epoch.epoch <= last.epoch:
            stages.append([])
        stages[-1].append(epoch)
    return stages


def moving_average(values: Iterable[float], factor: float = SMOOTHING) -> list[float]:
    """The exponential moving average, without the pull of its start towards 0."""
    averages, total, weight = [], 0.0, 0.0
    for value in values:
        total = factor * total + (1 - factor) * value
        weight = factor * weight + (1 - factor)
        averages.append(total / weight)
    return averages


def _curve(
    measure: Literal["accuracy", "top_5", "loss"],
    stages: Sequence[Sequence[Epoch]],
    spans: Sequence[StageSpan],
    best: Sequence[int | None],
) -> Curve:
    series = [Series("train", "training", _smoothed(stages, measure))]
    validated = f"val_{measure}"  # None in the epochs of a run without validation photos
    if all(getattr(epoch, validated) is not None for stage in stages for epoch in stage):
        series.append(Series("val", "validation", _smoothed(stages, validated)))
    judged = series[-1].stages
    marks = [
        BestEpoch(number, epoch, span.start + epoch, judged[number].values[epoch - 1])
        for number, (span, epoch) in enumerate(zip(spans, best, strict=False))
        if epoch is not None and 1 <= epoch <= span.length
    ]
    return Curve(measure, tuple(series), tuple(marks))


def _smoothed(stages: Sequence[Sequence[Epoch]], name: str) -> tuple[StageValues, ...]:
    measured = [tuple(float(getattr(epoch, name)) for epoch in stage) for stage in stages]
    return tuple(
        StageValues(
            values, tuple(moving_average(values)) if len(values) >= SMOOTHED_FROM else values
        )
        for values in measured
    )


@dataclass(frozen=True)
class ReliabilityChart:
    """Accuracy over confidence: whether probabilities mean what they say.

    Attributes:
        bins: of equal width, those without a photo too.
        error: the expected calibration error over them.
        temperature: by which the probabilities were calibrated; None for the network's own.
    """

    bins: tuple[ReliabilityBin, ...]
    error: float
    temperature: float | None = None

    @property
    def calibration(self) -> str:
        """The calibration as a title; empty for the network's own probabilities."""
        if self.temperature is None:
            return ""
        return f"calibrated, temperature {self.temperature:.2f}"

    @property
    def intervals(self) -> list[Interval]:
        """Of each bin that holds photos, the interval (Wilson) of its accuracy."""
        return [wilson_interval(round(right * row.n), row.n) for row, _, right in self.filled]

    @property
    def filled(self) -> list[tuple[ReliabilityBin, float, float]]:
        """The bins that hold photos, each with its mean confidence and its accuracy."""
        return [
            (row, row.confidence, row.accuracy)
            for row in self.bins
            if row.n and row.confidence is not None and row.accuracy is not None
        ]


def reliability_charts(scores: EvaluationScores) -> tuple[ReliabilityChart, ...]:
    """The chart of the network's own probabilities, then that of the calibrated ones if any."""
    bins, own_bins = scores.reliability.bins, scores.reliability.uncalibrated_bins
    charts = [ReliabilityChart(bins, scores.ece, scores.temperature)]
    if scores.uncalibrated and own_bins:
        charts.insert(0, ReliabilityChart(own_bins, scores.uncalibrated.ece))
    return tuple(charts)


@dataclass(frozen=True)
class ConfusionTable:
    """How many photos of each class (row) were predicted as each class (column).

    Attributes:
        names: of rows and columns; None stands for all classes that have no row of their own.
        counts: photos.
        folded: how many classes have no row of their own.
    """

    names: tuple[str | None, ...]
    counts: tuple[tuple[int, ...], ...]
    folded: int = 0

    @property
    def shares(self) -> tuple[tuple[float, ...], ...]:
        """Each count as its share of the row; 0 in a row without photos."""
        totals = [sum(row) or 1 for row in self.counts]
        return tuple(
            tuple(count / total for count in row)
            for row, total in zip(self.counts, totals, strict=True)
        )


def confusion_table(scores: EvaluationScores, most: int | None = None) -> ConfusionTable:
    """The table of an evaluation; of more than `most` classes, those with the most mistakes.

    The other classes share one last row and column.
    """
    classes, confusion = scores.classes, scores.confusion
    if most is None or len(classes) <= most:
        return ConfusionTable(tuple(classes), tuple(map(tuple, confusion)))
    kept = _most_confused(confusion, most)
    place = {number: at for at, number in enumerate(kept)}
    counts = [[0] * (most + 1) for _ in range(most + 1)]
    for true, row in enumerate(confusion):
        for predicted, count in enumerate(row):
            counts[place.get(true, most)][place.get(predicted, most)] += count
    names = (*(classes[number] for number in kept), None)
    return ConfusionTable(names, tuple(map(tuple, counts)), len(classes) - most)


def _most_confused(confusion: Sequence[Sequence[int]], most: int) -> list[int]:
    """The classes that were most often missed or named wrongly, in their own order."""
    mistakes = [sum(row) - row[number] for number, row in enumerate(confusion)]
    for true, row in enumerate(confusion):
        for predicted, count in enumerate(row):
            if true != predicted:
                mistakes[predicted] += count
    ranked = sorted(range(len(confusion)), key=lambda number: (-mistakes[number], number))
    return sorted(ranked[:most])
