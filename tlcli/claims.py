"""Which run a `finetune` is: a new one, or one of the same recipe and photos that was stopped.

A run belongs to the process that claims it until that ends. It is told by what went into it, the
recipe's fingerprint and that of the photos; a run of anything else is never gone on with.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlcli import console, files, locks, runs, splits, yamlfile
from tlcli.dataset import Index
from tlcli.errors import Problem, RunError, TlcliError
from tlcli.recipe import Recipe
from tlcli.runs import Run
from tlcli.splits import Row

#: Differences that are named one by one.
NAMED = 5

#: All that a run holds before it has a record, and what a kill in the middle of a write leaves; see
#: `_write_identity` and `files.replacing`.
_FIRST, _TEMPORARY = (runs.RECIPE, runs.SPLIT, locks.LOCK, locks.HOLDER), ".*.tmp*"


@dataclass(frozen=True)
class Wanted:
    """What the user said about the run to make.

    Attributes:
        out: its directory; None for a new one under `runs.root()`.
        force: replace a finished run that is in `out`.
        fresh: start anew even where one of the same recipe and photos was stopped.
        resume: go on with this run and no other: a directory, or a name under `runs.root()`.
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
def claim(wanted: Wanted, chosen: Recipe, index: Index) -> Iterator[Claim]:
    """Find or make the run, and keep other processes from it until the block ends.

    What a failed run has not brought to a first checkpoint is removed again. Raises `RunError`
    where another process is at it, where `wanted.out` is taken, and where the run that is asked
    for does not fit, with the differences.
    """
    told: list[str] = []
    with ExitStack() as stack:
        if wanted.resume is not None:
            run = _named(wanted.resume, chosen, index)
            _hold(stack, run)
            _check_unfinished(run, wanted.resume)  # it may have ended since it was looked at
            claimed = Claim(run, resumed=True)
        elif wanted.out is not None:
            claimed = _claim_in(stack, wanted.out, wanted, chosen, index, told)
        else:
            claimed = _claim_new(stack, wanted, chosen, index, told)
        for line in told:
            console.note(line)
        try:
            yield claimed
        finally:
            if not claimed.resumed and not _worth_keeping(claimed.run):
                discard(claimed.run)


def identity(chosen: Recipe, index: Index) -> dict[str, str]:
    """What must be equal for a run to go on: recipe, photos, and the order that paths give them."""
    order = hashlib.sha256("".join(item.digest for item in index.items).encode())
    return {
        "recipe_fingerprint": chosen.fingerprint(),
        "dataset_fingerprint": index.fingerprint,
        "photo_order": order.hexdigest(),
    }


def differences(run: Run, chosen: Recipe, index: Index) -> list[str]:
    """How recipe and photos differ from those of a run, a line each; [] if they do not."""
    record = run.record()
    wanted = identity(chosen, index)
    if all(record.get(key) == value for key, value in wanted.items()):
        return []
    found = [*_recipe_differences(run, chosen), *_photo_differences(run, chosen, index)]
    return found or ["another version of tlcli started it"]


def _claim_new(
    stack: ExitStack, wanted: Wanted, chosen: Recipe, index: Index, told: list[str]
) -> Claim:
    """A stopped run of the same recipe under `runs.root()`, or a new one there."""
    folder = runs.root()
    folder.mkdir(parents=True, exist_ok=True)
    with locks.locked(folder, waiting="it is choosing its run"):
        stopped = [run for run in reversed(runs.listed(folder)) if not run.closed]
        for run in [] if wanted.fresh else stopped:
            if run.name.rpartition("-")[0] != chosen.name:
                continue
            different = _differences_told(run, chosen, index)
            if not different:
                _hold(stack, run)
                if run.closed:  # since it was looked at
                    continue
                return Claim(run, resumed=True)
            # Of several, the last is the one that somebody may have in mind.
            if not told and not locks.is_held(run.path):
                told.append(_not_resumed(run, different))
        _remove_stillborn(folder, chosen.name)
        run = runs.create(chosen.name, None)
        _hold(stack, run)
        _write_identity(run, chosen, index)  # before another process looks for it
        return Claim(run, resumed=False)


