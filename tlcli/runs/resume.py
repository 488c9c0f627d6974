"""Which run a `finetune` is: a new one, or one of the same recipe and photos that was stopped.

A run belongs to the process that claims it until that ends. It is told by what went into it, the
recipe's fingerprint and that of the photos; a run of anything else is never gone on with.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
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
        out: its directory; None for a new one under `directory.root()`.
        force: replace a finished run that is in `out`.
        fresh: start anew even where one of the same recipe and photos was stopped.
        resume: go on with this run and no other: a directory, or a name under `directory.root()`.
    """

    out: Path | None = None
    force: bool = False
    fresh: bool = False
    resume: str | None = None


@dataclass(frozen=True)
class Claim:
    """A run that this process may write to; `resumed` if an earlier one began it."""

    run: Run
    resumed: bool


@contextmanager
def claim(wanted: RunRequest, chosen: Recipe, index: Index) -> Iterator[Claim]:
    """Find or make the run, and keep other processes from it until the block ends.

    What a failed run has not brought to a first checkpoint is removed again. Raises `RunError`
    where another process is at it, where `wanted.out` is taken, and where the run that is asked
    for does not fit, with the differences.
    """
    told: list[str] = []
    with ExitStack() as stack:
        if wanted.resume is not None:
            run = _requested_run(wanted.resume, chosen, index)
            _lock(stack, run)
            _check_unfinished(run, wanted.resume)  # it may have ended since it was looked at
            claimed = Claim(run, resumed=True)
        elif wanted.out is not None:
            claimed = _claim_in(stack, wanted.out, wanted, chosen, index, told)
        else:
            claimed = _claim_new(stack, wanted, chosen, index, told)
        for line in told:
            console.note(line)
        refuse_links(claimed.run)
        try:
            yield claimed
        finally:
            if not claimed.resumed and not _worth_keeping(claimed.run):
                remove_run(claimed.run)


def _claim_new(
    stack: ExitStack, wanted: RunRequest, chosen: Recipe, index: Index, told: list[str]
) -> Claim:
    """A stopped run of the same recipe under `directory.root()`, or a new one there."""
    folder = directory.runs_root()
    files.make_folder(folder)
    with locks.lock_folder(folder, waiting="it is choosing its run"):
        stopped = [run for run in reversed(directory.list_runs(folder)) if not run.closed]
        for run in [] if wanted.fresh else stopped:
            if run.name.rpartition("-")[0] != chosen.name:
                continue
            different = fingerprints.differences_or_damage(run, chosen, index)
            if not different:
                _lock(stack, run)
                if run.closed:  # since it was looked at
                    continue
                return Claim(run, resumed=True)
            # Of several, the last is the one that somebody may have in mind.
            if not told and not locks.is_locked(run.path):
                told.append(fingerprints.describe_not_resumed(run, different))
        _remove_unstarted(folder, chosen.name)
        for run in directory.list_runs(folder):
            remove_leftovers(run)
        run = create_run(chosen.name, None)
        _lock(stack, run)
        return _start(run, chosen, index)  # before another process looks for it


def _claim_in(
    stack: ExitStack, out: Path, wanted: RunRequest, chosen: Recipe, index: Index, told: list[str]
) -> Claim:
    """The run in `out`, or the one that is going to replace it."""
    if problems := check_output(out, force=wanted.force):
        raise RunError(problems)
    files.make_folder(out)
    _lock(stack, Run(out))
    for run in _stopped_runs(out):
        different = [] if wanted.fresh else fingerprints.differences_or_damage(run, chosen, index)
        if not (different or wanted.fresh):
            _remove_temporary(run)
            return Claim(run, resumed=True)
        _make_way(run, different, wanted, told)
    if (out / directory.RECORD).is_file() and not wanted.force:
        hint = "name another folder, or replace it with --force"
        raise RunError(Problem(f"--out {out}", "a stopped run is already there", hint))
    return _start(create_run(chosen.name, out, force=wanted.force), chosen, index)


def _start(run: Run, chosen: Recipe, index: Index) -> Claim:
    """Write down what a new run is told by; nothing is left of it where that fails."""
    try:
        fingerprints.record_inputs(run, chosen, index)
    except BaseException:
        remove_run(run)
        raise
    return Claim(run, resumed=False)


def _stopped_runs(out: Path) -> Iterator[Run]:
    """The runs of `out` that were stopped: those that were to replace it, and its own."""
    yield from (Run(path, replaces=out.resolve()) for path in list_replacements(out))
    if (out / directory.RECORD).is_file() and not Run(out).closed:
        yield Run(out)


def _make_way(run: Run, different: list[str], wanted: RunRequest, told: list[str]) -> None:
    """Make way for another run, if the user says so; raises `RunError` where it is in the way."""
    if run.replaces is not None:
        if wanted.force:
            remove_run(run)  # half a replacement that nobody can ask for any more
    elif different and wanted.force:
        told.append(fingerprints.describe_not_resumed(run, different))
    elif different:
        where = f"--out {run.path}"
        hint = "name another folder, or replace it with --force"
        problems = [Problem(where, line) for line in different]
        raise RunError([*problems, Problem(where, "the stopped run there cannot be resumed", hint)])


def _requested_run(which: str, chosen: Recipe, index: Index) -> Run:
    """The run of `--resume`."""
    run = directory.run_named(which, where=f"--resume {which}")
    _check_unfinished(run, which)
    different = fingerprints.differences(run, chosen, index)
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
        left = stack.enter_context(locks.lock_folder(run.path))
    except locks.LockHeldError as held:
        hint = "wait for it, stop it, or train another run with --fresh"
        raise RunError(Problem(str(run.path), f"is being trained by {held}", hint)) from None
    stack.callback(lambda: locks.remove_lock_files(run.path) if run.closed else None)
    _remove_temporary(run)
    if left is not None:
        console.note(console.one_line(f"{run.path}: taken over from {left}, which has ended"))


def remove_leftovers(run: Run) -> None:
    """Remove what a process leaves in its finished run when it is killed while it tidies up."""
    left = (checkpoints.trash(run.file(directory.CHECKPOINTS)), *map(run.file, locks.LOCK_FILES))
    if run.closed and any(path.exists() for path in left):
        with suppress(locks.LockHeldError), locks.lock_folder(run.path):
            shutil.rmtree(left[0], ignore_errors=True)
            locks.remove_lock_files(run.path)


def _worth_keeping(run: Run) -> bool:
    return run.finished or run.has_checkpoints or not run.path.exists()


def _remove_unstarted(folder: Path, name: str) -> None:
    """Remove folders of runs that were killed before they had a record; nobody is at them.

    A folder with anything else in it, if only a model, is what a user has kept of a run.
    """
    for path in folder.iterdir():
        if not run_number(path, name) or path.is_symlink() or not path.is_dir():
            continue
        if all(map(is_first, path.iterdir())) and not locks.is_locked(path):
            remove_run(Run(path))


def _remove_temporary(run: Run) -> None:
    """Remove what a kill in the middle of a write has left; see `files.replacing`."""
    for folder in (run.path, run.file(directory.CHECKPOINTS)):
        for path in folder.glob(TEMPORARY):
            path.unlink(missing_ok=True)


def remove_run(run: Run) -> None:
    """Remove the files of a run that has come to nothing, and its folder if that is all."""
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
