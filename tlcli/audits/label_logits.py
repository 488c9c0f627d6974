"""What a classifier makes of each photo that it was not fitted on, from stored features.

It is a regularised least-squares classifier: ridge regression on a column of 0 and 1 for each class
(Rifkin, Yeo, Poggio, "Regularized least-squares classification", 2003). A wrong label pulls it less
than a logistic regression, which must explain every photo, and it is fitted without steps. Logits
of several boundaries, and of several divisions into folds, are averaged; docs/labels.md has what
that gained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.folds import Fold
from tlcli.networks.temperature import fit_temperature
from tlcli.system import console

Array = npt.NDArray[Any]

#: The penalty for each photo that is fitted on, of standardised features.
PENALTY = 0.3


def out_of_fold_logits(
    features: Mapping[str, Array], labels: Array, divisions: Sequence[Sequence[Fold]]
) -> Array:
    """Calibrated logits of each photo from classifiers that were not fitted on it, (n, classes).

    Args:
        features: rows by boundary, shape (n, channels).
        labels: numbers of classes, (n,), each of which has a photo to fit on in every fold.
        divisions: each a division of the photos into folds.
    """
    from sklearn.preprocessing import StandardScaler

    parts = []
    with console.progress(len(features), "fitting", "boundaries") as bar:
        for rows in features.values():
            scaled = StandardScaler().fit_transform(rows.astype(np.float64))
            parts += [_logits(scaled, labels, folds) for folds in divisions]
            bar.update(1)
    return np.asarray(np.mean(parts, axis=0))


def _logits(scaled: Array, labels: Array, folds: Sequence[Fold]) -> Array:
    """Logits of one boundary and division, calibrated on all labels."""
    from sklearn.linear_model import Ridge

    targets = np.eye(int(labels.max()) + 1)[labels]
    logits = np.empty_like(targets)
    for fold in folds:
        model = Ridge(alpha=PENALTY * len(fold.fitted), solver="cholesky")
        model.fit(scaled[fold.fitted], targets[fold.fitted])
        logits[fold.judged] = model.predict(scaled[fold.judged])
    logits /= max(float(logits.std()), 1e-12)  # the temperature is sought near 1
    return np.asarray(logits / fit_temperature(logits, labels))
