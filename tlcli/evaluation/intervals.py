"""How certain a share is: confidence intervals, and the paired test of two classifiers.

Everything here is a formula on counts; nothing is estimated by simulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, variance
from typing import Literal

#: The confidence level of every interval that is shown.
CONFIDENCE_LEVEL = 0.95

#: Below this number of photos on which two classifiers differ, the test counts exactly; from it
#: on, the chi-squared approximation is good.
EXACT_BELOW = 25

Interval = tuple[float, float]


def wilson_interval(successes: int, n: int, level: float = CONFIDENCE_LEVEL) -> Interval:
    """The score interval of a proportion (Wilson, JASA 22, 1927), without continuity correction.

    Unlike the usual plus-minus, it stays within 0..1 and is right for shares near 0 and 1. Without
    any trial it is (0, 1).
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    centre = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else (centre - reach) / scale
    high = 1.0 if successes == n else (centre + reach) / scale
    return low, high


def resampled_interval(
    values: Sequence[float], judged: float, level: float = CONFIDENCE_LEVEL
) -> Interval:
    """The interval of the mean of scores that come from divisions of the same photos.

    Folds share most of the photos that they train on, so their scores vary less than those of new
    photos would, and a plain t interval is too narrow. The variance of the mean is taken as
    (1 / n + judged / fitted) times that of the scores: the corrected resampled t of Nadeau and
    Bengio, Machine Learning 52 (2003), 239-281; for repeated folds Bouckaert and Frank, PAKDD 2004.

    Args:
        values: n scores, 2 at least.
        judged: the share of the photos that each of them was measured on.
    """
    from scipy.stats import t

    n = len(values)
    deviation = math.sqrt((1 / n + judged / (1 - judged)) * variance(values))
    reach = float(t.ppf((1 + level) / 2, n - 1)) * deviation
    return mean(values) - reach, mean(values) + reach


@dataclass(frozen=True)
class PairedCounts:
    """Two classifiers on the same photos: how many both, one alone, or neither gets right."""

    both: int
    first_only: int
    second_only: int
    neither: int

    @property
    def n(self) -> int:
        """The number of photos."""
        return self.both + self.first_only + self.second_only + self.neither

    @property
    def difference(self) -> float:
        """Accuracy of the second less that of the first."""
        return (self.second_only - self.first_only) / self.n if self.n else 0.0

    def difference_interval(self, level: float = CONFIDENCE_LEVEL) -> Interval:
        """The interval of `difference`: square-and-add of two score intervals, for paired shares.

        Method 10 of Newcombe, Statistics in Medicine 17 (1998), 2635-2650. (-1, 1) without photos.
        """
        n = self.n
        if n == 0:
            return -1.0, 1.0
        first, second = self.both + self.first_only, self.both + self.second_only
        p1, p2 = second / n, first / n
        low1, high1 = wilson_interval(second, n, level)
        low2, high2 = wilson_interval(first, n, level)
        phi = self._phi()

        def reach(a: float, b: float) -> float:
            return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

        below, above = reach(p1 - low1, high2 - p2), reach(high1 - p1, p2 - low2)
        return max(-1.0, self.difference - below), min(1.0, self.difference + above)

    def _phi(self) -> float:
        """The correlation of being right, corrected for continuity as Newcombe does."""
        first, second = self.both + self.first_only, self.both + self.second_only
        product = first * (self.n - first) * second * (self.n - second)
        if product == 0:
            return 0.0
        cross: float = self.both * self.neither - self.first_only * self.second_only
        if cross > 0:
            cross = max(0.0, cross - self.n / 2)
        return cross / math.sqrt(product)

    def mcnemar_test(self) -> McNemarTest:
        """McNemar's test (Psychometrika 12, 1947) that both are right equally often.

        Only photos on which they differ count: the exact test below `EXACT_BELOW` of them,
        otherwise chi-squared.
        """
        if self.first_only + self.second_only < EXACT_BELOW:
            return exact_mcnemar_test(self.first_only, self.second_only)
        return chi_squared_mcnemar_test(self.first_only, self.second_only)


@dataclass(frozen=True)
class McNemarTest:
    """The outcome of a paired test: `statistic` is chi-squared's, None for the exact one."""

    method: Literal["exact", "chi-squared"]
    statistic: float | None
    p: float


def exact_mcnemar_test(first_only: int, second_only: int) -> McNemarTest:
    """The two-sided binomial test that each is right on half of the photos on which two differ."""
    fewer, differing = min(first_only, second_only), first_only + second_only
    tail = sum(math.comb(differing, count) for count in range(fewer + 1))
    return McNemarTest("exact", None, min(1.0, 2 * tail / 2**differing))


def chi_squared_mcnemar_test(first_only: int, second_only: int) -> McNemarTest:
    """Chi-squared with one degree of freedom, corrected for continuity (Edwards, Psychometrika 13,
    1948). At least one photo must differ."""
    distance = max(0, abs(first_only - second_only) - 1)
    statistic = distance**2 / (first_only + second_only)
    return McNemarTest("chi-squared", statistic, math.erfc(math.sqrt(statistic / 2)))
