"""The tables that commands print: bases, runs, the store, predictions."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tlcli.data import audit_cache
from tlcli.errors import Problem, RecipeError, RunError, suggestion
from tlcli.features import inventory
from tlcli.networks import bases as table_of_bases
from tlcli.runs import directory
from tlcli.runs.records import BriefOutcome, BriefRecord, checked
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.evaluation.predict import Prediction

Brief = TypeVar("Brief", BriefRecord, BriefOutcome)


def bases(name: str | None) -> tuple[str, Any]:
    """All bases, or the clean boundaries of one: as text, and as a value for JSON.

    Raises `RecipeError` for a name that is not in the table.
    """
    if name is None:
        return _all_bases()
    row = table_of_bases.lookup(name)
    if row is None:
        hint = suggestion(name, table_of_bases.names(), most=99)
        raise RecipeError(Problem("bases", f"'{name}' is not a base tlcli knows", hint))
    return _boundaries(row)


def _all_bases() -> tuple[str, Any]:
    headers = (
        "base", "parameters", "native", "smallest", "pixels", "boundaries", "default freeze_until"
    )  # fmt: skip
    rows = [
        [
            row.name, console.count(row.parameters), row.native_size, row.smallest_size,
            row.convention, len(row.boundaries), row.default_boundary or "-",
        ]
        for row in table_of_bases.BASES.values()
    ]  # fmt: skip
    text = console.table(headers, rows)
    text += (
        "\n\nSizes are in pixels. The pixels that a base expects: caffe is BGR minus the ImageNet "
        "mean, tf\n-1..1, torch standardised, raw 0..255; tlcli converts inside the model.\n"
        "`tlcli bases NAME` shows the boundaries of one."
    )
    value = [
        {
            "name": row.name,
            "parameters": row.parameters,
            "native_size": row.native_size,
            "smallest_size": row.smallest_size,
            "pixels": row.convention,
            "boundaries": [boundary.name for boundary in row.boundaries],
            "default_boundary": row.default_boundary,
        }
        for row in table_of_bases.BASES.values()
    ]
    return text, value


def _boundaries(row: table_of_bases.Base) -> tuple[str, Any]:
    size = row.native_size
    value: list[dict[str, Any]] = [
        {
            "boundary": boundary.name,
            "shape": list(boundary.shape(size, size)),
            "parameters_above": boundary.parameters_above,
            "default": boundary.name == row.default_boundary,
            "practical": boundary.practical,
        }
        for boundary in row.boundaries
    ]
    rows = [
        [
            entry["boundary"],
            " x ".join(map(str, entry["shape"])),
            console.count(entry["parameters_above"]),
            "default" if entry["default"] else "" if entry["practical"] else "as the next",
        ]
        for entry in value
    ]
    text = console.table(("freeze_until", f"output at {size} px", "parameters above", ""), rows)
    text += "\n\n'as the next': the next boundary trains the same layers and stores less."
    return text, value


def runs() -> tuple[str, Any]:
    """The runs of this folder, oldest first."""
    folder = directory.root()
    value = [_run(run) for run in directory.listed(folder)]
    if not value:
        return f"no runs in {folder}; train one with `tlcli finetune`", value
    headers = ("run", "created", "base", "stages", "val accuracy", "test accuracy")
    rows = [
        [
            entry["name"], entry["created"], entry["base"], entry["stages"],
            _share(entry["val_accuracy"]) if entry["finished"] else "unfinished",
            _share(entry["test_accuracy"]),
        ]
        for entry in value
    ]  # fmt: skip
    return console.table(headers, rows), value


def _run(run: directory.Run) -> dict[str, Any]:
    record = _readable(run, directory.RECORD, BriefRecord())
    outcome = BriefOutcome()
    if run.finished:
        outcome = _readable(run, directory.SUMMARY, outcome)
    return {
        "name": run.name,
        "path": str(run.path),
        "created": record.created,
        "base": record.base,
        "finished": run.finished,
        "stages": len(outcome.stages),
        "val_accuracy": outcome.stages[-1].val_accuracy if outcome.stages else None,
        "test_accuracy": outcome.test.accuracy if outcome.test else None,
    }


def _readable(run: directory.Run, name: str, otherwise: Brief) -> Brief:
    """A file of a run; where it is damaged, a value without what it tells.

    One bad run must not hide the others.
    """
    try:
        return checked(run.file(name), run.read(name), type(otherwise))
    except RunError as error:
        console.warn(str(error))
        return otherwise


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def cache(folder: Path, home: Path) -> tuple[str, Any]:
    """What the feature store in `folder` holds, the most recently used first; the text also says
    how much room in the cache folder `home` takes what checks remember."""
    text, value = _trunks(folder)
    if taken := audit_cache.size(home):
        text += f"\n{console.size(taken)} of check results in {home / audit_cache.FILE}"
    return text, value


def _trunks(folder: Path) -> tuple[str, Any]:
    entries = inventory.listed(folder)
    value = [
        {
            "path": str(entry.path),
            "base": entry.description["base"],
            "boundary": entry.description["boundary"],
            "image_size": entry.description["image_size"],
            "dtype": entry.description["dtype"],
            "rows": entry.rows,
            "bytes": entry.bytes,
            "days_unused": round(entry.days_unused, 2),
        }
        for entry in entries
    ]
    if not value:
        return f"the feature store {folder} is empty", value
    headers = ("base", "boundary", "pixels", "dtype", "rows", "size", "unused for")
    rows = [
        [
            entry["base"], entry["boundary"], " x ".join(map(str, entry["image_size"][::-1])),
            entry["dtype"], console.count(entry["rows"]), console.size(entry["bytes"]),
            f"{entry['days_unused']:.0f} days",
        ]
        for entry in value
    ]  # fmt: skip
    total = sum(entry["bytes"] for entry in value)
    return f"{console.table(headers, rows)}\n\n{console.size(total)} in {folder}", value


def predictions(
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
