"""Confident learning: which labels are probably wrong, and how many of them.

Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70
(2021), sections 3.1 and 3.2. The probabilities must be out-of-fold: those of a photo come from a
classifier that was not fitted on it. Written from the paper; cleanlab is another implementation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def class_thresholds(probabilities: Array, labels: Array) -> Array:
    """How sure the classifier is of each class, on average over the photos with that label, (k,).

    `probabilities` has shape (n, k), `labels` (n,), and every class has a photo.
    """
    own = probabilities[np.arange(len(labels)), labels]
    return np.array([own[labels == label].mean() for label in range(probabilities.shape[1])])


def confident_classes(probabilities: Array, labels: Array) -> Array:
    """The class that each photo is confidently of, (n,); -1 for none.

    That is the likeliest of the classes whose probability reaches their threshold.
    """
    reached = probabilities >= class_thresholds(probabilities, labels)
    likeliest = np.where(reached, probabilities, -1.0).argmax(axis=1)
    return np.where(reached.any(axis=1), likeliest, -1)


def count_confident(probabilities: Array, labels: Array) -> Array:
    """The confident joint, int (k, k): photos by label (row) and class that they are surely of."""
    confident, classes = confident_classes(probabilities, labels), probabilities.shape[1]
    known = confident >= 0
    counts = np.zeros((classes, classes), np.intp)
    np.add.at(counts, (labels[known], confident[known]), 1)
    return counts


def estimate_joint(counts: Array, labels: Array) -> Array:
    """Photos by label and true class, float (k, k); a row sums to the photos with that label.

    The paper's equation 3, not divided by the number of photos. A label that no photo is confident
    of any class under counts as right.
    """
    of_label = np.bincount(labels, minlength=len(counts)).astype(float)
    sums = counts.sum(axis=1)
    shares = np.where(sums[:, None] > 0, counts / np.maximum(sums, 1)[:, None], np.eye(len(counts)))
    return np.asarray(shares * of_label[:, None])


def rank_by_margin(probabilities: Array, labels: Array) -> tuple[Array, Array, Array]:
    """Photos for which another class is likelier than their label, the largest margin first.

    Returns their positions, (m,), that class, (m,), and by how much its probability exceeds that of
    the label, (m,): what the paper's rule PBNR ranks by.
    """
    rows = np.arange(len(labels))
    likeliest = probabilities.argmax(axis=1)
    margin = probabilities[rows, likeliest] - probabilities[rows, labels]
    order = np.argsort(-margin, kind="stable")
    positions = order[likeliest[order] != labels[order]]
    return positions, likeliest[positions], margin[positions]


def count_wrong(probabilities: Array, labels: Array) -> int:
    """How many labels are wrong, as the confident joint estimates it."""
    joint = estimate_joint(count_confident(probabilities, labels), labels)
    return round(float(joint.sum() - np.trace(joint)))
