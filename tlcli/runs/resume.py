"""Which run a `finetune` trains: a new one, or one of the same recipe and photos that was stopped.

A run belongs to the process that claims it until that process ends. It is recognised by the
fingerprints of its recipe and its photos; a run of anything else is never resumed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.data.dataset import Index
from tlcli.errors import Problem, RunError
from tlcli.recipe.recipe import Recipe
from tlcli.runs import checkpoints, directory, fingerprints
from tlcli.runs.create import (
    TEMPORARY,
    check_output,
    create_run,
    is_first,
    list_replacements,
    refuse_links,
    run_number,
)
from tlcli.runs.directory import Run
from tlcli.system import console, files, locks


@dataclass(frozen=True)
class RunRequest:
    """What the user said about the run to make.

    Attributes:
        out: its directory; None for a new one under `directory.runs_root()`.
        force: replace a finished run that is in `out`.
        fresh: start anew even where one of the same recipe and photos was stopped.
        resume: resume this run and no other: a directory, or a name under `directory.runs_root()`.
    """

    out: Path | None = None
    force: bool = False
    fresh: bool = False
    resume: str | None = None


@dataclass(frozen=True)
class Claim:
    """A run that this process alone may write to.

    Attributes:
        resumed: whether an earlier process began it.
        notes: lines for the user about stopped runs that were left alone.
    """

    run: Run
    resumed: bool
    notes: tuple[str, ...] = ()


@contextmanager
def claim(request: RunRequest, recipe: Recipe, index: Index) -> Iterator[Claim]:
    """Find or make the run, and keep other processes from it until the block ends.

    A new run that fails before its first checkpoint is removed again. Raises `RunError` where
    another process trains the run, where `request.out` is taken, and where the run to resume is one
    of another recipe or other photos, with the differences.
    """
    with ExitStack() as stack:
        if request.resume is not None:
            run = _requested_run(request.resume, recipe, index)
            _lock(stack, run)
            _check_unfinished(run, request.resume)  # it may have ended before it was locked
            claimed = Claim(run, resumed=True)
        elif request.out is not None:
            claimed = _claim_in(stack, request.out, request, recipe, index)
        else:
            claimed = _claim_new(stack, request, recipe, index)
        for line in claimed.notes:
            console.note(line)
        refuse_links(claimed.run)
        try:
            yield claimed
        finally:
            if not claimed.resumed and not _worth_keeping(claimed.run):
                remove_run(claimed.run)


def _claim_new(stack: ExitStack, request: RunRequest, recipe: Recipe, index: Index) -> Claim:
    """A stopped run of the same recipe under `directory.runs_root()`, or a new one there."""
    folder = directory.runs_root()
    files.make_folder(folder)
    notes: tuple[str, ...] = ()
    with locks.lock_folder(folder, waiting="it is choosing its run"):
        stopped = [run for run in reversed(directory.list_runs(folder)) if not run.closed]
        for run in [] if request.fresh else stopped:
            if run.name.rpartition("-")[0] != recipe.name:
                continue
            different = fingerprints.differences_or_damage(run, recipe, index)
            if not different:
                _lock(stack, run)
                if run.closed:  # it ended before it was locked
                    continue
                return Claim(run, resumed=True, notes=notes)
            # Of several stopped runs, the newest is the one that the user may have in mind.
            if not notes and not locks.is_locked(run.path):
                notes = (fingerprints.describe_not_resumed(run, different),)
        _remove_unstarted(folder, recipe.name)
        for run in directory.list_runs(folder):
            remove_leftovers(run)
        run = create_run(recipe.name, None)
        _lock(stack, run)
        # Before the folder is unlocked, so that another process sees the run.
        return replace(_start(run, recipe, index), notes=notes)


def _claim_in(
    stack: ExitStack, out: Path, request: RunRequest, recipe: Recipe, index: Index
) -> Claim:
    """The run in `out`, or the one that is going to replace it."""
    if problems := check_output(out, force=request.force):
        raise RunError(problems)
    files.make_folder(out)
    _lock(stack, Run(out))
    notes: list[str] = []
    for run in _stopped_runs(out):
        different = [] if request.fresh else fingerprints.differences_or_damage(run, recipe, index)
        if not (different or request.fresh):
            _remove_temporary(run)
            return Claim(run, resumed=True, notes=tuple(notes))
        notes += _make_way(run, different, force=request.force)
    if directory.is_run(out) and not request.force:
        hint = "name another folder, or replace it with --force"
        raise RunError(Problem(f"--out {out}", "a stopped run is already there", hint))
    started = _start(create_run(recipe.name, out, force=request.force), recipe, index)
    return replace(started, notes=tuple(notes))


def _start(run: Run, recipe: Recipe, index: Index) -> Claim:
    """Record what a new run is made from; nothing is left of the run where that fails."""
    try:
        fingerprints.record_inputs(run, recipe, index)
    except BaseException:
        remove_run(run)
        raise
    return Claim(run, resumed=False)


def _stopped_runs(out: Path) -> Iterator[Run]:
    """The runs of `out` that were stopped: those that were to replace it, and its own."""
    yield from (Run(path, replaces=out.resolve()) for path in list_replacements(out))
    if directory.is_run(out) and not Run(out).closed:
        yield Run(out)


def _make_way(run: Run, different: list[str], *, force: bool) -> list[str]:
    """Make way for another run if `force` allows it; returns notes for the user.

    Raises `RunError` where the stopped run is in the way.
    """
    if run.replaces is not None:
        if force:
            remove_run(run)  # an unfinished replacement that no command can resume any more
        return []
    if different and force:
        return [fingerprints.describe_not_resumed(run, different)]
    if different:
        where = f"--out {run.path}"
        hint = "name another folder, or replace it with --force"
        problems = [Problem(where, line) for line in different]
        raise RunError([*problems, Problem(where, "the stopped run there cannot be resumed", hint)])
    return []


def _requested_run(which: str, recipe: Recipe, index: Index) -> Run:
    """The run of `--resume`."""
    run = directory.run_named(which, where=f"--resume {which}")
    _check_unfinished(run, which)
    different = fingerprints.differences(run, recipe, index)
    if different:
        where = f"--resume {which}"
        hint = "undo the change, or leave out --resume to train a new run"
        raise RunError(
            [
                *(Problem(where, line) for line in different),
                Problem(where, "the recipe or the photos are not those of the run", hint),
            ]
        )
    return run


def _check_unfinished(run: Run, which: str) -> None:
    if run.closed:
        hint = "leave out --resume to train a new one"
        raise RunError(Problem(f"--resume {which}", "this run is finished", hint))


def _lock(stack: ExitStack, run: Run) -> None:
    refuse_links(run)
    try:
        previous = stack.enter_context(locks.lock_folder(run.path))
    except locks.LockHeldError as error:
        hint = "wait for it, stop it, or train another run with --fresh"
        raise RunError(Problem(str(run.path), f"is being trained by {error}", hint)) from None
    stack.callback(lambda: locks.remove_lock_files(run.path) if run.closed else None)
    _remove_temporary(run)
    if previous is not None:
        console.note(console.one_line(f"{run.path}: taken over from {previous}, which has ended"))


def remove_leftovers(run: Run) -> None:
    """Remove what is left in a finished run where its process was killed while it cleaned up."""
    left = (checkpoints.trash(run.file(directory.CHECKPOINTS)), *map(run.file, locks.LOCK_FILES))
    if run.closed and any(path.exists() for path in left):
        with suppress(locks.LockHeldError), locks.lock_folder(run.path):
            shutil.rmtree(left[0], ignore_errors=True)
            locks.remove_lock_files(run.path)


def _worth_keeping(run: Run) -> bool:
    return run.finished or run.has_checkpoints or not run.path.exists()


def _remove_unstarted(folder: Path, name: str) -> None:
    """Remove folders of runs that were killed before they had a record, and that nobody trains.

    A folder with any other file in it, such as a model, is one that a user has kept.
    """
    for path in folder.iterdir():
        if not run_number(path, name) or path.is_symlink() or not path.is_dir():
            continue
        if all(map(is_first, path.iterdir())) and not locks.is_locked(path):
            remove_run(Run(path))


def _remove_temporary(run: Run) -> None:
    """Remove files that a kill has left half written; see `files.replacing`."""
    for folder in (run.path, run.file(directory.CHECKPOINTS)):
        for path in folder.glob(TEMPORARY):
            path.unlink(missing_ok=True)


def remove_run(run: Run) -> None:
    """Remove the files of a run, and its folder if nothing else is in it."""
    _remove_temporary(run)
    for name in (*directory.FILES, *locks.LOCK_FILES):
        run.file(name).unlink(missing_ok=True)
    for folder in (
        run.file(directory.CHECKPOINTS),
        checkpoints.trash(run.file(directory.CHECKPOINTS)),
    ):
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        run.path.rmdir()