def _claim_in(
    stack: ExitStack, out: Path, wanted: Wanted, chosen: Recipe, index: Index, told: list[str]
) -> Claim:
    """The run in `out`, or the one that is going to replace it."""
    problems = runs.check_output(out, force=wanted.force)
    if problems:
        raise RunError(problems)
    out.mkdir(parents=True, exist_ok=True)
    _hold(stack, Run(out))
    begun = [Run(path, replaces=out.resolve()) for path in runs.replacements(out)]
    if (out / runs.RECORD).is_file() and not Run(out).closed:
        begun.append(Run(out))
    for run in begun:
        different = None if wanted.fresh else _differences_told(run, chosen, index)
        if different == []:
            return Claim(run, resumed=True)
        if run.replaces is not None:
            if wanted.force:
                discard(run)  # half a replacement that nobody can ask for any more
        elif different and wanted.force:
            told.append(_not_resumed(run, different))
        elif different:
            problems = [Problem(f"--out {out}", line) for line in different]
            hint = "name another folder, or replace it with --force"
            what = "the stopped run there cannot be resumed"
            raise RunError([*problems, Problem(f"--out {out}", what, hint)])
    if (out / runs.RECORD).is_file() and not wanted.force:
        hint = "name another folder, or replace it with --force"
        raise RunError(Problem(f"--out {out}", "a stopped run is already there", hint))
    run = runs.create(chosen.name, out, force=wanted.force)
    _write_identity(run, chosen, index)
    return Claim(run, resumed=False)


def _named(which: str, chosen: Recipe, index: Index) -> Run:
    """The run of `--resume`."""
    run = runs.named(which, where=f"--resume {which}")
    _check_unfinished(run, which)
    different = differences(run, chosen, index)
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


def _hold(stack: ExitStack, run: Run) -> None:
    try:
        left = stack.enter_context(locks.locked(run.path))
    except locks.Held as held:
        hint = "wait for it, stop it, or train another run with --fresh"
        raise RunError(Problem(str(run.path), f"is being trained by {held}", hint)) from None
    stack.callback(lambda: locks.release_files(run.path) if run.closed else None)
    _remove_temporary(run)
    if left is not None:
        console.note(f"{run.path}: taken over from {left}, which has ended")


def _differences_told(run: Run, chosen: Recipe, index: Index) -> list[str]:
    """As `differences`; a run whose record is damaged differs in that."""
    try:
        return differences(run, chosen, index)
    except TlcliError as error:
        return [problem.message for problem in error.problems]


def _not_resumed(run: Run, different: list[str]) -> str:
    return f"note: {run.path} was stopped and is not resumed: {'; '.join(different)}"


def _recipe_differences(run: Run, chosen: Recipe) -> Iterator[str]:
    then = _flat(yamlfile.read(run.file(runs.RECIPE)).value)
    now = _flat(chosen.resolved())
    for key in ("name", "data.dir", "data.csv", "data.exclude"):  # they say where, not what
        then.pop(key, None)
        now.pop(key, None)
    changed = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    for key in changed[:NAMED]:
        yield f"{key} was {_said(then.get(key))}, is now {_said(now.get(key))}"
    if len(changed) > NAMED:
        yield f"{console.counted(len(changed) - NAMED, 'more setting')} changed"


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """{'a': {'b': [1]}} -> {'a.b.0': 1}."""
    if isinstance(value, dict) or (isinstance(value, list) and value):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        parts = [_flat(entry, f"{key}.{name}" if key else str(name)) for name, entry in pairs]
        return {name: entry for part in parts for name, entry in part.items()}
    return {key: value}


def _said(value: Any) -> str:
    return "not set" if value is None else str(value)


