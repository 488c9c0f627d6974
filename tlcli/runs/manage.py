"""Removing and renaming runs: nothing of the user's goes with them, and `latest` stays right."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tlcli.errors import Problem, RunError
from tlcli.runs import directory
from tlcli.runs.create import TEMPORARY
from tlcli.runs.directory import Run
from tlcli.runs.overview import folder_size
from tlcli.system import files, locks

#: How the folder of a run that is being removed ends; a kill in the middle leaves it.
_REMOVED = ".removed"

#: Files that are named one by one.
_NAMED = 3

#: What is no loss: files of tlcli, and those with which file managers mark a folder.
_OWN = frozenset(
    (*directory.FILES, *directory.DERIVED, directory.CHECKPOINTS, directory.NOTE, *locks.LOCK_FILES,
     ".DS_Store", "Thumbs.db", "desktop.ini")
)  # fmt: skip


def removable_runs(names: Iterable[str], *, force: bool) -> list[Run]:
    """The runs that a user means to remove, each once.

    Raises `RunError` with all that is in the way: names that mean no run, links, runs that are
    being trained, trials, and unless `force` files that tlcli did not put there.
    """
    runs: dict[Path, Run] = {}
    problems: list[Problem] = []
    for name in names:
        where = f"RUN {name}"
        try:
            run = directory.run_named(name, where=where)
        except RunError as error:
            problems += error.problems
            continue
        if (path := run.path.resolve()) not in runs:
            problems += _obstacles(Run(path), where, force=force)
            runs[path] = Run(path)
    if problems:
        raise RunError(problems)
    return list(runs.values())


def _obstacles(run: Run, where: str, *, force: bool) -> list[Problem]:
    if run.path.parent.name == directory.TRIALS:
        hint = "remove the folder of the whole search instead"
        return [Problem(where, "is a trial of a search", hint)]
    strange = [] if force else strange_files(run)
    if strange:
        listed = ", ".join(strange[:_NAMED]) + (", ..." if len(strange) > _NAMED else "")
        hint = "move them elsewhere, or remove them too with --force"
        return [Problem(where, f"holds what tlcli did not put there: {listed}", hint)]
    return []


def strange_files(run: Run) -> list[str]:
    """Names of what lies in a run and is no file of tlcli's."""
    return sorted(
        path.name
        for path in run.path.iterdir()
        if path.name not in _OWN and not path.match(TEMPORARY)
    )


def remove_run(run: Run) -> int:
    """Remove a run with all its files; returns the bytes that are freed.

    Its name is free at once; a kill in the middle leaves a hidden folder, which the next call
    removes. Raises `RunError` where it is being trained.
    """
    root = run.path.parent
    for left in root.glob(f".*{_REMOVED}"):
        shutil.rmtree(left, ignore_errors=True)
    pointed = directory.latest_path(directory.runs_root())
    size = folder_size(run.path)
    with _locked(run):
        away = root / f".{run.name}-{os.getpid()}{_REMOVED}"
        run.path.rename(away)
    if pointed == run.path:
        _forget_latest()
    shutil.rmtree(away)
    return size


def rename_run(run: Run, name: str) -> Run:
    """Give a run another name in its folder; `latest` leads to it as before.

    Raises `RunError` for a name that is taken or cannot be one, and where it is being trained.
    """
    where = f"NAME {name}"
    if (
        not name or name.startswith((".", "-")) or name == directory.LATEST
        or Path(name).name != name or not name.isprintable()
    ):  # fmt: skip
        hint = "use letters and digits, as in cats_dogs-best"
        raise RunError(Problem(where, "cannot be the name of a run", hint))
    path = run.path.resolve()
    new = Run(path.with_name(name))
    if os.path.lexists(new.path):
        raise RunError(Problem(where, f"{new.path} exists already", "choose another name"))
    pointed = directory.latest_path(directory.runs_root())
    with _locked(Run(path)):
        path.rename(new.path)
    files.sync_folder(path.parent)
    if pointed == path:
        directory.mark_latest(new)
    return new


@contextmanager
def _locked(run: Run) -> Iterator[None]:
    """Hold the lock of a run, under whichever name it has at the end of the block."""
    try:
        with locks.lock_folder(run.path):
            yield
    except locks.LockHeldError as held:
        hint = "wait for its end, or stop it"
        raise RunError(Problem(str(run.path), f"is being trained by {held}", hint)) from held


def _forget_latest() -> None:
    """Have `latest`, whose run is gone, lead to the newest finished run, or nowhere."""
    root = directory.runs_root()
    (root / directory.LATEST).unlink(missing_ok=True)
    finished = [run for run in directory.list_runs(root) if run.finished]
    if finished:
        directory.mark_latest(finished[-1])
