"""The tables that commands print: bases, runs, the store, predictions."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tlcli.errors import Problem
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.evaluation.predict import Prediction


def print_predictions(
    found: Iterable[Prediction], form: str, classes: tuple[str, ...], *, abstains: bool = False
) -> int:
    """Print predictions as they come, in one of four forms; returns how many photos failed.

    In the table, photos that cannot be read are told on stderr; the other forms keep them in place.
    A model that abstains has a threshold: the table says "unsure" before what stays below it, and
    CSV gets a column for it. Photos the run was trained on are counted in one warning at the end.
    """
    failed = 0
    collected = []
    seen: list[str] = []
    total = 0
    width = max(map(len, map(console.printable, classes)))
    if form == "csv":
        heads = ["path", "label", "probability", "error", *(["unsure"] if abstains else [])]
        console.result(_csv_line(heads))
    for prediction in found:
        total += 1
        failed += prediction.error is not None
        if prediction.seen_in_training:
            seen.append(prediction.path)
        if form == "json":
            collected.append(prediction.as_dict())
        elif form == "jsonl":
            console.result_json(prediction.as_dict(), lines=True)
        elif form == "csv":
            for values in _csv_values(prediction):
                flag = ["yes" if prediction.unsure else ""] if abstains else []
                console.result(_csv_line([*values, *flag]))
        elif prediction.error is not None:
            console.error(f"{prediction.path}: {prediction.error}".replace("\n", "\\n"))
        else:
            ranked = "  ".join(f"{label:<{width}}  {value:.4f}" for label, value in prediction.top)
            unsure = "unsure: " if prediction.unsure else " " * len("unsure: ") * abstains
            console.result(f"{unsure}{ranked}  {prediction.path}".replace("\n", "\\n"))
    if form == "json":
        console.result_json(collected)
    if seen:
        _warn_of_seen(seen, total)
    return failed


def _warn_of_seen(seen: list[str], total: int) -> None:
    which = f"{len(seen):,} of {console.counted(total, 'photo')}" if total > 1 else "the photo"
    what = f"{which} {'was' if len(seen) == 1 else 'were'} in the training set of the run"
    hint = "predictions for such photos say nothing about new ones"
    console.warn(str(Problem(seen[0] + (", ..." if len(seen) > 1 else ""), what, hint)))


def _csv_values(prediction: Prediction) -> list[list[str]]:
    if prediction.error is not None:
        return [[prediction.path, "", "", prediction.error]]
    return [[prediction.path, label, f"{value:.6f}", ""] for label, value in prediction.top]


def _csv_line(values: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
