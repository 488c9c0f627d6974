"""Charts: values land where they belong, ticks are round, and nothing divides by zero."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tlcli.report.svg import MOST_POINTS, Scale, line_path, scale_over


def test_linear_and_logarithmic_places():
    linear = Scale(10, 30, 100, 300)
    assert [linear(value) for value in (10, 15, 30)] == [100, 150, 300]
    assert [linear(value) for value in (-5, 99)] == [100, 300], "never outside"
    down = Scale(0, 1, 200, 0)
    assert down(0.25) == 150
    log = Scale(0.001, 10, 0, 400, log=True)
    assert [log(value) for value in (0.001, 0.01, 1, 10, 0)] == [0, 100, 300, 400, 0]


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (Scale(0, 1, 0, 1), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (Scale(1, 45, 0, 1), ["10", "20", "30", "40"]),
        (Scale(0.85, 1, 0, 1), ["0.85", "0.9", "0.95", "1"]),
        (Scale(1, 3, 0, 1), ["1", "1.5", "2", "2.5", "3"]),
        (Scale(1, 1, 0, 1), ["1"]),
        (Scale(0.001, 2, 0, 1, log=True), ["0.001", "0.01", "0.1", "1"]),
        (Scale(2e-5, 3e-5, 0, 1, log=True), ["2e-05", "3e-05"]),
    ],
)
def test_ticks_are_round(scale: Scale, expected: list[str]):
    texts = [tick.text for tick in scale.ticks(6)]
    assert texts == expected
    assert all(tick.at == scale(float(tick.text)) for tick in scale.ticks(6))


@pytest.mark.parametrize("values", [[0.97, 0.97], [1.0], [0.2, 0.9], [1e-9, 1.0], [0.0, 0.0], [5]])
@pytest.mark.parametrize("share", [False, True])
def test_a_scale_holds_its_values(values: list[float], share: bool):
    if share and max(values) > 1:
        return
    scale = scale_over(values, 200, 0, share=share)
    assert scale.low <= min(values) + 1e-12 and scale.high >= max(values) - 1e-12
    assert scale.low < scale.high
    assert all(0 <= scale(value) <= 200 for value in values)
    assert scale.ticks(5)


def test_a_wide_range_is_logarithmic():
    assert scale_over([1.04, 0.004], 1, 0).log
    assert not scale_over([1.04, 0.04], 1, 0).log
    assert not scale_over([1.0, 0.001], 1, 0, share=True).log


def test_paths():
    assert line_path([(0, 1.5), (2, 3)]) == "M0,1.5 2,3"
    assert line_path([]) == ""
    xs = np.arange(5_000)
    drawn = re.findall(
        r"([\d.]+),([\d.]+)", line_path(list(zip(xs.tolist(), (xs / 2).tolist(), strict=True)))
    )
    assert len(drawn) <= MOST_POINTS + 1
    assert drawn[0] == ("0", "0") and drawn[-1] == ("4999", "2499.5")
