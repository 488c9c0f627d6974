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

Array = npt.NDArray[Any]

#: Top-k accuracy is told where there are more than k classes.
TOP_K = 5


def measure(
    probabilities: Array, labels: Array, classes: Sequence[str], fitted: Calibration | None = None
) -> dict[str, Any]:
    """All numbers on some photos; keys as in `evaluation-SPLIT.json`.

    Args:
        probabilities: uncalibrated, shape (n, classes), n at least 1.
        labels: the true classes, integers, shape (n,).
        fitted: the run's calibration, if it has one.
    """
    predicted = np.argmax(probabilities, axis=1)
    support = np.bincount(labels, minlength=len(classes))
    right = int((predicted == labels).sum())
    n, usual = len(labels), int(support.argmax())
    per_class = _per_class(probabilities, labels, predicted, classes)
    present = [one for one in per_class if one["support"]]
    macro = {key: _mean([one[key] for one in present]) for key in ("precision", "recall", "f1")}
    tempered = None if fitted is None else fitted.apply(probabilities)
    return {
        "n": n,
        "classes": list(classes),
        "accuracy": right / n,
        "accuracy_interval": list(intervals.wilson(right, n, intervals.LEVEL)),
        "level": intervals.LEVEL,
        "majority": {"class": classes[usual], "accuracy": float(support[usual] / n)},
        "balanced_accuracy": macro["recall"],
        "macro": macro,
        "per_class": per_class,
        "top_k": _top_k(probabilities, labels) if len(classes) > TOP_K else None,
        "roc_auc": _mean([one["roc_auc"] for one in per_class]),
        "average_precision": _mean([one["average_precision"] for one in per_class]),
        **_likelihood(probabilities, labels),
        "calibrated": None
        if fitted is None or tempered is None
        else {"temperature": fitted.temperature, **_likelihood(tempered, labels)},
        "abstaining": None
        if fitted is None or tempered is None or fitted.threshold is None
        else _abstaining(tempered, labels, fitted.threshold.probability),
        "reliability": {
            "bins": calibration.bins(probabilities, labels),
            "calibrated_bins": None if tempered is None else calibration.bins(tempered, labels),
        },
        "confusion": _confusion(labels, predicted, len(classes)),
    }


def brier(probabilities: Array, labels: Array) -> float:
    """The mean squared error of the probabilities (Brier, Monthly Weather Review 78, 1950).

    The sum over all classes, 0..2; of two classes, as is usual, half of it: 0..1.
    """
    wanted = np.eye(probabilities.shape[1])[labels]
    total = ((np.asarray(probabilities, np.float64) - wanted) ** 2).sum(axis=1).mean()
    return float(total / 2 if probabilities.shape[1] == 2 else total)


def _likelihood(probabilities: Array, labels: Array) -> dict[str, float]:
    return {
        "log_loss": calibration.log_loss(probabilities, labels),
        "brier": brier(probabilities, labels),
        "ece": calibration.expected_error(probabilities, labels),
    }


def _per_class(
    probabilities: Array, labels: Array, predicted: Array, classes: Sequence[str]
) -> list[dict[str, Any]]:
    from sklearn import metrics

    numbers = range(len(classes))
    # A class that is never predicted has no precision; it counts as 0.
    columns = metrics.precision_recall_fscore_support(
        labels, predicted, labels=list(numbers), zero_division=0.0
    )
    found = []
    for number, precision, recall, f1, support in zip(numbers, *columns, strict=True):
        ours, values = labels == number, probabilities[:, number]
        both = 0 < support < len(labels)
        found.append(
            {
                "class": classes[number],
                "support": int(support),
                "precision": float(precision),
                "recall": float(recall) if support else None,
                "f1": float(f1),
                "roc_auc": float(metrics.roc_auc_score(ours, values)) if both else None,
                "average_precision": float(metrics.average_precision_score(ours, values))
                if both
                else None,
            }
        )
    return found


def _confusion(labels: Array, predicted: Array, count: int) -> list[list[int]]:
    """Photos by true class (row) and predicted class (column)."""
    cells = np.bincount(labels * count + predicted, minlength=count * count)
    return [[int(cell) for cell in row] for row in cells.reshape(count, count)]


def _top_k(probabilities: Array, labels: Array) -> dict[str, Any]:
    """How often the true class is among the first `TOP_K`; of equal ones, the earlier class is."""
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP_K]
    return {"k": TOP_K, "accuracy": float((ranked == labels[:, None]).any(axis=1).mean())}


def _abstaining(tempered: Array, labels: Array, threshold: float) -> dict[str, Any]:
    """What is left where the model says "unsure" below the threshold."""
    answered = tempered.max(axis=1) >= threshold
    n = int(answered.sum())
    right = int((tempered.argmax(axis=1) == labels)[answered].sum())
    return {
        "probability": threshold,
        "answered": n,
        "coverage": n / len(labels),
        "precision": right / n if n else None,
        "precision_interval": list(intervals.wilson(right, n, intervals.LEVEL)),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
