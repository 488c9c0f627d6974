"""A run as a source of probabilities, for all that is measured on labelled photos.

The probabilities of a split are computed once and kept in the run, so that TensorFlow is imported,
and the model loaded, only where there are none.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import DataError, Problem, RunError, reason
from tlcli.evaluation import labelled_photos
from tlcli.evaluation.labelled_photos import LabelledPhotos
from tlcli.networks.probabilities import likeliest_class
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import EvaluatedModel
from tlcli.runs.records import checked
from tlcli.system import console, files

if TYPE_CHECKING:
    from tlcli.evaluation.predict import Predictor


class RunProbabilities:
    """A run as a source of probabilities; its model is loaded where it is needed."""

    def __init__(self, run: Run) -> None:
        self.run = run
        record = run.read(directory.RECORD)
        classes = record.get("classes") if isinstance(record, dict) else None
        if not isinstance(classes, list) or len(classes) < 2:
            raise RunError(Problem(str(run.file(directory.RECORD)), "does not list the classes"))
        self.classes = tuple(map(str, classes))
        model = {"run": run.path.resolve().name}
        model |= {key: record.get(key) for key in ("base", "created")}
        self.model = checked(run.file(directory.RECORD), model, EvaluatedModel)

    @cached_property
    def _predictor(self) -> Predictor:
        # Imported here because it brings TensorFlow.
        from tlcli.evaluation.predict import Predictor

        predictor = Predictor(self.run.path, raw=True)
        if predictor.classes != self.classes:
            message = f"the model and {directory.RECORD} have different classes"
            raise RunError(Problem(str(self.run.path), message, "the run is damaged; train again"))
        return predictor

    def split(
        self, split: str, *, data: Path | None = None, again: bool = False
    ) -> LabelledProbabilities:
        """The probabilities of a split: those that the run has, or computed now and kept there."""
        path = self.run.file(directory.predictions(split))
        photos = (
            labelled_photos.find_split_photos(self.run, split, self.classes, data) if data else None
        )
        rows, root = (
            labelled_photos.read_recorded_split(self.run, split),
            labelled_photos.data_folder_of(self.run),
        )
        if not again and {row.label for row in rows} <= set(self.classes):
            names = [labelled_photos.photo_name(row, root) for row in rows]
            labels = [self.classes.index(row.label) for row in rows]
            if (there := read_predictions(path, names, labels, self.classes)) is not None:
                return there
        found = self.predict(
            photos or labelled_photos.find_split_photos(self.run, split, self.classes)
        )
        with warn_if_unwritable("the next evaluation will compute them again"):
            found.write(path)
        return found

    def predict(self, photos: LabelledPhotos, *, tta: int = 0) -> LabelledProbabilities:
        """Compute the probabilities. Raises `DataError` with every photo that cannot be read."""
        predictor, problems = self._predictor, []
        rows = []
        with console.progress(len(photos.photos), f"evaluating {photos.name}") as bar:
            paths = (photo.path for photo in photos.photos)
            for _, values in predictor.stream(paths, tta=tta):
                if isinstance(values, Problem):
                    problems.append(values)
                else:
                    rows.append(values)
                bar.update(1)
        if problems:
            raise DataError(problems)
        return LabelledProbabilities(
            tuple(photo.name for photo in photos.photos),
            np.array([photo.label for photo in photos.photos], np.int64),
            np.asarray(rows, np.float64),
            self.classes,
        )


@contextmanager
def warn_if_unwritable(hint: str) -> Iterator[None]:
    """Writing into a run: one that cannot be written to is told, and can still be evaluated."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or "the run")
        console.warn(str(Problem(where, f"cannot be written: {reason(error)}", hint)))


Array = npt.NDArray[Any]


#: Before the class names in the heads of the columns of probabilities.
PREFIX = "p:"


@dataclass(frozen=True)
class LabelledProbabilities:
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
        chosen = likeliest_class(self.probabilities)
        rows = (
            [name, self.classes[label], self.classes[best], *map(repr, values.tolist())]
            for name, label, best, values in zip(
                self.names, self.labels, chosen, self.probabilities, strict=True
            )
        )
        heads = ("path", "label", "predicted", *(PREFIX + name for name in self.classes))
        files.write_table(path, heads, rows)


def read_predictions(
    path: Path, names: Sequence[str], labels: Sequence[int], classes: Sequence[str]
) -> LabelledProbabilities | None:
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
    return LabelledProbabilities(tuple(names), np.asarray(labels, np.int64), values, tuple(classes))
