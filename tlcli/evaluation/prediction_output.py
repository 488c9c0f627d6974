"""Predictions as `tlcli predict` prints them: a table, JSON, lines of JSON, or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tlcli.errors import Problem
from tlcli.system import console, streams

if TYPE_CHECKING:
    from tlcli.evaluation.prediction import Prediction


_CSV_HEADS = (
    "path", "label", "probability", "error", "unsure", "log_odds", "unknown", "distance"
)  # fmt: skip


def print_predictions(
    predictions: Iterable[Prediction],
    form: str,
    classes: tuple[str, ...],
    *,
    abstains: bool = False,
) -> int:
    """Print predictions as they come, in one of four forms; returns how many photos failed.

    In the table, photos that cannot be read are reported on stderr; the other forms keep them in
    place. A model that abstains has a threshold: the table says "unsure" before what stays below
    it. Before a photo that is like no training photo it says "unknown". CSV has the same columns
    always. Photos that are unknown, and those that the run was trained on, are counted in one line
    each at the end. It stops, and nothing has failed, once nobody reads stdout any more.
    """
    tally = _PhotoCounts()
    counted = tally.counting(predictions)
    if form == "json":
        console.result_json([prediction.as_dict() for prediction in counted])
    elif form == "jsonl":
        for prediction in counted:
            console.result_json(prediction.as_dict(), lines=True)
    elif form == "csv":
        _print_csv(counted)
    else:
        _print_table(counted, classes, abstains=abstains)
    if streams.reader_left():
        return 0
    tally.note_unknown()
    tally.warn_of_training_photos()
    return tally.failed


class _PhotoCounts:
    """Counts of the predictions that were printed."""

    def __init__(self) -> None:
        self.total = 0
        self.failed = 0
        self.seen: list[str] = []
        self.unknown: list[str] = []

    def counting(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Hand predictions on, one by one, while somebody reads them, and count them."""
        for prediction in predictions:
            self.total += 1
            self.failed += prediction.error is not None
            if prediction.seen_in_training:
                self.seen.append(prediction.path)
            if prediction.error is None and prediction.unknown:
                self.unknown.append(prediction.path)
            yield prediction
            if streams.reader_left():
                return

    def note_unknown(self) -> None:
        """One line for all photos that are unknown."""
        count = len(self.unknown)
        if not count:
            return
        photos = f"{count:,} of {console.counted(self.total, 'photo')}"
        subject = photos if self.total > 1 else "the photo"
        console.note(
            f"unknown: {subject} {'is' if count == 1 else 'are'} unlike all training photos, and "
            "may show none of the classes; --no-unknown turns this off"
        )

    def warn_of_training_photos(self) -> None:
        """One warning for all photos of the run's training set."""
        count = len(self.seen)
        if not count:
            return
        photos = f"{count:,} of {console.counted(self.total, 'photo')}"
        subject = photos if self.total > 1 else "the photo"
        message = f"{subject} {'was' if count == 1 else 'were'} in the training set of the run"
        where = self.seen[0] + (", ..." if count > 1 else "")
        hint = "predictions for such photos say nothing about new ones"
        console.warn(str(Problem(where, message, hint)))


def _print_table(
    predictions: Iterable[Prediction], classes: tuple[str, ...], *, abstains: bool
) -> None:
    width = max(map(len, map(console.printable, classes)))
    for prediction in predictions:
        if prediction.error is not None:
            console.error(str(Problem(prediction.path, prediction.error, prediction.hint)))
            continue
        ranked = "  ".join(f"{label:<{width}}  {value:.4f}" for label, value in prediction.top)
        mark = "unknown: " if prediction.unknown else "unsure: " if prediction.unsure else ""
        mark = f"{mark:<9}" if abstains else mark
        console.result(_in_one_line(f"{mark}{ranked}  {prediction.path}"))
        for neighbour in prediction.neighbours or ():
            line = f"{neighbour.distance:.4f}  {neighbour.label:<{width}}  {neighbour.path}"
            console.result(_in_one_line(f"    {line}"))


def _in_one_line(text: str) -> str:
    return text.replace("\n", "\\n")


def _print_csv(predictions: Iterable[Prediction]) -> None:
    console.result(_csv_line(list(_CSV_HEADS)))
    for prediction in predictions:
        for values in _csv_values(prediction):
            console.result(_csv_line(values))


def _csv_values(prediction: Prediction) -> list[list[str]]:
    """The lines of a photo; `unsure` and `unknown` are empty where no limit is in force.

    Numbers have all their digits, without which the surest photos could not be ranked.
    """
    if prediction.error is not None:
        problem = str(Problem("", prediction.error, prediction.hint))
        return [[prediction.path, "", "", problem, "", "", "", ""]]
    unsure = "" if prediction.threshold is None else "yes" if prediction.unsure else "no"
    unknown = "" if prediction.distance_limit is None else "yes" if prediction.unknown else "no"
    distance = "" if prediction.distance is None else repr(prediction.distance)
    return [
        [prediction.path, label, repr(value), "", unsure, repr(odds), unknown, distance]
        for (label, value), odds in zip(prediction.top, prediction.log_odds, strict=True)
    ]


def _csv_line(values: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
