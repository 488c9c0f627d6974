"""The table of runs that `tlcli runs` prints."""

from __future__ import annotations

from typing import Any, TypeVar

from tlcli.errors import RunError
from tlcli.runs import directory
from tlcli.runs.records import BriefRecord, BriefSummary, validate_record
from tlcli.system import console

Brief = TypeVar("Brief", BriefRecord, BriefSummary)


def runs_table() -> tuple[str, Any]:
    """The runs of this folder, oldest first."""
    folder = directory.runs_root()
    value = [_run(run) for run in directory.list_runs(folder)]
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
    outcome = BriefSummary()
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
        return validate_record(run.file(name), run.read(name), type(otherwise))
    except RunError as error:
        console.warn(str(error))
        return otherwise


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
