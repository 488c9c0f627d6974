"""The curve of a learning-rate range test, and the rates that it suggests.

The test is Smith's (WACV 2017, arXiv 1506.01186): the rate grows at every step, and the loss shows
where training begins to pay and where it falls apart. Range, smoothing, the end of the test and the
valley are those of fastai 2 (`Learner.lr_find`, `callback/schedule.py`), which also has a tenth of
the rate with the lowest loss (`minimum`). A stage that goes on from another begins with photos that
are learned for the most part. There the loss has little to fall, and what counts is where it rises.
`benchmarks/find_lr.py` holds all of these against grids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: The rates of a test, and its steps.
LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100

#: What the mean of the losses so far keeps of itself at each step.
BETA = 0.98

#: A test ends where the smoothed loss is so many times its best.
DIVERGED = 4.0

#: Steps at both ends that suggest nothing: at first the mean has seen few losses, in the end the
#: loss runs away.
FIRST_LEFT_OUT, LAST_LEFT_OUT = STEPS // 10, 5

#: The share of the rate with the lowest loss that is suggested. There the loss is about to rise, so
#: that it is too high to train with.
SAFE = 0.1

#: The first steps, of rates that change little, by which a rise is judged; the steps whose mean has
#: to be higher; and by how many standard deviations of a step.
CALM_STEPS, RISE_STEPS, RISE = 30, 3, 3.0

#: The share of the rate at which the loss rises that is suggested for a stage that goes on.
BELOW_RISE = 0.7

#: Steps over which the steepness is taken, half a power of ten: a single one is noise.
STEEP_STEPS = 6

#: The share by which the smoothed loss has to fall, or the curve suggests nothing.
LEAST_FALL = 0.05


def swept_rates() -> Array:
    """The rates of all steps, each the same factor above the one before."""
    return np.geomspace(LOWEST, HIGHEST, STEPS)


def smooth(losses: Sequence[float] | Array, beta: float = BETA) -> Array:
    """The exponential moving average, corrected for its start at zero, as in Adam."""
    means, mean = [], 0.0
    for count, loss in enumerate(losses, 1):
        mean = beta * mean + (1 - beta) * loss
        means.append(mean / (1 - beta**count))
    return np.array(means)


class Divergence:
    """Watches the losses of a test, and says when it is over.

    Unlike in fastai that is not before `CALM_STEPS`, unless a loss is no number: the mean of few
    photos is chance, all the more where a stage goes on and most of them are learned.
    """

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._best = math.inf

    def ends_with(self, loss: float) -> bool:
        """Whether the test ends with this loss: no number, or too high."""
        if not math.isfinite(loss):
            return True
        self._losses.append(loss)
        if len(self._losses) < CALM_STEPS:
            return False
        smoothed = float(smooth(self._losses)[-1])
        self._best = min(self._best, smoothed)
        return smoothed > DIVERGED * self._best


@dataclass(frozen=True)
class RateCurve:
    """The mean of several tests, smoothed, as far as all of them went.

    Attributes:
        rates: of the steps, shape (n,).
        loss: the smoothed loss, the mean of the tests, shape (n,).
        low, high: the lowest and the highest of the tests, shape (n,).
        rise: the rate at which the loss rises, as `find_rise` says, or at which the first test has
            diverged; None where neither is so.
    """

    rates: Array
    loss: Array
    low: Array
    high: Array
    rise: float | None = None

    @property
    def judged(self) -> slice:
        """The steps that suggest something."""
        return slice(FIRST_LEFT_OUT, len(self.rates) - LAST_LEFT_OUT)

    @property
    def falls(self) -> bool:
        """Whether the loss falls by more than a rate that teaches nothing would show."""
        loss = self.loss[self.judged]
        return len(loss) > 2 and float(loss.min()) < (1 - LEAST_FALL) * float(loss[0])

    def suggested(self) -> float | None:
        """A tenth of the rate with the lowest loss; None where the curve does not fall."""
        if not self.falls:
            return None
        return SAFE * float(self.rates[self.judged][int(self.loss[self.judged].argmin())])

    def below_rise(self) -> float | None:
        """What is suggested for a stage that goes on; None where the loss does not rise."""
        return None if self.rise is None else BELOW_RISE * self.rise

    def valley(self) -> float | None:
        """The rate in the middle of the longest fall; None where the curve does not fall."""
        if not self.falls:
            return None
        return float(self.rates[self.judged][find_valley(self.loss[self.judged])])

    def steepest(self) -> float | None:
        """The rate at which the loss falls fastest; None where the curve does not fall."""
        if not self.falls:
            return None
        return float(self.rates[self.judged][find_steepest(self.loss[self.judged])])


def join_tests(tests: Sequence[Sequence[float]]) -> RateCurve:
    """The curve of the losses of several tests; empty where one has none."""
    count = min(map(len, tests))
    together = np.array([losses[:count] for losses in tests]).reshape(len(tests), count)
    smoothed = np.array([smooth(losses) for losses in together]).reshape(together.shape)
    rates = swept_rates()[:count]
    rise = find_rise(together) if count else None
    if rise is None and 0 < count < STEPS:
        rise = count - 1
    return RateCurve(
        rates, smoothed.mean(axis=0), smoothed.min(axis=0), smoothed.max(axis=0),
        None if rise is None else float(rates[rise]),
    )  # fmt: skip


def find_rise(losses: Array) -> int | None:
    """The first step at which the losses of several tests, (tests, steps), are certainly higher.

    That is the middle of `RISE_STEPS` steps whose mean, over all tests, is above that of the first
    `CALM_STEPS` by `RISE` standard deviations of a step. None where there is no such step.
    """
    calm = losses[:, :CALM_STEPS]
    limit = float(calm.mean() + RISE * calm.std(axis=1).mean())
    mean = losses.mean(axis=0)
    for step in range(CALM_STEPS, len(mean) - RISE_STEPS + 1):
        if float(mean[step : step + RISE_STEPS].mean()) > limit:
            return step + RISE_STEPS // 2
    return None


def find_valley(loss: Array) -> int:
    """The step in the middle of the longest decreasing subsequence, counted back from its end.

    Of several that are as long the first counts. This is `valley` of fastai, whose default it is.
    """
    lengths = np.ones(len(loss), int)
    for step in range(1, len(loss)):
        before = lengths[:step][loss[:step] > loss[step]]
        lengths[step] = 1 + (int(before.max()) if len(before) else 0)
    end = int(lengths.argmax())
    third = int(lengths[end]) / 3
    return max(0, end - int(lengths[end])) + int(third) + int(third / 2)


def find_steepest(loss: Array) -> int:
    """The middle of the `STEEP_STEPS` steps before the lowest loss in which it falls most.

    The rates are evenly spaced on a log scale.
    """
    falling = loss[: int(loss.argmin()) + 1]
    span = min(STEEP_STEPS, len(falling) - 1)
    if span == 0:
        return 0
    return int((falling[span:] - falling[:-span]).argmin()) + span // 2
