"""Where a k-fold evaluation is kept, and what an earlier one has left there."""

from __future__ import annotations

from pathlib import Path

from tlcli.errors import RunError
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.fold_record import (
    FOLD_EVALUATIONS,
    FOLDS,
    FOLDS_WITH_TUNING,
    FoldRecord,
    read_folds,
)
from tlcli.search.fold_plan import FoldPlan
from tlcli.system import console, files
from tlcli.training.plan import Plan


def fold_file(out: Path | None, run: Run | None, plan: Plan, *, tuning: bool) -> Path:
    """The file of a k-fold evaluation: in `out`, in the run, or beside the runs.

    Its folder is made. Raises `RunError` where it cannot be written.
    """
    name = f"{plan.recipe.name}-{plan.row.name}"
    beside = directory.runs_root() / FOLD_EVALUATIONS / name
    folder = out or (run.path if run else beside)
    if problems := files.check_writable(folder):
        raise RunError(problems)
    files.make_folder(folder)
    return folder / (FOLDS_WITH_TUNING if tuning else FOLDS)


def find_known(folds: FoldPlan, path: Path) -> FoldRecord | None:
    """The record at `path` with these folds, if it has all of them.

    Raises `RunError` where the file is none that tlcli has written.
    """
    record = read_folds(path) if path.exists() else None
    if record is None or record.settings != folds.settings:
        return None
    if folds.count_known(record) < len(folds.numbers):
        return None
    console.note(f"{path}: all folds known already; --again trains them once more")
    return folds.select(record)


def begin_record(folds: FoldPlan, path: Path, *, again: bool) -> FoldRecord:
    """The record to go on with: that at `path`, or a new one where it has other settings.

    Raises `RunError` where the file is none that tlcli has written.
    """
    if not path.exists():
        return folds.new_record()
    record = read_folds(path)
    if again:
        return folds.new_record()
    if record.settings != folds.settings:
        console.note(f"{path}: its folds are of other photos or settings, and are replaced")
        return folds.new_record()
    known = folds.count_known(record)
    console.note(
        f"{path}: {known:,} of {console.counted(len(folds.numbers), 'fold')} known already"
    )
    return record
