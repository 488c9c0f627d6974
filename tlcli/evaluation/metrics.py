"""Every number that `tlcli evaluate` gives, from logits, their calibration and labels.

Averages over classes are macro averages: every class that has photos counts the same, however many
those are. ROC AUC and average precision of a class set it against all the others; their average
takes the classes for which they exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.evaluation import intervals
from tlcli.evaluation.calibration import (
    RAW,
    Calibration,
    expected_calibration_error,
    reliability_bins,
)
from tlcli.networks.probabilities import TOP_K, likeliest_class
from tlcli.networks.temperature import log_loss
from tlcli.runs.evaluation_records import (
    Abstention,
    ClassScores,
    EvaluationScores,
    MacroAverages,
    MajorityBaseline,
    Reliability,
    TopK,
    UncalibratedScores,
)

Array = npt.NDArray[Any]


def measure(
    logits: Array, labels: Array, classes: Sequence[str], calibration: Calibration = RAW
) -> EvaluationScores:
    """All scores of a model on labelled photos.

    Args:
        logits: of a softmax, shape (n, classes), n at least 1.
        labels: the true classes, integers, shape (n,).
        calibration: what makes probabilities of them.
    """
    predicted, probabilities = likeliest_class(logits), calibration.apply(logits)
    right, n = int((predicted == labels).sum()), len(labels)
    per_class = _per_class(probabilities, labels, predicted, classes)
    macro = _macro([scores for scores in per_class if scores.support])
    temperature = calibration.temperature
    own = None if temperature is None else RAW.apply(logits)
    return EvaluationScores(
        n=n,
        classes=tuple(classes),
        accuracy=right / n,
        accuracy_interval=intervals.wilson_interval(right, n, intervals.CONFIDENCE_LEVEL),
        level=intervals.CONFIDENCE_LEVEL,
        majority=_majority(labels, classes),
        balanced_accuracy=macro.recall,
        macro=macro,
        per_class=per_class,
        top_k=_top_k(logits, labels) if len(classes) > TOP_K else None,
        roc_auc=_mean([scores.roc_auc for scores in per_class]),
        average_precision=_mean([scores.average_precision for scores in per_class]),
        temperature=temperature,
        log_loss=log_loss(logits, labels, temperature or 1),
        brier=brier_score(probabilities, labels),
        ece=expected_calibration_error(probabilities, labels),
        uncalibrated=None if own is None else _uncalibrated(logits, own, labels),
        abstaining=_abstention(probabilities, predicted == labels, calibration),
        reliability=Reliability(
            bins=reliability_bins(probabilities, labels),
            uncalibrated_bins=None if own is None else reliability_bins(own, labels),
        ),
        confusion=_confusion(labels, predicted, len(classes)),
    )


def brier_score(probabilities: Array, labels: Array) -> float:
    """The mean squared error of the probabilities (Brier, Monthly Weather Review 78, 1950).

    The sum over all classes, 0..2; of two classes, as is usual, half of it: 0..1.
    """
    targets = np.eye(probabilities.shape[1])[labels]
    total = ((np.asarray(probabilities, np.float64) - targets) ** 2).sum(axis=1).mean()
    return float(total / 2 if probabilities.shape[1] == 2 else total)


def _majority(labels: Array, classes: Sequence[str]) -> MajorityBaseline:
    support = np.bincount(labels, minlength=len(classes))
    most_frequent = int(support.argmax())
    accuracy = float(support[most_frequent] / len(labels))
    return MajorityBaseline(name=classes[most_frequent], accuracy=accuracy)


def _per_class(
    probabilities: Array, labels: Array, predicted: Array, classes: Sequence[str]
) -> tuple[ClassScores, ...]:
    from sklearn import metrics

    numbers = range(len(classes))
    # A class that is never predicted has no precision; it counts as 0.
    columns = metrics.precision_recall_fscore_support(
        labels, predicted, labels=list(numbers), zero_division=0.0
    )
    scores = []
    for number, precision, recall, f1, support in zip(numbers, *columns, strict=True):
        is_class, values = labels == number, probabilities[:, number]
        # A ranking needs photos of the class and others.
        ranked = 0 < support < len(labels)
        scores.append(
            ClassScores(
                name=classes[number],
                support=int(support),
                precision=float(precision),
                recall=float(recall) if support else None,
                f1=float(f1),
                roc_auc=float(metrics.roc_auc_score(is_class, values)) if ranked else None,
                average_precision=float(metrics.average_precision_score(is_class, values))
                if ranked
                else None,
            )
        )
    return tuple(scores)


def _macro(per_class: Sequence[ClassScores]) -> MacroAverages:
    """Means over classes that have photos, and so a recall."""
    return MacroAverages(
        precision=float(np.mean([scores.precision for scores in per_class])),
        recall=float(np.mean([scores.recall for scores in per_class])),
        f1=float(np.mean([scores.f1 for scores in per_class])),
    )


def _confusion(labels: Array, predicted: Array, count: int) -> tuple[tuple[int, ...], ...]:
    """Photos by true class (row) and predicted class (column)."""
    cells = np.bincount(labels * count + predicted, minlength=count * count)
    return tuple(tuple(map(int, row)) for row in cells.reshape(count, count))


def _top_k(logits: Array, labels: Array) -> TopK:
    """How often the true class is among the first `TOP_K`; of equal ones, the earlier class is."""
    ranked = np.argsort(-logits, axis=1, kind="stable")[:, :TOP_K]
    return TopK(k=TOP_K, accuracy=float((ranked == labels[:, None]).any(axis=1).mean()))


def _uncalibrated(logits: Array, probabilities: Array, labels: Array) -> UncalibratedScores:
    return UncalibratedScores(
        log_loss=log_loss(logits, labels),
        brier=brier_score(probabilities, labels),
        ece=expected_calibration_error(probabilities, labels),
    )


def _abstention(probabilities: Array, right: Array, calibration: Calibration) -> Abstention | None:
    """The answers at or above the threshold of the calibration; below it the model is unsure."""
    if calibration.threshold is None:
        return None
    threshold = calibration.threshold.probability
    answered = probabilities.max(axis=1) >= threshold
    n, right_answers = int(answered.sum()), int(right[answered].sum())
    return Abstention(
        probability=threshold,
        target_precision=calibration.threshold.target_precision,
        answered=n,
        coverage=n / len(right),
        precision=right_answers / n if n else None,
        precision_interval=intervals.wilson_interval(right_answers, n, intervals.CONFIDENCE_LEVEL),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
