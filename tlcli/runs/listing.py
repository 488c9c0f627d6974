"""The table of runs that `tlcli runs` prints."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from tlcli.errors import Problem, RunError
from tlcli.runs import directory
from tlcli.runs.records import BriefRecord, BriefSummary, validate_record
from tlcli.runs.study_records import TrialRecord, is_study, read_trial_record
from tlcli.system import console

Brief = TypeVar("Brief", BriefRecord, BriefSummary)


def runs_table(folder: Path | None = None) -> tuple[str, Any]:
    """The runs of a folder, oldest first; of a study, its trials and its two complete runs.

    Without a folder, those of this one. Raises `RunError` where there is no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise RunError(Problem(str(folder), "no such folder", "name one that has runs in it"))
    folder = folder or directory.runs_root()
    study = is_study(directory.Run(folder))
    trials = sorted(directory.list_runs(folder / directory.TRIALS), key=lambda run: run.name)
    runs = [*(trials if study else ()), *directory.list_runs(folder)]
    value = [_run(run) for run in runs if run.name != directory.STUDY_INPUTS]
    if not value:
        return f"no runs in {folder}; train one with `tlcli finetune`", value
    headers = ("run", "created", "base", "stages", "val accuracy", "test accuracy")
    rows = [
        [
            entry["name"], entry["created"], entry["base"], entry["stages"],
            _state(entry),
            _share(entry["test_accuracy"]),
        ]
        for entry in value
    ]  # fmt: skip
    return console.table(headers, rows), value


def _run(run: directory.Run) -> dict[str, Any]:
    record = _readable(run, directory.RECORD, BriefRecord())
    outcome = BriefSummary()
    trial = _trial(run)
    if run.finished or (trial is not None and run.file(directory.SUMMARY).is_file()):
        outcome = _readable(run, directory.SUMMARY, outcome)
    value = {
        "name": run.name,
        "path": str(run.path),
        "created": record.created,
        "base": record.base,
        "finished": run.finished,
        "stages": len(outcome.stages),
        "val_accuracy": outcome.stages[-1].val_accuracy if outcome.stages else None,
        "test_accuracy": outcome.test.accuracy if outcome.test else None,
    }
    return value if trial is None else {**value, "trial": trial.model_dump()}


def _trial(run: directory.Run) -> TrialRecord | None:
    with suppress(RunError):  # which is told of the record
        return read_trial_record(run)
    return None


def _state(entry: dict[str, Any]) -> str:
    """The accuracy of a run, or what is to be said in its place."""
    trial = entry.get("trial")
    if trial and trial["state"] != "complete":
        return str(trial["state"])
    return _share(entry["val_accuracy"]) if entry["finished"] or trial else "unfinished"


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
