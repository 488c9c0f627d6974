"""What a run says of labelled photos, as logits, from which every probability follows.

Those of a split are computed once and kept in the run, so that TensorFlow is imported, and the
model loaded, only where there are none.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlcli.data.findings import unreadable_lines
from tlcli.errors import DataError, Problem, RunError, reason
from tlcli.evaluation import labelled_photos
from tlcli.evaluation.calibration import Calibration, read_calibration
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

#: Before the class names in the heads of the columns of probabilities, and in those of logits.
COLUMN_PREFIX, LOGIT_PREFIX = "p:", "logit:"
_HEADS = ("path", "label", "predicted")

#: The last column of logits that were not computed in float32: what the base computed in.
PRECISION = "precision"

#: Tables of tlcli 0.1.0 have uncalibrated probabilities and no logits. Smaller probabilities count
#: as this one: of two classes, one was `1 - p` in float32, which cannot come closer to 0 than 6e-8.
EPSILON, SMALLEST_FLOAT = 1e-7, float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class LabelledLogits:
    """What a model says of labelled photos, before any calibration.

    Attributes:
        names: the paths of the photos, as shown.
        labels: the true classes, integers, shape (n,).
        logits: of a softmax, float64, shape (n, classes); see `probabilities.class_logits`.
        classes: in the order of the labels.
        exact: whether they are the network's, and not worked out from rounded probabilities.
        precision: that the base computed in; None where tlcli 0.1.0 did not say.
    """

    names: tuple[str, ...]
    labels: Array
    logits: Array
    classes: tuple[str, ...]
    exact: bool = True
    precision: str | None = "float32"

    def write(self, path: Path, calibration: Calibration) -> None:
        """As a table, with the probabilities under `calibration`.

        The logits read back are the same to the last bit.
        """
        chosen = likeliest_class(self.logits)
        values = np.concatenate([calibration.apply(self.logits), self.logits], axis=1)
        last = [] if self.precision in (None, "float32") else [self.precision]
        rows = (
            [name, self.classes[label], self.classes[best], *map(repr, row.tolist()), *last]
            for name, label, best, row in zip(self.names, self.labels, chosen, values, strict=True)
        )
        prefixes = (COLUMN_PREFIX, LOGIT_PREFIX)
        heads = (prefix + name for prefix in prefixes for name in self.classes)
        files.write_table(path, (*_HEADS, *heads, *([PRECISION] if last else [])), rows)

    def guesses(self, calibration: Calibration) -> tuple[Guess, ...]:
        """The likeliest class of each photo with its probability, in the order of the photos."""
        best = likeliest_class(self.logits)
        confidence = calibration.apply(self.logits).max(axis=1)
        odds = calibration.log_odds(self.logits).max(axis=1)
        return tuple(
            Guess(
                path=name,
                label=self.classes[label],
                predicted=self.classes[number],
                probability=float(value),
                log_odds=float(odd),
            )
            for name, label, number, value, odd in zip(
                self.names, self.labels, best, confidence, odds, strict=True
            )
        )


def read_table(path: Path) -> LabelledLogits:
    """A table of a run, as `LabelledLogits.write` or tlcli 0.1.0 wrote it.

    Raises `RunError` with the line that does not fit.
    """
    try:
        with files.open_text(path) as file:
            lines = csv.reader(file, strict=True)
            heads = next(lines, [])
            precision = "float32"
            has_precision = heads[-1:] == [PRECISION]
            classes = _classes(path, heads[:-1] if has_precision else heads)
            numbers = {name: number for number, name in enumerate(classes)}
            names, labels, rows = [], [], []
            for line in lines:
                if len(line) != len(heads) or line[1] not in numbers:
                    raise RunError(Problem(f"{path}:{lines.line_num}", "does not fit", AGAIN))
                if has_precision:
                    precision = line.pop()
                names.append(line[0])
                labels.append(numbers[line[1]])
                rows.append(_numbers(path, lines.line_num, line[len(_HEADS) :]))
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(Problem(str(path), f"cannot be read: {reason(error)}", AGAIN)) from error
    columns = len(heads) - len(_HEADS) - has_precision
    values = np.asarray(rows, np.float64).reshape(len(rows), columns)
    exact = values.shape[1] > len(classes)
    logits = values[:, len(classes) :] if exact else _rounded_logits(values)
    return LabelledLogits(
        tuple(names), np.asarray(labels, np.int64), logits, classes, exact,
        precision if exact else None,
    )  # fmt: skip


def _classes(path: Path, heads: list[str]) -> tuple[str, ...]:
    """The classes of a table. Raises `RunError` where its columns are others than they must be."""
    for number, name in enumerate(_HEADS):
        if heads[number : number + 1] != [name]:
            raise RunError(Problem(f"{path}:1", f"has no column '{name}'", AGAIN))
    columns = heads[len(_HEADS) :]
    names = [head.removeprefix(COLUMN_PREFIX) for head in columns if head.startswith(COLUMN_PREFIX)]
    probabilities = [COLUMN_PREFIX + name for name in names]
    if len(names) < 2 or columns not in (
        probabilities,
        probabilities + [LOGIT_PREFIX + name for name in names],
    ):
        raise RunError(Problem(f"{path}:1", "has other columns than tlcli writes", AGAIN))
    return tuple(names)


def _numbers(path: Path, line: int, values: list[str]) -> list[float]:
    try:
        numbers = list(map(float, values))
    except ValueError:
        numbers = [np.nan]
    if not np.isfinite(numbers).all():
        raise RunError(Problem(f"{path}:{line}", "holds a value that is no number", AGAIN))
    return numbers


def _rounded_logits(probabilities: Array) -> Array:
    floor = EPSILON if probabilities.shape[1] == 2 else SMALLEST_FLOAT
    return np.asarray(np.log(np.maximum(probabilities, floor)))


class RunProbabilities:
    """A run as a source of logits; its model is loaded when some have to be computed.

    `calibration` is what is in force for the run, or none where the network's own are asked for by
    `raw`. The tables in the run are always written under the run's. `precision` is that of the base
    (see `engines.choose_engine`); logits that the run keeps will do where it is `auto` or theirs.
    """

    def __init__(self, run: Run, *, raw: bool = False, precision: str = "auto") -> None:
        self.run, self._raw, self._precision = run, raw, precision
        self._opened: Predictor | None = None
        self.calibration = read_calibration(run, raw=raw)
        record = run.read(directory.RECORD)
        classes = record.get("classes") if isinstance(record, dict) else None
        if not isinstance(classes, list) or len(classes) < 2:
            raise RunError(Problem(str(run.file(directory.RECORD)), "does not list the classes"))
        self.classes = tuple(map(str, classes))
        model = {"run": run.path.resolve().name}
        model |= {key: record.get(key) for key in ("base", "created")}
        self.model = validate_record(run.file(directory.RECORD), model, EvaluatedModel)

    def _predictor(self, photos: int) -> Predictor:
        """The run's model, opened once: for so many photos, where that decides the precision."""
        if self._opened is not None:
            return self._opened
        # Imported here because it brings TensorFlow.
        from tlcli.evaluation.predict import Predictor

        predictor = Predictor(
            self.run.path, raw=self._raw, engine="keras", photos=photos, precision=self._precision
        )
        if predictor.classes != self.classes:
            message = f"the model and {directory.RECORD} have different classes"
            raise RunError(Problem(str(self.run.path), message, "the run is damaged; train again"))
        self._opened = predictor
        return predictor

    def split_logits(
        self, split: str, *, data: Path | None = None, again: bool = False
    ) -> LabelledLogits:
        """The logits of a split: read from the run, or computed and written there.

        Args:
            data: where the data folder is now; the photos in it are then checked in any case.
            again: compute them, also where the run has them.
        """
        photos = None
        if data:
            photos = labelled_photos.find_split_photos(self.run, split, self.classes, data)
        stored = None if again else self.stored_logits(split)
        if stored is not None and self._precision in ("auto", stored.precision):
            return stored
        if photos is None:
            photos = labelled_photos.find_split_photos(self.run, split, self.classes)
        computed = self.predict(photos)
        with warn_if_unwritable("the next evaluation will compute them again"):
            path = self.run.file(directory.predictions(split))
            computed.write(path, read_calibration(self.run))
        return computed

    def stored_logits(self, split: str) -> LabelledLogits | None:
        """The logits that the run keeps, if they are about its photos in their order."""
        rows = labelled_photos.read_recorded_split(self.run, split)
        root = labelled_photos.data_folder_of(self.run)
        path = self.run.file(directory.predictions(split))
        try:
            table = read_table(path)
        except RunError:
            return None
        photos = [(labelled_photos.photo_name(row, root), row.label) for row in rows]
        labels = [table.classes[label] for label in table.labels]
        if table.classes != self.classes or photos != list(zip(table.names, labels, strict=True)):
            return None
        if not table.exact:
            console.note(
                f"{path}: written by tlcli 0.1.0, with probabilities that were cut off; "
                f"`tlcli evaluate --split {split} --again` computes them from the photos"
            )
        return table

    def predict(self, photos: LabelledPhotos, *, tta: int = 0) -> LabelledLogits:
        """Compute the logits.

        With `tta` they are ln of the mean, over each photo and so many of its views, of the
        probabilities under `calibration`, and so need no more calibration.

        Raises `DataError` with every photo that cannot be read, or that has changed since its hash
        was taken.
        """
        predictor = self._predictor(len(photos.photos) * (1 + tta))
        problems: dict[Path, Problem] = {}
        rows: list[Array] = []
        with console.progress(len(photos.photos), f"evaluating {photos.name}") as bar:
            views = (View(str(photo.path), photo.sha256) for photo in photos.photos)
            for answer in predictor.stream(views, tta=tta):
                if isinstance(answer, Problem):
                    problems[Path(answer.where)] = answer
                else:
                    rows.append(answer.logits)
                bar.update(1)
        if problems:
            raise DataError(unreadable_lines(problems, photos.root))
        return LabelledLogits(
            tuple(photo.name for photo in photos.photos),
            np.array([photo.label for photo in photos.photos], np.int64),
            np.asarray(rows, np.float64),
            self.classes,
            precision=predictor.precision,
        )


@contextmanager
def warn_if_unwritable(hint: str) -> Iterator[None]:
    """Turn a failure to write into a run into a warning: such a run can still be evaluated."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or "the run")
        console.warn(str(Problem(where, f"cannot be written: {reason(error)}", hint)))
