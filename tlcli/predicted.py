"""Probabilities of labelled photos, kept in a run as `predictions-SPLIT.csv`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.system import files

Array = npt.NDArray[Any]

#: Before the class names in the heads of the columns of probabilities.
PREFIX = "p:"


@dataclass(frozen=True)
class Predicted:
    """What a model says of labelled photos.

    Attributes:
        names: the paths of the photos, as shown.
        labels: the true classes, integers, shape (n,).
        probabilities: uncalibrated, float64, shape (n, classes).
        classes: in the order of the labels.
    """

    names: tuple[str, ...]
    labels: Array
    probabilities: Array
    classes: tuple[str, ...]

    def write(self, path: Path) -> None:
        """As a table; the numbers read back are the same to the last bit."""
        chosen = self.probabilities.argmax(axis=1)
        rows = (
            [name, self.classes[label], self.classes[best], *map(repr, values.tolist())]
            for name, label, best, values in zip(
                self.names, self.labels, chosen, self.probabilities, strict=True
            )
        )
        heads = ("path", "label", "predicted", *(PREFIX + name for name in self.classes))
        files.write_table(path, heads, rows)


def read(
    path: Path, names: Sequence[str], labels: Sequence[int], classes: Sequence[str]
) -> Predicted | None:
    """The table at `path`, if it is there, whole, and about these very photos in this order."""
    try:
        with files.open_text(path) as file:
            heads, *rows = csv.reader(file, strict=True)
        if heads != ["path", "label", "predicted", *(PREFIX + name for name in classes)]:
            return None
        if [row[:2] for row in rows] != [
            [name, classes[label]] for name, label in zip(names, labels, strict=True)
        ]:
            return None
        values = np.array([row[3:] for row in rows], np.float64)
    except (OSError, ValueError, csv.Error):
        return None
    if values.shape != (len(names), len(classes)) or not np.isfinite(values).all():
        return None
    return Predicted(tuple(names), np.asarray(labels, np.int64), values, tuple(classes))
