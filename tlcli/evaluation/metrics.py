"""Every number that `tlcli evaluate` gives, from probabilities and labels.

Averages over classes are macro averages: every class that has photos counts the same, however many
those are. ROC AUC and average precision of a class set it against all the others; their average
takes the classes for which they exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.evaluation import calibration, intervals
from tlcli.evaluation.calibration import Calibration
from tlcli.networks.probabilities import likeliest_class
from tlcli.runs.evaluation_records import (
    Abstention,
    CalibratedScores,
    ClassScores,
    EvaluationScores,
    MacroAverages,
    MajorityBaseline,
    Reliability,
    TopK,
)

Array = npt.NDArray[Any]

#: Top-k accuracy is given where there are more than k classes.
TOP_K = 5


def measure(
    probabilities: Array, labels: Array, classes: Sequence[str], fitted: Calibration | None = None
) -> EvaluationScores:
    """All scores of a model on labelled photos.

    Args:
        probabilities: uncalibrated, shape (n, classes), n at least 1.
        labels: the true classes, integers, shape (n,).
        fitted: the run's calibration, if it has one.
    """
    predicted = likeliest_class(probabilities)
    right, n = int((predicted == labels).sum()), len(labels)
    per_class = _per_class(probabilities, labels, predicted, classes)
    macro = _macro([scores for scores in per_class if scores.support])
    tempered = None if fitted is None else fitted.apply(probabilities)
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
        top_k=_top_k(probabilities, labels) if len(classes) > TOP_K else None,
        roc_auc=_mean([scores.roc_auc for scores in per_class]),
        average_precision=_mean([scores.average_precision for scores in per_class]),
        log_loss=calibration.log_loss(probabilities, labels),
        brier=brier_score(probabilities, labels),
        ece=calibration.expected_calibration_error(probabilities, labels),
        calibrated=_calibrated(tempered, labels, fitted),
        abstaining=_abstention(tempered, labels, fitted),
        reliability=Reliability(
            bins=calibration.reliability_bins(probabilities, labels),
            calibrated_bins=None
            if tempered is None
            else calibration.reliability_bins(tempered, labels),
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


def _top_k(probabilities: Array, labels: Array) -> TopK:
    """How often the true class is among the first `TOP_K`; of equal ones, the earlier class is."""
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP_K]
    return TopK(k=TOP_K, accuracy=float((ranked == labels[:, None]).any(axis=1).mean()))


def _calibrated(
    tempered: Array | None, labels: Array, fitted: Calibration | None
) -> CalibratedScores | None:
    if tempered is None or fitted is None:
        return None
    return CalibratedScores(
        temperature=fitted.temperature,
        log_loss=calibration.log_loss(tempered, labels),
        brier=brier_score(tempered, labels),
        ece=calibration.expected_calibration_error(tempered, labels),
    )


def _abstention(
    tempered: Array | None, labels: Array, fitted: Calibration | None
) -> Abstention | None:
    """The answers at or above the threshold of the calibration; below it the model is unsure."""
    if tempered is None or fitted is None or fitted.threshold is None:
        return None
    threshold = fitted.threshold.probability
    answered = tempered.max(axis=1) >= threshold
    n = int(answered.sum())
    right = int((likeliest_class(tempered) == labels)[answered].sum())
    return Abstention(
        probability=threshold,
        answered=n,
        coverage=n / len(labels),
        precision=right / n if n else None,
        precision_interval=intervals.wilson_interval(right, n, intervals.CONFIDENCE_LEVEL),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
