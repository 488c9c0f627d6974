"""The figures of a k-fold evaluation, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tlcli.evaluation.folds import summarise_folds
from tlcli.evaluation.intervals import resampled_interval, wilson_interval
from tlcli.runs.fold_record import FoldRecord, FoldResult, FoldSettings


def fold(seed: int, number: int, right: tuple[int, int], mistakes=()) -> FoldResult:
    return FoldResult(
        seed=seed, fold=number, fitted=15, val=0, judged=(6, 4), right=right, log_loss=0.25,
        mistakes=mistakes, seconds=1,
    )  # fmt: skip


def record(*results: FoldResult) -> FoldRecord:
    settings = FoldSettings(recipe="a", data="b", val=0, folds=2, stages=("head",))
    return FoldRecord(
        settings=settings, name="few", base="VGG16", image_size=(32, 32), classes=("cat", "dog"),
        photos=20, images=0, precision="float32", results=results,
    )  # fmt: skip


def test_figures_counted_by_hand():
    wrong = {"path": "a.png", "label": "cat", "predicted": "dog", "probability": 0.7}
    summary = summarise_folds(
        record(fold(0, 1, (6, 2), [wrong]), fold(0, 2, (6, 4)),
               fold(1, 1, (5, 4), [wrong]), fold(1, 2, (6, 3)))
    )  # fmt: skip
    assert summary.accuracy == pytest.approx((0.8 + 1.0 + 0.9 + 0.9) / 4)
    assert (summary.least, summary.most) == (0.8, 1.0)
    # Variances within a seed: 0.02 and 0; means of the seeds: 0.9 and 0.9.
    assert summary.between_folds == pytest.approx(0.1)
    assert summary.between_seeds == pytest.approx(0)
    assert summary.majority == ("cat", 0.6)
    assert [(r.name, r.photos) for r in summary.recalls] == [("cat", 12), ("dog", 8)]
    assert [r.recall for r in summary.recalls] == pytest.approx([23 / 24, 13 / 16])
    assert [r.least for r in summary.recalls] == pytest.approx([5 / 6, 2 / 4])
    assert summary.balanced_accuracy == pytest.approx((23 / 24 + 13 / 16) / 2)
    (hard,) = summary.hard
    assert (hard.path, hard.label, hard.predicted, hard.seeds) == ("a.png", "cat", "dog", 2)
    low, high = resampled_interval([0.8, 1.0, 0.9, 0.9], 1 / 2)
    assert summary.interval == pytest.approx((low, 1.0))
    assert high > 1


def test_folds_that_are_all_right_are_not_certain():
    summary = summarise_folds(record(fold(0, 1, (6, 4)), fold(0, 2, (6, 4))))
    assert summary.interval == pytest.approx(wilson_interval(20, 20))
    assert summary.between_seeds is None


def test_the_interval_is_that_of_nadeau_and_bengio():
    """By SciPy's t with the variance of the paper: a fifth is judged, four fifths are fitted."""
    scores = np.random.default_rng(0).uniform(0.8, 1, 10)
    scale = np.sqrt((1 / 10 + 1 / 4) * scores.var(ddof=1))
    truth = stats.t.interval(0.95, 9, loc=scores.mean(), scale=scale)
    assert resampled_interval(scores.tolist(), 1 / 5) == pytest.approx(truth)


def test_it_covers_where_a_plain_interval_does_not():
    """500 evaluations of a classifier of means on two overlapping classes, against its accuracy."""
    from scipy.stats import norm

    random, truth = np.random.default_rng(1), norm.cdf(0.5)
    inside = plain = 0
    for _ in range(500):
        y = np.arange(40) % 2
        x = random.normal(0, 1, 40) + y
        scores = []
        for _ in range(3):
            order = random.permutation(40)
            for judged in np.split(order, 5):
                fitted = np.setdiff1d(order, judged)
                middle = (x[fitted][y[fitted] == 0].mean() + x[fitted][y[fitted] == 1].mean()) / 2
                scores.append(float(((x[judged] > middle) == y[judged]).mean()))
        low, high = resampled_interval(scores, 1 / 5)
        inside += low <= truth <= high
        reach = 2.14 * np.std(scores, ddof=1) / np.sqrt(15)
        plain += abs(np.mean(scores) - truth) <= reach
    assert inside >= 0.9 * 500
    assert plain < 0.8 * 500
