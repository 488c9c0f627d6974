"""Curves of answers over a threshold, and of precision over recall, beside scikit-learn's."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve

from tlcli.evaluation.answer_curves import answer_curves


def some(n: int, classes: int, seed: int = 0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    scores = random.random((n, classes)).round(1) + 0.05 + 0.6 * np.eye(classes)[labels]
    return scores / scores.sum(axis=1, keepdims=True), labels


def test_precision_over_recall():
    probabilities, labels = some(80, 3)
    curves = answer_curves(probabilities, labels, ("a", "b", "c"))
    assert (curves.n, [curve.name for curve in curves.classes]) == (80, ["a", "b", "c"])
    for number, curve in enumerate(curves.classes):
        positive, scores = labels == number, probabilities[:, number]
        precision, recall, _ = precision_recall_curve(positive, scores)
        # scikit-learn begins at the lowest score, and adds the point (0, 1).
        np.testing.assert_allclose(curve.precision, precision[-2::-1])
        np.testing.assert_allclose(curve.recall, recall[-2::-1])
        np.testing.assert_allclose(curve.average, average_precision_score(positive, scores))


def test_answers_over_a_threshold():
    probabilities, labels = some(60, 4)
    curve = answer_curves(probabilities, labels, tuple("abcd")).threshold
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    assert list(curve.thresholds) == sorted(set(confidence.tolist()))
    for threshold, answered, kept in zip(
        curve.thresholds, curve.answered, curve.right, strict=True
    ):
        asked = confidence >= threshold
        np.testing.assert_allclose([answered, kept], [asked.mean(), right[asked].mean()])
    assert curve.answered[0] == 1
    np.testing.assert_allclose(curve.right[0], right.mean())


def test_classes_without_photos_and_one_alone_have_no_curve():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0]])
    curves = answer_curves(probabilities, np.array([0, 0]), ("a", "b", "c"))
    assert curves.classes == ()
    assert curves.threshold.right == (1.0, 1.0)
    curves = answer_curves(probabilities, np.array([0, 1]), ("a", "b", "c"))
    assert [curve.name for curve in curves.classes] == ["a", "b"]
    assert curves.classes[0].average == 1.0
