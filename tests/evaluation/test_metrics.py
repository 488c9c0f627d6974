"""Every number of an evaluation, against scikit-learn and a table counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn import metrics as truth

from tlcli.evaluation import calibration, metrics
from tlcli.runs.evaluation_records import MajorityBaseline

CLASSES = ("bear", "cat", "dog", "eel", "fox", "gnu", "hen")


def draw_logits(classes: int, n: int = 260, seed: int = 1):
    """Logits and labels; the classes are of unequal size."""
    random = np.random.default_rng(seed)
    shares = np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    labels = random.choice(classes, n, p=shares)
    logits = random.normal(0, 1.5, (n, classes)) + 2 * np.eye(classes)[labels]
    return logits, labels


@pytest.mark.parametrize("count", [2, 3, 7])
def test_all_numbers_are_scikit_learns(count: int):
    logits, labels = draw_logits(count)
    values = special.softmax(logits, axis=1)
    scores = metrics.measure(logits, labels, CLASSES[:count])
    predicted = values.argmax(axis=1)
    hot = np.eye(count)[labels]
    assert scores.n == 260
    assert scores.accuracy == pytest.approx(truth.accuracy_score(labels, predicted))
    assert scores.balanced_accuracy == pytest.approx(
        truth.balanced_accuracy_score(labels, predicted)
    )
    for key, function in (
        ("precision", truth.precision_score),
        ("recall", truth.recall_score),
        ("f1", truth.f1_score),
    ):
        assert getattr(scores.macro, key) == pytest.approx(
            function(labels, predicted, average="macro")
        )
        each = function(labels, predicted, average=None)
        assert [getattr(row, key) for row in scores.per_class] == pytest.approx(list(each))
    assert list(map(list, scores.confusion)) == truth.confusion_matrix(labels, predicted).tolist()
    assert scores.roc_auc == pytest.approx(truth.roc_auc_score(hot, values, average="macro"))
    average = truth.average_precision_score(hot, values, average="macro")
    assert scores.average_precision == pytest.approx(average)
    rows = values / values.sum(axis=1, keepdims=True)
    assert scores.log_loss == pytest.approx(truth.log_loss(labels, rows), rel=1e-6)
    squares = [truth.brier_score_loss(hot[:, k], values[:, k]) for k in range(count)]
    assert scores.brier == pytest.approx(squares[1] if count == 2 else sum(squares), rel=1e-5)
    if count > 5:
        top = truth.top_k_accuracy_score(labels, values, k=5)
        assert (scores.top_k.k, scores.top_k.accuracy) == (5, pytest.approx(top))
    else:
        assert scores.top_k is None
    support = np.bincount(labels)
    usual = CLASSES[int(support.argmax())]
    assert scores.majority == MajorityBaseline(name=usual, accuracy=support.max() / 260)
    assert [row.support for row in scores.per_class] == support.tolist()
    assert (scores.temperature, scores.uncalibrated, scores.abstaining) == (None, None, None)


def test_a_table_counted_by_hand():
    """Ten photos: of 6 cats 4 are found, of 4 dogs 3."""
    labels = np.array([0] * 6 + [1] * 4)
    dog = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.9, 0.3, 0.7, 0.8, 0.95])
    scores = metrics.measure(np.log([1 - dog, dog]).T, labels, ("cat", "dog"))
    assert scores.confusion == ((4, 2), (1, 3))
    assert scores.accuracy == 0.7
    assert scores.balanced_accuracy == pytest.approx((4 / 6 + 3 / 4) / 2)
    cat, other = scores.per_class
    assert (cat.precision, cat.recall) == pytest.approx((4 / 5, 4 / 6))
    assert cat.f1 == pytest.approx(2 * 4 / (2 * 4 + 1 + 2))
    assert (other.precision, other.recall) == pytest.approx((3 / 5, 3 / 4))
    # Of 24 pairs of a cat and a dog, the dog has the higher value in 18 and the same in 1.
    assert other.roc_auc == cat.roc_auc == pytest.approx(18.5 / 24)
    chances = [0.9, 0.8, 0.7, 0.6, 0.4, 0.1, 0.3, 0.7, 0.8, 0.95]
    assert scores.log_loss == pytest.approx(-np.log(chances).mean())
    assert scores.brier == pytest.approx(np.mean([(1 - chance) ** 2 for chance in chances]))
    assert scores.majority == MajorityBaseline(name="cat", accuracy=0.6)
    assert scores.accuracy_interval == pytest.approx((0.3968, 0.8922), abs=5e-5)


def test_a_class_without_photos_does_not_count():
    logits, labels = draw_logits(3)
    kept = labels != 2
    scores = metrics.measure(logits[kept], labels[kept], CLASSES[:3])
    missing = scores.per_class[2]
    assert missing.support == 0
    assert (missing.recall, missing.roc_auc, missing.average_precision) == (None,) * 3
    first, second, _ = scores.per_class
    assert scores.balanced_accuracy == pytest.approx((first.recall + second.recall) / 2)
    assert scores.macro.f1 == pytest.approx((first.f1 + second.f1) / 2)


def test_photos_of_one_class_have_no_roc():
    scores = metrics.measure(np.log([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 0]), ("a", "b"))
    assert (scores.roc_auc, scores.average_precision) == (None, None)
    assert scores.confusion == ((1, 1), (0, 0))


def test_a_class_that_is_never_predicted_has_precision_0():
    scores = metrics.measure(np.log([[0.8, 0.2], [0.7, 0.3]]), np.array([0, 1]), ("a", "b"))
    assert scores.per_class[1].precision == 0.0
    assert scores.per_class[1].f1 == 0.0


def test_all_numbers_are_those_of_the_calibrated_probabilities():
    logits, labels = draw_logits(3)
    tempered = special.softmax(logits / 1.6, axis=1)
    threshold = calibration.choose_threshold(tempered, labels, 0.95)
    fitted = calibration.Calibration(1.6, threshold)
    scores = metrics.measure(logits, labels, CLASSES[:3], fitted)
    own = metrics.measure(logits, labels, CLASSES[:3])
    assert scores.temperature == 1.6
    assert scores.log_loss == pytest.approx(truth.log_loss(labels, tempered))
    assert scores.brier == pytest.approx(metrics.brier_score(tempered, labels))
    assert scores.ece == pytest.approx(calibration.expected_calibration_error(tempered, labels))
    hot = np.eye(3)[labels]
    assert scores.roc_auc == pytest.approx(truth.roc_auc_score(hot, tempered, average="macro"))
    assert scores.uncalibrated is not None
    assert scores.uncalibrated.model_dump() == {
        "log_loss": own.log_loss, "brier": own.brier, "ece": own.ece
    }  # fmt: skip
    assert scores.reliability.uncalibrated_bins == own.reliability.bins
    for actual, expected in zip(
        scores.reliability.bins, calibration.reliability_bins(tempered, labels), strict=True
    ):
        assert actual.model_dump() == pytest.approx(expected.model_dump())
    abstaining = scores.abstaining
    assert abstaining is not None
    assert (abstaining.probability, abstaining.target_precision) == (threshold.probability, 0.95)
    assert abstaining.coverage == pytest.approx(threshold.val_coverage)
    assert abstaining.precision == pytest.approx(threshold.val_precision)
    assert abstaining.answered == round(abstaining.coverage * 260)
