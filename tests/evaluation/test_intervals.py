"""Intervals and the paired test, against the numbers that their papers and textbooks print."""

from __future__ import annotations

import pytest
from scipy import stats

from tlcli.evaluation import intervals
from tlcli.evaluation.intervals import PairedCounts


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
     (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilson_as_published(successes: int, n: int, low: float, high: float):
    """Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3."""
    assert intervals.wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (3, 7), (293, 302), (5000, 9999)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_is_scipys(successes: int, n: int, level: float):
    truth = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert intervals.wilson_interval(successes, n, level) == pytest.approx((truth.low, truth.high))


def test_wilson_at_the_ends():
    assert intervals.wilson_interval(0, 0) == (0.0, 1.0)
    assert intervals.wilson_interval(0, 10)[0] == 0.0
    assert intervals.wilson_interval(10, 10)[1] == 1.0


def test_the_paired_interval_as_published():
    """Newcombe, Statistics in Medicine 17 (1998), 2635-2650, table II, method 10."""
    assert PairedCounts(36, 2, 12, 0).difference == pytest.approx(0.2)
    assert PairedCounts(36, 2, 12, 0).difference_interval() == pytest.approx(
        (0.0569, 0.3404), abs=5e-5
    )


def test_the_paired_interval_turns_with_the_runs():
    low, high = PairedCounts(20, 12, 2, 16).difference_interval()
    assert PairedCounts(20, 2, 12, 16).difference_interval() == pytest.approx((-high, -low))


@pytest.mark.parametrize(
    "counts",
    [(5, 0, 0, 0), (0, 0, 0, 5), (0, 3, 0, 0), (4, 0, 0, 4), (1, 1, 0, 0)],
)
def test_the_paired_interval_of_odd_tables_holds_the_difference(counts: tuple[int, int, int, int]):
    pairs = PairedCounts(*counts)
    low, high = pairs.difference_interval()
    assert -1 <= low <= pairs.difference <= high <= 1
    assert low < high


def test_no_photos():
    nothing = PairedCounts(0, 0, 0, 0)
    assert (nothing.difference, nothing.difference_interval()) == (0.0, (-1.0, 1.0))
    assert nothing.mcnemar_test().p == 1.0


def test_mcnemar_as_published():
    """Two media for sputum cultures, Armitage and Berry, Statistical Methods in Medical Research
    (3rd ed., 1994), p. 127: 12 specimens grew on one alone, 2 on the other."""
    assert intervals.chi_squared_mcnemar_test(12, 2).statistic == pytest.approx(5.785714, abs=5e-7)
    assert intervals.chi_squared_mcnemar_test(12, 2).p == pytest.approx(0.0162, abs=5e-5)
    outcome = PairedCounts(20, 12, 2, 16).mcnemar_test()
    assert (outcome.method, outcome.statistic) == ("exact", None)
    assert outcome.p == pytest.approx(0.0129, abs=5e-5)


def test_mcnemar_of_many():
    """Presidential approval, Agresti, Categorical Data Analysis (1990), p. 350."""
    outcome = PairedCounts(794, 150, 86, 570).mcnemar_test()
    assert outcome.method == "chi-squared"
    assert outcome.statistic == pytest.approx((150 - 86 - 1) ** 2 / (150 + 86))
    assert outcome.p == pytest.approx(stats.chi2.sf(outcome.statistic, 1))
    assert outcome.p == pytest.approx(4.115e-05, rel=1e-3)


def test_the_exact_test_is_the_binomial_one():
    for differing in range(1, intervals.EXACT_BELOW):
        for first in range(differing + 1):
            outcome = PairedCounts(7, first, differing - first, 1).mcnemar_test()
            assert outcome.method == "exact"
            assert outcome.p == pytest.approx(stats.binomtest(first, differing).pvalue)
    assert PairedCounts(0, 13, 12, 0).mcnemar_test().method == "chi-squared"


def test_equal_halves_are_no_evidence():
    assert intervals.chi_squared_mcnemar_test(40, 40).p == 1.0
    assert intervals.exact_mcnemar_test(3, 3).p == 1.0
