"""The diagrams of a report: how training went, how sure a score is, how far to trust a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tlcli.evaluation.learning_curves import smoothed
from tlcli.report.html import number, share
from tlcli.report.svg import Chart, Frame, Line, Marked, Scale, Tick, over, path
from tlcli.report.verdict import Measured
from tlcli.runs.evaluation_records import ReliabilityBin
from tlcli.runs.records import Epoch, StageResult
from tlcli.system.console import counted

_FRAME = Frame()


def learning(epochs: Sequence[Epoch], stages: Sequence[StageResult]) -> tuple[Chart, ...]:
    """Accuracy, loss and learning rate over the epochs of all stages on one axis."""
    if not epochs:
        return ()
    starts = _starts(epochs)
    best = [start + stage.best_epoch - 1 for start, stage in zip(starts, stages, strict=False)]
    best = [at for at in best if at < len(epochs)]
    pictures = []
    for key, title in (("accuracy", "Accuracy"), ("loss", "Loss")):
        series = {"train": [float(getattr(epoch, key)) for epoch in epochs]}
        val = [getattr(epoch, f"val_{key}") for epoch in epochs]
        if None not in val:
            series["val"] = val
        pictures.append(_curves(title, key, series, epochs, starts, best))
    pictures.append(_rates([epoch.learning_rate for epoch in epochs], epochs, starts))
    return tuple(pictures)


def _starts(epochs: Sequence[Epoch]) -> list[int]:
    """Where in the list each stage begins: its epochs count from 1 again."""
    later = (
        at
        for at, (before, here) in enumerate(pairwise(epochs), 1)
        if here.stage != before.stage or here.epoch <= before.epoch
    )
    return [0, *later]


def _across(count: int) -> Scale:
    """Epochs 1 to `count`; a single one stands in the middle."""
    return Scale(1, count, _FRAME.left + 4, _FRAME.right - 4)


def _epoch_ticks(across: Scale) -> tuple[Tick, ...]:
    return tuple(tick for tick in across.ticks(6) if float(tick.text).is_integer())


def _borders(across: Scale, epochs: Sequence[Epoch], starts: Iterable[int]) -> tuple[Tick, ...]:
    return tuple(
        Tick(across(start + 0.5) if start else float(_FRAME.left), epochs[start].stage)
        for start in starts
    )


def _curves(
    title: str,
    key: str,
    series: dict[str, list[float]],
    epochs: Sequence[Epoch],
    starts: list[int],
    best: list[int],
) -> Chart:
    across = _across(len(epochs))
    every = [value for values in series.values() for value in values]
    down = over(every, _FRAME.bottom, _FRAME.top, share=key == "accuracy")
    lines = []
    for kind, values in series.items():
        soft: list[float] = []
        for start, end in pairwise([*starts, len(values)]):
            soft += smoothed(values[start:end])
        label = {"train": "training", "val": "validation"}[kind]
        raw, smooth = (_drawn(one, across, down, starts) for one in (values, soft))
        lines.append(Line(kind, label, raw, smooth))
    judged = series.get("val", series["train"])
    marks = tuple(
        Marked(
            across(at + 1),
            down(judged[at]),
            f"best epoch of {epochs[at].stage}: {epochs[at].epoch}, {key} {judged[at]:.4f}",
        )
        for at in best
    )
    ends = ", ".join(f"{line.label} {series[line.kind][-1]:.4f}" for line in lines)
    told = f"{title} over {len(epochs):,} epochs; at the end: {ends}."
    told += "".join(f" {mark.text}." for mark in marks)
    return Chart(
        _FRAME, f"{title}, logarithmic scale" if down.log else title, told,
        _epoch_ticks(across), down.ticks(5), tuple(lines), _borders(across, epochs, starts), marks,
    )  # fmt: skip


def _drawn(values: Sequence[float], across: Scale, down: Scale, starts: list[int]) -> str:
    """One line for each stage: a stage goes on from the best epoch before it, not from the last."""
    return "".join(
        path([(across(at + 1), down(values[at])) for at in range(start, end)])
        for start, end in pairwise([*starts, len(values)])
    )


def _rates(rates: list[float], epochs: Sequence[Epoch], starts: list[int]) -> Chart:
    across = _across(len(rates))
    down = over(rates, _FRAME.bottom, _FRAME.top)
    line = Line("rate", "learning rate", _drawn(rates, across, down, starts))
    told = "Learning rate; " + ", ".join(
        f"{epochs[start].stage} begins at {rates[start]:g}" for start in starts
    )
    title = "Learning rate, logarithmic scale" if down.log else "Learning rate"
    return Chart(
        _FRAME, title, told + ".", _epoch_ticks(across), down.ticks(5), (line,),
        _borders(across, epochs, starts),
    )  # fmt: skip


@dataclass(frozen=True)
class Whisker:
    """A share on the axis of a chart, with its interval; without one it is exact."""

    label: str
    said: str
    y: float
    at: float
    low: float | None = None
    high: float | None = None
    kind: str = ""


@dataclass(frozen=True)
class Comparison:
    """Shares of right answers, one below the other."""

    frame: Frame
    ticks: tuple[Tick, ...]
    rows: tuple[Whisker, ...]


def comparison(majority: tuple[str, float] | None, measured: Sequence[Measured]) -> Comparison:
    """The majority baseline and networks with their intervals; the last one is the finished one."""
    step, top = 42, 30
    rows = len(measured) + (majority is not None)
    frame = Frame(height=top + step * rows + 18, bottom=top + step * rows - 6, left=12)
    lows = [one.interval[0] for one in measured] + ([majority[1]] if majority else [])
    if not lows:
        return Comparison(frame, (), ())
    axis = over(lows, frame.left + 12, frame.right - 16, share=True)
    drawn = []
    if majority is not None:
        label = f"always “{majority[0]}”"
        drawn.append(Whisker(label, share(majority[1]), top, axis(majority[1])))
    for one in measured:
        low, high = one.interval
        said = f"{share(one.accuracy)} ({share(low)} to {share(high)})"
        kind = "final" if one is measured[-1] else "earlier"
        y, at = top + step * len(drawn), axis(one.accuracy)
        drawn.append(Whisker(one.title, said, y, at, axis(low), axis(high), kind))
    ticks = tuple(Tick(tick.at, f"{100 * float(tick.text):g}%") for tick in axis.ticks(5))
    return Comparison(frame, ticks, tuple(drawn))


@dataclass(frozen=True)
class Column:
    """A bin of the reliability diagram: its place, what the network keeps, and what it claims.

    Attributes:
        x, width: of the bin.
        accuracy, confidence: coordinates of the share of right answers, and of the mean
            probability given to them.
        photos: the height of the bar of counts; `said` is the count in letters that fit.
    """

    x: float
    width: float
    accuracy: float
    confidence: float
    photos: float
    said: str
    text: str


@dataclass(frozen=True)
class Diagram:
    """A reliability diagram: accuracy over confidence, and how many photos there are of each."""

    frame: Frame
    title: str
    told: str
    columns: tuple[Column, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


#: The highest bar of counts below a reliability diagram.
_STRIP = 34.0


def reliability(title: str, bins: Sequence[ReliabilityBin], error: float) -> Diagram:
    """The diagram of some bins with their expected calibration error."""
    frame = Frame(height=342, bottom=236)
    across, down = Scale(0, 1, frame.left, frame.right), Scale(0, 1, frame.bottom, frame.top)
    most = max((one.n for one in bins), default=0)
    columns = []
    for one in bins:
        if one.n and one.confidence is not None and one.accuracy is not None:
            text = (
                f"probability {share(one.low, 0)} to {share(one.high, 0)}: "
                f"{counted(one.n, 'photo')}, {share(one.confidence)} on average, "
                f"{share(one.accuracy)} right"
            )
            x = across(one.low)
            columns.append(
                Column(
                    round(x + 1, 2), round(across(one.high) - x - 2, 2), down(one.accuracy),
                    down(one.confidence), round(max(1.0, _STRIP * one.n / most), 2),
                    str(one.n) if one.n < 10_000 else f"{one.n / 1000:.0f}k", text,
                )
            )  # fmt: skip
    told = f"Reliability diagram, {title}: expected calibration error {number(error)}."
    shares = (0, 0.2, 0.4, 0.6, 0.8, 1)
    return Diagram(
        frame, title, told, tuple(columns),
        tuple(Tick(across(tick), f"{100 * tick:.0f}%") for tick in shares),
        tuple(Tick(down(tick), f"{100 * tick:.0f}%") for tick in shares),
    )  # fmt: skip
