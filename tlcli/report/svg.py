"""Charts as geometry: scales, ticks and SVG paths, which templates draw.

Coordinates are those of a chart's viewBox, with y pointing down. Charts are drawn narrow, so that
their letters stay readable on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Points of one line at most; of more, every n-th is drawn.
MOST_POINTS = 600

#: A positive range is drawn on a logarithmic scale if its ends are this many times apart.
LOG_FROM = 50.0


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its coordinate and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Frame:
    """The size of a chart's viewBox, and the edges of the plot in it."""

    width: int = 384
    height: int = 260
    left: int = 46
    right: int = 374
    top: int = 14
    bottom: int = 226


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` on coordinates from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The coordinate of a value, with two digits, never outside of the ends."""
        low, high, value = (
            map(math.log10, (self.low, self.high, max(value, self.low)))
            if self.log
            else (self.low, self.high, value)
        )
        share = (value - low) / (high - low) if high > low else 0.5
        share = min(1.0, max(0.0, share))
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, most: int = 6) -> tuple[Tick, ...]:
        """Round values within the range: powers of ten, or steps of 1, 2 or 5 times one."""
        values = _powers(self.low, self.high) if self.log else _steps(self.low, self.high, most)
        return tuple(Tick(self(value), f"{value:g}") for value in values)


def _steps(low: float, high: float, most: int) -> list[float]:
    if high <= low:
        return [low]
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _powers(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    stride = max(1, math.ceil((last - first + 1) / 6))
    values = [10.0**power for power in range(first, last + 1, stride)]
    return values if len(values) > 1 else [low, high]


def scale_over(values: Sequence[float], start: float, end: float, *, share: bool = False) -> Scale:
    """The scale that holds some values: with round ends, and logarithmic for a wide range.

    A scale of shares ends at 1, and is never logarithmic. Values that are all the same get some
    room around them.
    """
    low, high = min(values), max(values)
    if not share and low > 0 and high / low >= LOG_FROM:
        return Scale(10 ** math.floor(math.log10(low)), high * 1.1, start, end, log=True)
    if share:
        high = 1.0
    elif low >= 0:
        low = 0.0
    if high == low:
        low, high = low - (0.1 if share else 0.5), high + (0.0 if share else 0.5)
    ticks = _steps(low, high, 5)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else high - low
    low = round(math.floor(low / step + 1e-9) * step, 12)
    high = min(1.0, high) if share else round(math.ceil(high / step - 1e-9) * step, 12)
    return Scale(max(0.0, low) if share else low, high, start, end)


def line_path(points: Sequence[tuple[float, float]]) -> str:
    """A line through points, as the `d` of an SVG path, thinned to `MOST_POINTS`."""
    stride = max(1, math.ceil(len(points) / MOST_POINTS))
    kept = list(points[::stride])
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return "M" + " ".join(f"{x:g},{y:g}" for x, y in kept) if kept else ""


@dataclass(frozen=True)
class Line:
    """One series: its colour class, its name, and its paths as measured and smoothed."""

    kind: str
    label: str
    raw: str
    smooth: str = ""


@dataclass(frozen=True)
class Mark:
    """A point of a chart with its meaning, such as the best epoch of a stage."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A line chart, over all epochs if nothing else is said.

    Attributes:
        title: what is drawn, with its unit.
        description: what there is to see, for those who do not see it.
        borders: where a stage begins, with its name.
        across: what the horizontal axis counts.
    """

    frame: Frame
    title: str
    description: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    borders: tuple[Tick, ...]
    marks: tuple[Mark, ...] = ()
    across: str = "epoch"
