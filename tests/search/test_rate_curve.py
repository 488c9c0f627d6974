"""Range tests of rates: smoothing, valley and steepest point, by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tlcli.search.rate_curve import (
    HIGHEST,
    LOWEST,
    STEPS,
    Divergence,
    find_rise,
    find_steepest,
    find_valley,
    join_tests,
    smooth,
    swept_rates,
)


def test_the_rates_grow_by_one_factor():
    rates = swept_rates()
    assert (rates[0], len(rates)) == (LOWEST, STEPS)
    assert rates[-1] == pytest.approx(HIGHEST)
    assert rates[1:] / rates[:-1] == pytest.approx(np.full(STEPS - 1, 1e8 ** (1 / 99)))


def test_the_mean_weighs_losses_by_their_age():
    losses = [3.0, 1.0, 4.0]
    weights = np.array([0.81, 0.9, 1])
    expected = (weights * losses).sum() / weights.sum()
    assert smooth(losses, 0.9)[-1] == pytest.approx(expected)
    assert smooth(losses, 0.9)[0] == 3.0
    assert smooth([2.0] * 50) == pytest.approx([2.0] * 50)


def longest_fall(loss) -> int:
    """The length of the longest decreasing subsequence, by trying all."""
    n = len(loss)
    return max(
        len(chosen)
        for size in range(1, n + 1)
        for chosen in itertools.combinations(range(n), size)
        if all(loss[a] > loss[b] for a, b in itertools.pairwise(chosen))
    )


def test_the_valley_is_the_middle_of_the_longest_fall():
    flat, fall, rise = [5.0] * 10, list(np.linspace(4.9, 2, 12)), [3.0, 4.0, 6.0]
    loss = np.array(flat + fall + rise)
    # The fall ends at step 21 and is 13 long, the last flat step included: 21 - 13 + 4 + 2.
    assert find_valley(loss) == 14
    random = np.random.default_rng(0)
    for _ in range(20):
        values = random.normal(size=9)
        length = longest_fall(values)
        ends = [
            end for end in range(9)
            if longest_fall([v for v in values[:end] if v > values[end]] or [0])
            + bool([v for v in values[:end] if v > values[end]]) == length
        ]  # fmt: skip
        third = length / 3
        assert find_valley(values) == max(0, ends[0] - length) + int(third) + int(third / 2)


def test_the_steepest_point_is_the_middle_of_the_largest_fall_before_the_lowest_loss():
    flat, slow, fast = [9.0] * 5, [9 - 0.1 * i for i in range(10)], [8 - i for i in range(7)]
    rise = [2.5, 9.0]
    assert find_steepest(np.array(flat + slow + fast + rise)) == 15 + 3
    spike = [9.0, 4.0, 9.0, 9.0, 9.0, 9.0, 9.0]  # one step is noise
    assert find_steepest(np.array(spike + slow + fast + rise)) == 7 + 10 + 3
    assert find_steepest(np.array([5.0, 4.0, 6.0])) == 0
    assert find_steepest(np.array([1.0, 2.0])) == 0


def test_a_tenth_of_the_rate_with_the_lowest_loss_is_suggested():
    curve = join_tests([falling(40)] * 2)
    lowest = curve.rates[10:-5][int(curve.loss[10:-5].argmin())]
    suggested = curve.suggested()
    assert suggested == pytest.approx(lowest / 10)
    steepest = curve.steepest()
    assert steepest is not None
    assert curve.rates[35] < steepest < lowest


def test_the_rise_is_where_the_losses_are_certainly_higher():
    # The first 30 steps have a mean of 1 and a standard deviation of 0.1: 1.3 is the limit.
    calm = [0.9, 1.1] * 15
    assert find_rise(np.array([[*calm, *[1.0] * 20]])) is None
    assert find_rise(np.array([[*calm, *[1.29] * 20]])) is None
    # Of steps 40 to 44 with 1.2, 1.25, 1.6, 1.7, 1.8 the mean of 40, 41 and 42 is the first above.
    tail = [*[1.0] * 10, 1.2, 1.25, 1.6, 1.7, 1.8]
    assert find_rise(np.array([[*calm, *tail]])) == 41
    # A single high step of one test among three is none.
    others = [[*calm, *[1.0] * 15]] * 2
    assert find_rise(np.array([[*calm, *[1.0] * 7, 2.0, *[1.0] * 7], *others])) is None
    assert find_rise(np.array([[*calm, *tail]] * 3)) == 41


def test_what_is_suggested_for_a_stage_that_goes_on_is_below_the_rise():
    curve = join_tests([[*[0.9, 1.1] * 15, *[1.0] * 10, *[2.0] * 10]] * 2)
    assert curve.rise == pytest.approx(swept_rates()[39]), "steps 38 to 40 have a mean of 1.33"
    assert curve.below_rise() == pytest.approx(0.7 * swept_rates()[39])
    assert join_tests([[1.0] * STEPS]).below_rise() is None
    ended = join_tests([[1.0] * STEPS, [1.0] * 50])
    assert ended.rise == swept_rates()[49], "the one that was shorter has diverged"
    assert join_tests([[]]).below_rise() is None


def falling(at: int, low: float = 0.2) -> list[float]:
    """A flat loss that falls from a step on, and then rises."""
    steps = np.arange(STEPS)
    down = 1 - (1 - low) / (1 + np.exp(-(steps - at) / 4))
    return list(down + np.exp((steps - 90) / 4))


def test_the_mean_of_the_tests_ends_with_the_shortest():
    tests = [falling(40), falling(50)[:60]]
    curve = join_tests(tests)
    assert len(curve.rates) == 60
    both = np.array([smooth(test[:60]) for test in tests])
    assert curve.loss == pytest.approx(both.mean(axis=0))
    assert curve.low == pytest.approx(both.min(axis=0))
    assert curve.high == pytest.approx(both.max(axis=0))
    assert curve.falls
    valley = curve.valley()
    assert valley is not None
    assert curve.rates[20] < valley < curve.rates[59]


@pytest.mark.parametrize(
    "losses", [[1.0] * STEPS, [1.0] * 8, [1.0], [], list(np.linspace(1, 3, STEPS))]
)
def test_a_loss_that_does_not_fall_suggests_nothing(losses: list[float]):
    curve = join_tests([losses, losses])
    assert (curve.suggested(), curve.valley(), curve.steepest()) == (None, None, None)


def test_a_test_ends_where_the_loss_is_no_number_or_four_times_the_best():
    watch = Divergence()
    assert watch.ends_with(float("nan"))
    # Before step 30 the mean of few photos is no best loss, and a high one no end.
    assert not any(map(watch.ends_with, [0.001, 9.0] + [1.0] * 40))
    assert not watch.ends_with(30.0)
    assert watch.ends_with(400.0)
    assert Divergence().ends_with(float("inf"))
