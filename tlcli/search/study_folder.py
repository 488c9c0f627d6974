"""The folder of a study: begun, or gone on with where it is about the same recipe and photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlcli.errors import Problem, RunError
from tlcli.runs import directory, fingerprints
from tlcli.runs.directory import Run
from tlcli.runs.records import validate_record
from tlcli.runs.study_records import StudyRecord, is_study
from tlcli.search.search_plan import SearchPlan
from tlcli.search.study import Study
from tlcli.system import files, locks, own_files

_HINT = "name another folder with --study, or undo the change"


def study_folder(named: Path | None, recipe: str) -> Path:
    """The folder of --study, or NAME-study beside the runs."""
    return named or directory.runs_root() / f"{recipe}-study"


def check_outputs(folder: Path, plan: SearchPlan, out: Path | None, *, force: bool) -> None:
    """Raise `RunError` where the study or the recipe in --out cannot be written."""
    check_folder(folder, plan)
    if out is not None:
        problems = [
            *files.check_writable(out.absolute().parent),
            *own_files.check_file(out, named=True, force=force),
        ]
        if problems:
            raise RunError(problems)


def check_folder(folder: Path, plan: SearchPlan) -> bool:
    """Whether there is a study to go on with; raises `RunError` where something else is there."""
    where = f"--study {folder}"
    if not folder.exists():
        if problems := files.check_writable(folder.parent):
            raise RunError(problems)
        return False
    if not folder.is_dir():
        raise RunError(Problem(where, "exists and is not a folder", "name another"))
    run = Run(folder)
    if not is_study(run):
        if any(path.name not in locks.LOCK_FILES for path in folder.iterdir()):
            raise RunError(Problem(where, "exists, is not empty and is not a study", _HINT))
        return False
    different = [*_record_differences(run, plan)]
    if not different:
        inputs = Run(run.file(directory.STUDY_INPUTS))
        different = fingerprints.differences(inputs, plan.base, plan.plan.index)
    if different:
        problems = [Problem(where, line) for line in different]
        last = Problem(where, "is a study of something else", _HINT)
        raise RunError([*problems, last])
    return True


def open_study(folder: Path, plan: SearchPlan) -> Study:
    """The study in a folder that `check_folder` has passed, begun if there is none."""
    files.make_folder(folder)
    with locks.lock_folder(folder, waiting="it is beginning the study"):
        if not check_folder(folder, plan):
            inputs = Run(folder / directory.STUDY_INPUTS)
            files.make_folder(inputs.path)
            fingerprints.record_inputs(inputs, plan.base, plan.plan.index)
            files.write_json(folder / directory.STUDY, plan.record().model_dump())
    record = plan.record()
    return Study(
        folder, plan.space, maximise=record.objective == "val_accuracy",
        seed=record.seed, size=record.batch,
    )  # fmt: skip


def _record_differences(run: Run, plan: SearchPlan) -> list[str]:
    path = run.file(directory.STUDY)
    then = validate_record(path, run.read(directory.STUDY), StudyRecord)
    now = plan.record()
    lines = []
    for name in dict.fromkeys([*then.space, *now.space]):
        before, after = then.space.get(name), now.space.get(name)
        if before != after:
            shown = [_space_text(value) for value in (before, after)]
            lines.append(f"search.{name} was {shown[0]}, is now {shown[1]}")
    for name in ("stages", "objective", "seed"):
        values: list[Any] = [getattr(record, name) for record in (then, now)]
        if values[0] != values[1]:
            lines.append(f"{name} was {_shown(values[0])}, is now {_shown(values[1])}")
    return lines


def _space_text(value: str | None) -> str:
    return "not searched" if value is None else value


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
