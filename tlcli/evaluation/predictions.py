"""The probabilities that a run gives to labelled photos.

Those of a split are computed once and kept in the run, so that TensorFlow is imported, and the
model loaded, only where there are none.
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

from tlcli.data.findings import unreadable_lines
from tlcli.errors import DataError, Problem, RunError, reason
from tlcli.evaluation import labelled_photos
from tlcli.evaluation.labelled_photos import LabelledPhotos
from tlcli.images.loader import View
from tlcli.networks.probabilities import likeliest_class
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import EvaluatedModel, Guess
from tlcli.runs.records import AGAIN, validate_record
from tlcli.system import console, files

if TYPE_CHECKING:
    from tlcli.evaluation.predict import Predictor


Array = npt.NDArray[Any]

#: Before the class names in the heads of the columns of probabilities.
COLUMN_PREFIX = "p:"


@dataclass(frozen=True)
class LabelledProbabilities:
    """The probabilities that a model gives to labelled photos.

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
        heads = ("path", "label", "predicted", *(COLUMN_PREFIX + name for name in self.classes))
        files.write_table(path, heads, rows)


def read_predictions(
    path: Path, names: Sequence[str], labels: Sequence[int], classes: Sequence[str]
) -> LabelledProbabilities | None:
    """The table at `path`, if it is there, whole, and about these very photos in this order."""
    try:
        with files.open_text(path) as file:
            heads, *rows = csv.reader(file, strict=True)
        if heads != ["path", "label", "predicted", *(COLUMN_PREFIX + name for name in classes)]:
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


def read_guesses(path: Path) -> tuple[Guess, ...] | None:
    """The likeliest class of each photo in a table of probabilities; None where there is no table.

    Raises `RunError` with the line that does not fit.
    """
    if not path.is_file():
        return None
    guesses = []
    try:
        with files.open_text(path) as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                probability = row[COLUMN_PREFIX + row["predicted"]]
                names = {key: row[key] for key in ("path", "label", "predicted")}
                value = {**names, "probability": probability}
                guesses.append(validate_record(path, value, Guess, reader.line_num))
    except KeyError as error:
        message = f"has no column '{error.args[0]}'"
        raise RunError(Problem(f"{path}:1", message, AGAIN)) from None
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(Problem(str(path), f"cannot be read: {reason(error)}", AGAIN)) from error
    return tuple(guesses)


class RunProbabilities:
    """A run as a source of probabilities; its model is loaded when one has to be computed."""

    def __init__(self, run: Run) -> None:
        self.run = run
        record = run.read(directory.RECORD)
        classes = record.get("classes") if isinstance(record, dict) else None
        if not isinstance(classes, list) or len(classes) < 2:
            raise RunError(Problem(str(run.file(directory.RECORD)), "does not list the classes"))
        self.classes = tuple(map(str, classes))
        model = {"run": run.path.resolve().name}
        model |= {key: record.get(key) for key in ("base", "created")}
        self.model = validate_record(run.file(directory.RECORD), model, EvaluatedModel)

    @cached_property
    def _predictor(self) -> Predictor:
        # Imported here because it brings TensorFlow.
        from tlcli.evaluation.predict import Predictor

        predictor = Predictor(self.run.path, raw=True)
        if predictor.classes != self.classes:
            message = f"the model and {directory.RECORD} have different classes"
            raise RunError(Problem(str(self.run.path), message, "the run is damaged; train again"))
        return predictor

    def split_probabilities(
        self, split: str, *, data: Path | None = None, again: bool = False
    ) -> LabelledProbabilities:
        """The probabilities of a split: read from the run, or computed and written there.

        Args:
            data: where the data folder is now; the photos in it are then checked in any case.
            again: compute them, also where the run has them.
        """
        photos = None
        if data:
            photos = labelled_photos.find_split_photos(self.run, split, self.classes, data)
        if not again and (stored := self._read_split(split)) is not None:
            return stored
        if photos is None:
            photos = labelled_photos.find_split_photos(self.run, split, self.classes)
        computed = self.predict(photos)
        with warn_if_unwritable("the next evaluation will compute them again"):
            computed.write(self.run.file(directory.predictions(split)))
        return computed

    def _read_split(self, split: str) -> LabelledProbabilities | None:
        """The stored probabilities, if they are about the photos and classes of the run."""
        rows = labelled_photos.read_recorded_split(self.run, split)
        root = labelled_photos.data_folder_of(self.run)
        if not {row.label for row in rows} <= set(self.classes):
            return None
        names = [labelled_photos.photo_name(row, root) for row in rows]
        labels = [self.classes.index(row.label) for row in rows]
        path = self.run.file(directory.predictions(split))
        return read_predictions(path, names, labels, self.classes)

    def predict(self, photos: LabelledPhotos, *, tta: int = 0) -> LabelledProbabilities:
        """Compute the probabilities.

        Raises `DataError` with every photo that cannot be read, or that has changed since its hash
        was taken.
        """
        predictor = self._predictor
        problems: dict[Path, Problem] = {}
        rows: list[Array] = []
        with console.progress(len(photos.photos), f"evaluating {photos.name}") as bar:
            views = (View(photo.path, photo.sha256) for photo in photos.photos)
            for answer in predictor.stream(views, tta=tta):
                if isinstance(answer, Problem):
                    problems[Path(answer.where)] = answer
                else:
                    rows.append(answer.probabilities)
                bar.update(1)
        if problems:
            raise DataError(unreadable_lines(problems, photos.root))
        return LabelledProbabilities(
            tuple(photo.name for photo in photos.photos),
            np.array([photo.label for photo in photos.photos], np.int64),
            np.asarray(rows, np.float64),
            self.classes,
        )


@contextmanager
def warn_if_unwritable(hint: str) -> Iterator[None]:
    """Turn a failure to write into a run into a warning: such a run can still be evaluated."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or "the run")
        console.warn(str(Problem(where, f"cannot be written: {reason(error)}", hint)))
