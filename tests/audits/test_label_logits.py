"""The classifier of an audit: out-of-fold, in closed form, and calibrated."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.audits.label_logits import PENALTY, out_of_fold_logits
from tlcli.data.folds import Fold, make_folds


def data(photos: int = 60, classes: int = 3):
    random = np.random.default_rng(1)
    labels = np.arange(photos) % classes
    features = np.eye(classes)[labels] @ random.normal(0, 2, (classes, 8))
    return features + random.normal(0, 3, (photos, 8)), labels


def normal_equations(features, labels, folds: list[Fold]):
    """Ridge regression written out, divided by the spread of its outputs."""
    scaled = (features - features.mean(0)) / features.std(0)
    targets = np.eye(labels.max() + 1)[labels]
    logits = np.empty(targets.shape)
    for fold in folds:
        mean, middle = scaled[fold.fitted].mean(0), targets[fold.fitted].mean(0)
        inputs = scaled[fold.fitted] - mean
        gram = inputs.T @ inputs + PENALTY * len(inputs) * np.eye(inputs.shape[1])
        weights = np.linalg.solve(gram, inputs.T @ (targets[fold.fitted] - middle))
        logits[fold.judged] = (scaled[fold.judged] - mean) @ weights + middle
    return logits / logits.std()


def test_logits_are_those_of_the_normal_equations_at_the_best_temperature():
    features, labels = data()
    folds = make_folds(labels, [str(i) for i in range(60)], 5, 0)
    given = out_of_fold_logits({"top": features}, labels, [folds])
    raw = normal_equations(features, labels, folds)

    def loss(temperature: float) -> float:
        powers = np.exp(raw / temperature)
        own = powers[np.arange(60), labels] / powers.sum(axis=1)
        return float(-np.log(own).mean())

    temperature = min(np.geomspace(0.05, 20, 4_000), key=loss)
    assert given == pytest.approx(raw / temperature, rel=0.01)


def test_boundaries_and_divisions_are_averaged():
    features, labels = data()
    names = [str(i) for i in range(60)]
    first, second = (make_folds(labels, names, 5, seed) for seed in (0, 1))
    rows = {"low": features[:, :4], "high": features}
    parts = [
        out_of_fold_logits({name: values}, labels, [folds])
        for name, values in rows.items()
        for folds in (first, second)
    ]
    both = out_of_fold_logits(rows, labels, [first, second])
    assert both == pytest.approx(np.mean(parts, axis=0))


def test_no_photo_has_a_say_in_the_classifier_that_judges_it():
    features, labels = data()
    folds = make_folds(labels, [str(i) for i in range(60)], 5, 0)
    changed = labels.copy()
    changed[0] = (labels[0] + 1) % 3
    before, after = (out_of_fold_logits({"top": features}, y, [folds]) for y in (labels, changed))

    def direction(logits):  # the scale is one for all photos
        return logits[0] / np.linalg.norm(logits[0])

    assert direction(before) == pytest.approx(direction(after))
    assert before[1:] != pytest.approx(after[1:])
