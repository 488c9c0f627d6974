"""The charts of a report: learning curves, accuracies with their intervals, reliability."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tlcli.evaluation.chart_data import BestEpoch, Curve, LearningCurves, ReliabilityChart, Series
from tlcli.report.html import decimal, percent
from tlcli.report.svg import Chart, Frame, Line, Mark, Scale, Tick, line_path, scale_over
from tlcli.report.verdict import MeasuredAccuracy
from tlcli.system.console import counted

_FRAME = Frame()


def learning_charts(curves: LearningCurves) -> tuple[Chart, ...]:
    """Accuracy, loss and learning rate over the epochs of all stages on one axis.

    Where there are more than five classes, top-5 accuracy as well.
    """
    if not curves.stages:
        return ()
    return (
        _measure_chart("Accuracy", curves, curves.accuracy),
        *([_measure_chart("Top-5 accuracy", curves, curves.top_5)] if curves.top_5 else ()),
        _measure_chart("Loss", curves, curves.loss),
        _rate_chart(curves),
    )


def _measure_chart(title: str, curves: LearningCurves, curve: Curve) -> Chart:
    across = _across(curves.epochs)
    down = scale_over(curve.values, _FRAME.bottom, _FRAME.top, share=curve.measure != "loss")
    marks = tuple(_mark(curves, curve, best, across, down) for best in curve.best)
    ends = ", ".join(f"{series.label} {series.values[-1]:.4f}" for series in curve.series)
    description = f"{title} over {curves.epochs:,} epochs; at the end: {ends}."
    description += "".join(f" {mark.text}." for mark in marks)
    return Chart(
        _FRAME, f"{title}, logarithmic scale" if down.log else title, description,
        _epoch_ticks(across), down.ticks(5),
        tuple(_line(curves, series, across, down) for series in curve.series),
        _borders(curves, across), marks,
    )  # fmt: skip


def _rate_chart(curves: LearningCurves) -> Chart:
    (rates,) = curves.learning_rate.series
    across, down = _across(curves.epochs), scale_over(rates.values, _FRAME.bottom, _FRAME.top)
    starts = ", ".join(
        f"{span.name} begins at {stage.values[0]:g}"
        for span, stage in zip(curves.stages, rates.stages, strict=True)
    )
    title = "Learning rate, logarithmic scale" if down.log else "Learning rate"
    return Chart(
        _FRAME, title, f"Learning rate; {starts}.", _epoch_ticks(across), down.ticks(5),
        (_line(curves, rates, across, down),), _borders(curves, across),
    )  # fmt: skip


def _across(count: int) -> Scale:
    """Epochs 1 to `count`; a single one stands in the middle."""
    return Scale(1, count, _FRAME.left + 4, _FRAME.right - 4)


def _epoch_ticks(across: Scale) -> tuple[Tick, ...]:
    return tuple(tick for tick in across.ticks(6) if float(tick.text).is_integer())


def _borders(curves: LearningCurves, across: Scale) -> tuple[Tick, ...]:
    return tuple(
        Tick(across(stage.border) if stage.start else float(_FRAME.left), stage.name)
        for stage in curves.stages
    )


def _line(curves: LearningCurves, series: Series, across: Scale, down: Scale) -> Line:
    """A series as paths, with a new part for each stage."""

    def drawn(parts: Iterable[Sequence[float]]) -> str:
        return "".join(
            line_path([(across(x), down(y)) for x, y in zip(span.positions, values, strict=False)])
            for span, values in zip(curves.stages, parts, strict=True)
        )

    raw = drawn(stage.values for stage in series.stages)
    smooth = drawn(stage.smooth for stage in series.stages)
    return Line(series.kind, series.label, raw, smooth)


def _mark(
    curves: LearningCurves, curve: Curve, best: BestEpoch, across: Scale, down: Scale
) -> Mark:
    stage = curves.stages[best.stage].name
    measure = "top-5 accuracy" if curve.measure == "top_5" else curve.measure
    text = f"best epoch of {stage}: {best.epoch}, {measure} {best.value:.4f}"
    return Mark(across(best.position), down(best.value), text)


@dataclass(frozen=True)
class ComparisonRow:
    """A share on the axis of a chart, with its interval; without one it is exact.

    Attributes:
        label: whose share it is.
        text: the share and its interval, as they are read.
        y: of the row.
        at: the coordinate of the share; `low` and `high` are those of the interval.
        kind: the class of its style: `final`, `earlier`, or none for the baseline.
    """

    label: str
    text: str
    y: float
    at: float
    low: float | None = None
    high: float | None = None
    kind: str = ""


@dataclass(frozen=True)
class ComparisonChart:
    """Shares of right answers, one below the other."""

    frame: Frame
    ticks: tuple[Tick, ...]
    rows: tuple[ComparisonRow, ...]


def comparison_chart(
    majority: tuple[str, float] | None, measured: Sequence[MeasuredAccuracy]
) -> ComparisonChart:
    """The majority baseline and networks with their intervals; the last one is the finished one.

    `majority` is the name of a class with the accuracy of always answering it.
    """
    step, top = 42, 30
    height = step * (len(measured) + (majority is not None))
    frame = Frame(height=top + height + 18, bottom=top + height - 6, left=12)
    lows = [network.interval[0] for network in measured] + ([majority[1]] if majority else [])
    if not lows:
        return ComparisonChart(frame, (), ())
    axis = scale_over(lows, frame.left + 12, frame.right - 16, share=True)
    rows = []
    if majority is not None:
        label = f"always “{majority[0]}”"
        rows.append(ComparisonRow(label, percent(majority[1]), top, axis(majority[1])))
    for network in measured:
        low, high = network.interval
        text = f"{percent(network.accuracy)} ({percent(low)} to {percent(high)})"
        kind = "final" if network is measured[-1] else "earlier"
        y, at = top + step * len(rows), axis(network.accuracy)
        rows.append(ComparisonRow(network.title, text, y, at, axis(low), axis(high), kind))
    ticks = tuple(Tick(tick.at, f"{100 * float(tick.text):g}%") for tick in axis.ticks(5))
    return ComparisonChart(frame, ticks, tuple(rows))


@dataclass(frozen=True)
class ReliabilityColumn:
    """A bin of the reliability diagram, as coordinates.

    Attributes:
        x, width: of the bin.
        accuracy, confidence: where the share of right answers lies, and the mean probability.
        low, high: where the interval of that share ends.
        photos: the height of the bar of counts.
        count: the number of photos, short enough to stand on that bar.
        text: all of it in words.
    """

    x: float
    width: float
    accuracy: float
    confidence: float
    low: float
    high: float
    photos: float
    count: str
    text: str


@dataclass(frozen=True)
class ReliabilityDiagram:
    """A reliability diagram: accuracy over confidence, and how many photos there are of each.

    Attributes:
        title: which probabilities they are.
        description: what there is to see, for those who do not see it.
    """

    frame: Frame
    title: str
    description: str
    columns: tuple[ReliabilityColumn, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


#: The highest bar of counts below a reliability diagram.
_STRIP = 34.0


def reliability_diagram(chart: ReliabilityChart) -> ReliabilityDiagram:
    """The diagram of the bins of some probabilities, with their expected calibration error."""
    frame = Frame(height=342, bottom=236)
    across, down = Scale(0, 1, frame.left, frame.right), Scale(0, 1, frame.bottom, frame.top)
    most = max((row.n for row in chart.bins), default=0)
    columns = []
    for (row, confidence, accuracy), (low, high) in zip(chart.filled, chart.intervals, strict=True):
        x = across(row.low)
        text = (
            f"probability {percent(row.low, 0)} to {percent(row.high, 0)}: "
            f"{counted(row.n, 'photo')}, {percent(confidence)} on average, "
            f"{percent(accuracy)} right (interval {percent(low)} to {percent(high)})"
        )
        columns.append(
            ReliabilityColumn(
                round(x + 1, 2), round(across(row.high) - x - 2, 2), down(accuracy),
                down(confidence), down(low), down(high), round(max(1.0, _STRIP * row.n / most), 2),
                str(row.n) if row.n < 10_000 else f"{row.n / 1000:.0f}k", text,
            )
        )  # fmt: skip
    title = chart.calibration or "as trained"
    description = (
        f"Reliability diagram, {title}: expected calibration error {decimal(chart.error)}."
    )
    shares = (0, 0.2, 0.4, 0.6, 0.8, 1)
    return ReliabilityDiagram(
        frame, title, description, tuple(columns),
        tuple(Tick(across(tick), f"{100 * tick:.0f}%") for tick in shares),
        tuple(Tick(down(tick), f"{100 * tick:.0f}%") for tick in shares),
    )  # fmt: skip