def _photo_differences(run: Run, chosen: Recipe, index: Index) -> Iterator[str]:
    changed = list(_changed_photos(run, index))
    yield from changed
    record = run.record()
    if not changed and record.get("photo_order") != identity(chosen, index)["photo_order"]:
        yield "photos were renamed, which changes their order"


def _changed_photos(run: Run, index: Index) -> Iterator[str]:
    try:
        then = Counter((row.sha256, row.label, row.split) for row in splits.read(run))
    except RunError:
        yield f"its {runs.SPLIT} cannot be read"
        return
    now = Counter((item.digest, index.classes[item.label], str(item.split)) for item in index.items)
    gone, new = then - now, now - then
    moved = {key[0] for key in gone} & {key[0] for key in new}
    counts = {
        "gone": sum(n for key, n in gone.items() if key[0] not in moved),
        "new": sum(n for key, n in new.items() if key[0] not in moved),
        "in another class or split": len(moved),
    }
    for what, count in counts.items():
        if count:
            verb = "is" if count == 1 else "are"
            yield f"{console.counted(count, 'photo')} {verb} {what}"


def _write_identity(run: Run, chosen: Recipe, index: Index) -> None:
    """What a run is told by, and what it has been given."""
    files.write_text(run.file(runs.RECIPE), chosen.as_yaml())
    _write_split(run, index)
    record = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "base": chosen.base.name,
        "seed": chosen.seed,
        **identity(chosen, index),
        "classes": list(index.classes),
        "photos": index.counts(),
    }
    files.write_json(run.file(runs.RECORD), record)


def check_photos(run: Run, index: Index) -> None:
    """A run that goes on must be able to read the photos that it began with, and no others.

    Where nothing was trained yet, it begins with these. Raises `RunError` otherwise.
    """
    different = list(_changed_photos(run, index))
    if not different:
        return
    if not _has_checkpoints(run):
        leave_out(run, index)
        return
    hint = "make the same photos readable again, or start a new run with --fresh"
    raise RunError([Problem(str(run.path), line, hint) for line in different])


def leave_out(run: Run, index: Index) -> None:
    """Note that only these photos are left to train and test on; the others cannot be read."""
    _write_split(run, index)
    record = {**run.record(), "photos": index.counts()}
    files.write_json(run.file(runs.RECORD), record)


def _write_split(run: Run, index: Index) -> None:
    rows = (
        Row(item.path, index.classes[item.label], item.split, item.digest) for item in index.items
    )
    splits.write(run, rows)


def _worth_keeping(run: Run) -> bool:
    return run.finished or _has_checkpoints(run) or not run.path.exists()


def _has_checkpoints(run: Run) -> bool:
    return any(run.file(runs.CHECKPOINTS).glob("*.npz"))


def _remove_stillborn(folder: Path, name: str) -> None:
    """Remove folders of runs that were killed before they had a record; nobody is at them.

    A folder with anything else in it, if only a model, is what a user has kept of a run.
    """
    for path in folder.iterdir():
        if not runs.number_of(path, name) or path.is_symlink() or not path.is_dir():
            continue
        if all(map(_is_first, path.iterdir())) and not locks.is_held(path):
            _remove_temporary(Run(path))
            discard(Run(path))


def _is_first(path: Path) -> bool:
    return path.is_file() and (path.name in _FIRST or path.match(_TEMPORARY))


def _remove_temporary(run: Run) -> None:
    """Remove what a kill in the middle of a write has left; see `files.replacing`."""
    for folder in (run.path, run.file(runs.CHECKPOINTS)):
        for path in folder.glob(_TEMPORARY):
            path.unlink(missing_ok=True)


def discard(run: Run) -> None:
    """Remove the files of a run that has come to nothing, and its folder if that is all."""
    for name in (*runs.FILES, locks.HOLDER, locks.LOCK):
        run.file(name).unlink(missing_ok=True)
    shutil.rmtree(run.file(runs.CHECKPOINTS), ignore_errors=True)
    with suppress(OSError):
        run.path.rmdir()
