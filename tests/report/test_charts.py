"""Diagrams: what is drawn is what was measured, read back from the paths."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tlcli.evaluation import chart_data
from tlcli.evaluation.chart_data import ReliabilityChart, learning_curves, moving_average
from tlcli.report import charts
from tlcli.report.verdict import MeasuredAccuracy
from tlcli.runs.evaluation_records import ReliabilityBin
from tlcli.runs.records import Epoch


def epochs() -> list[Epoch]:
    epochs = []
    for stage, count in (("head", 4), ("top", 3)):
        for epoch in range(1, count + 1):
            epochs.append(
                Epoch(stage=stage, epoch=epoch, loss=1 / epoch, accuracy=epoch / 5,
                      val_loss=1.5 / epoch, val_accuracy=epoch / 8, learning_rate=1e-3)
            )  # fmt: skip
    return epochs


#: The best epoch of each stage.
BEST = [3, 2]


def points(drawn: str) -> list[list[tuple[float, float]]]:
    return [
        [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+),([\d.]+)", part)]
        for part in drawn.split("M")[1:]
    ]


def test_curves_run_through_what_was_measured():
    accuracy, loss, rate = charts.learning_charts(learning_curves(epochs(), BEST))
    ticks = {float(tick.text): tick.at for tick in accuracy.y_ticks}
    slope, offset = np.polyfit(list(ticks.values()), list(ticks), 1)
    across = {float(tick.text): tick.at for tick in accuracy.x_ticks}
    stretch, start = np.polyfit(list(across.values()), list(across), 1)
    for line, key in zip(accuracy.lines, ("accuracy", "val_accuracy"), strict=True):
        parts = points(line.raw)
        assert [len(part) for part in parts] == [4, 3], "one line for each stage"
        flat = [point for part in parts for point in part]
        truth = [getattr(epoch, key) for epoch in epochs()]
        assert [slope * y + offset for _, y in flat] == pytest.approx(truth, abs=2e-4)
        assert [stretch * x + start for x, _ in flat] == pytest.approx(range(1, 8), abs=2e-3)
    assert [mark.text for mark in accuracy.marks] == [
        "best epoch of head: 3, accuracy 0.3750",
        "best epoch of top: 2, accuracy 0.2500",
    ]
    assert (accuracy.marks[1].x, accuracy.marks[1].y) == points(accuracy.lines[1].raw)[1][1]
    assert [border.text for border in loss.borders] == ["head", "top"]
    assert stretch * loss.borders[1].at + start == pytest.approx(4.5, abs=1e-3)
    assert rate.description == "Learning rate; head begins at 0.001, top begins at 0.001."


def test_smooth_lines_are_the_stated_average(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chart_data, "SMOOTHED_FROM", 4)
    _, loss, _ = charts.learning_charts(learning_curves(epochs(), BEST))
    ticks = {float(tick.text): tick.at for tick in loss.y_ticks}
    slope, offset = np.polyfit(list(ticks.values()), list(ticks), 1)
    head = [slope * y + offset for _, y in points(loss.lines[0].smooth)[0]]
    assert head == pytest.approx(moving_average([1, 1 / 2, 1 / 3, 1 / 4]), abs=3e-3)


def test_one_epoch_and_no_validation():
    alone = [Epoch(stage="head", epoch=1, loss=0.5, accuracy=0.5, learning_rate=0.1)]
    accuracy, loss, rate = charts.learning_charts(learning_curves(alone, BEST))
    assert [line.kind for line in accuracy.lines] == ["train"]
    assert len(accuracy.marks) == 0, "the best epoch of the summary is not there"
    assert rate.y_ticks and loss.x_ticks
    assert charts.learning_charts(learning_curves([], BEST)) == ()


def test_whiskers_stand_at_their_shares():
    chart = charts.comparison_chart(
        ("cats", 0.5), [MeasuredAccuracy("head", 80, 100), MeasuredAccuracy("all", 90, 100)]
    )
    slope, offset = np.polyfit(
        [tick.at for tick in chart.ticks], [float(tick.text[:-1]) / 100 for tick in chart.ticks], 1
    )
    assert [slope * row.at + offset for row in chart.rows] == pytest.approx(
        [0.5, 0.8, 0.9], abs=1e-3
    )
    assert chart.rows[0].low is None
    # Wilson's 95% interval of 80 out of 100, by hand: 0.7112 to 0.8666.
    ends = chart.rows[1].low, chart.rows[1].high
    assert [slope * end + offset for end in ends if end] == pytest.approx(
        [0.7112, 0.8666], abs=1e-3
    )
    assert chart.rows[1].text == "80.0% (71.1% to 86.7%)"
    assert [row.kind for row in chart.rows] == ["", "earlier", "final"]
    assert charts.comparison_chart(None, []).rows == ()


def test_reliability_columns():
    bins = [
        ReliabilityBin(low=0.4, high=0.6, n=0),
        ReliabilityBin(low=0.8, high=1, n=20, confidence=0.9, accuracy=0.75),
    ]
    diagram = charts.reliability_diagram(ReliabilityChart(tuple(bins), 0.15))
    (column,) = diagram.columns
    frame = diagram.frame
    height = frame.bottom - frame.top
    assert (frame.bottom - column.accuracy) / height == pytest.approx(0.75, abs=1e-3)
    assert (frame.bottom - column.confidence) / height == pytest.approx(0.9, abs=1e-3)
    assert column.count == "20"
    assert column.text == (
        "probability 80% to 100%: 20 photos, 90.0% on average, 75.0% right "
        "(interval 53.1% to 88.8%)"
    )
