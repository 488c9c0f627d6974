"""The charts of what answers cost: a threshold of probability, and precision over recall."""

from __future__ import annotations

from collections.abc import Sequence

from tlcli.evaluation.answer_curves import AnswerCurves, ClassCurve
from tlcli.report.html import decimal, percent, visible_name
from tlcli.report.svg import Chart, Frame, Line, Mark, Scale, Tick, line_path

_FRAME = Frame()
_SHARES = (0, 0.2, 0.4, 0.6, 0.8, 1)


def answer_charts(curves: AnswerCurves | None, threshold: float | None) -> tuple[Chart, ...]:
    """Both charts; none where there are no probabilities.

    `threshold` is the probability below which answers count as unsure, if any do.
    """
    if curves is None:
        return ()
    charts = [_threshold_chart(curves, threshold)]
    if curves.classes:
        charts.append(_precision_chart(curves.classes))
    return tuple(charts)


def _threshold_chart(curves: AnswerCurves, threshold: float | None) -> Chart:
    curve = curves.threshold
    across, down = _scales()
    lines = tuple(
        Line(kind, label, _steps(curve.thresholds, values, across, down))
        for kind, label, values in (
            ("kept", "right, of those answered", curve.right),
            ("answered", "answered", curve.answered),
        )
    )
    marks: tuple[Mark, ...] = ()
    if threshold is not None:
        marks = (Mark(across(threshold), _FRAME.bottom, f"unsure below {decimal(threshold)}"),)
    parts = [
        f"from {percent(value, 0)} on: {percent(answered)} answered, {percent(right)} of them right"
        for value, answered, right in _some(curve.thresholds, curve.answered, curve.right)
    ]
    return Chart(
        _FRAME, "Answers above a probability", f"Answers by threshold: {'; '.join(parts)}.",
        _ticks(across), _ticks(down), lines, (), marks, "threshold",
    )  # fmt: skip


def _precision_chart(classes: Sequence[ClassCurve]) -> Chart:
    across, down = _scales()
    worst = min(classes, key=lambda curve: curve.average)
    # The class to look at is drawn last, above the others.
    ordered = sorted(classes, key=lambda curve: curve is worst)
    lines = tuple(
        Line(
            "lowest" if curve is worst else "each",
            f"{visible_name(curve.name)}, average precision {decimal(curve.average)}",
            line_path(
                [(across(x), down(y)) for x, y in zip(curve.recall, curve.precision, strict=True)]
            ),
        )
        for curve in ordered
    )
    text = "; ".join(line.label for line in lines[::-1][:10])
    return Chart(
        _FRAME, "Precision over recall, class by class", f"Precision over recall: {text}.",
        _ticks(across), _ticks(down), lines, (), (), "recall",
    )  # fmt: skip


def _scales() -> tuple[Scale, Scale]:
    return Scale(0, 1, _FRAME.left, _FRAME.right), Scale(0, 1, _FRAME.bottom, _FRAME.top)


def _ticks(scale: Scale) -> tuple[Tick, ...]:
    return tuple(Tick(scale(share), f"{100 * share:.0f}%") for share in _SHARES)


def _steps(at: Sequence[float], values: Sequence[float], across: Scale, down: Scale) -> str:
    """A share over thresholds, the same from each probability back to the one before."""
    points = []
    before = 0.0
    for threshold, value in zip(at, values, strict=True):
        points += [(across(before), down(value)), (across(threshold), down(value))]
        before = threshold
    return line_path(points)


def _some(
    thresholds: Sequence[float], answered: Sequence[float], right: Sequence[float]
) -> list[tuple[float, float, float]]:
    """The values at a few thresholds, for those who do not see the chart."""
    points = []
    for wanted in (0.5, 0.7, 0.9):
        for value, *shares in zip(thresholds, answered, right, strict=True):
            if value >= wanted:
                points.append((wanted, shares[0], shares[1]))
                break
    return points
