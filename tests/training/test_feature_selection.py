"""Group lasso, against scikit-learn's lasso and the conditions of an optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from tlcli.training import feature_selection
from tlcli.training.feature_selection import SHARES, Logistic, group_lasso, strongest_penalty


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feature_selection, "_SETTLED", 1e-7)
    monkeypatch.setattr(feature_selection, "_STEPS", 50_000)


def sample(classes: int) -> tuple[Any, Any, Any]:
    """Standardised features, of which five count, labels, and what rows count."""
    generator = np.random.default_rng(classes)
    x = generator.normal(size=(120, 60)) * generator.uniform(0.5, 2, 60)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    kernel = np.zeros((60, classes))
    kernel[:5] = 2 * generator.normal(size=(5, classes))
    labels = (x @ kernel + generator.gumbel(size=(120, classes))).argmax(axis=1)
    return x, labels, generator.uniform(0.5, 1.5, 120)


def test_with_two_classes_it_is_the_lasso_of_scikit_learn():
    x, labels, weights = sample(2)
    problem = Logistic.of(x, labels, weights)
    penalties = [share * strongest_penalty(problem) for share in SHARES[:4]]
    for penalty, kernel in zip(penalties, group_lasso(problem, penalties), strict=True):
        strength = 1 / (penalty * weights.sum())
        model = LogisticRegression(
            l1_ratio=1, C=strength, solver="saga", max_iter=20_000, tol=1e-9, random_state=0
        )
        model.fit(x, labels, weights)
        np.testing.assert_allclose(kernel[:-1, 0], model.coef_[0], atol=1e-6)
        np.testing.assert_allclose(kernel[-1], model.intercept_, atol=1e-6)


def test_with_more_classes_the_conditions_of_the_optimum_hold():
    x, labels, weights = sample(4)
    problem = Logistic.of(x, labels, weights)
    share = (weights / weights.sum())[:, None]
    before = 0
    strongest = strongest_penalty(problem)
    penalties = [share * strongest for share in SHARES]
    for penalty, kernel in zip(penalties, group_lasso(problem, penalties), strict=True):
        weight, bias = kernel[:-1], kernel[-1]
        errors = (softmax(x @ weight + bias, axis=1) - np.eye(4)[labels]) * share
        slopes, lengths = x.T @ errors, np.linalg.norm(weight, axis=1)
        kept = lengths > 0
        directions = weight[kept] / lengths[kept, None]
        np.testing.assert_allclose(slopes[kept], -penalty * directions, atol=1e-6)
        assert (np.linalg.norm(slopes[~kept], axis=1) <= penalty * (1 + 1e-6)).all()
        np.testing.assert_allclose(errors.sum(axis=0), 0, atol=1e-6)
        assert kept.sum() >= before, "a weaker penalty leaves more features here"
        before = kept.sum()
    assert before > 40


def test_no_feature_is_left_at_the_strongest_penalty_and_one_just_below():
    problem = Logistic.of(*sample(3))
    strongest = strongest_penalty(problem)
    none, single = group_lasso(problem, [strongest, 0.98 * strongest])
    assert not none[:-1].any()
    np.testing.assert_allclose(none[-1], problem.without_features()[-1], atol=1e-6)
    assert (single[:-1] != 0).any(axis=1).sum() == 1
