"""Where a run is written: what stands in the way, its new folder, and its place once it is done.

So it is for the files about a run that go to a folder of --out.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tlcli.errors import Problem, RunError, reason
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import files, own_files
from tlcli.system.files import make_folder, replacing, sync_folder
from tlcli.system.locks import HOLDER_FILE, LOCK_FILE

#: All that a run holds before it has a record, and what a kill in the middle of a write leaves; see
#: `fingerprints.record_inputs` and `files.replacing`.
_FIRST, _LOCKS, TEMPORARY = (directory.RECIPE, directory.SPLIT), (LOCK_FILE, HOLDER_FILE), ".*.tmp*"


def check_output(out: Path | None, *, force: bool) -> list[Problem]:
    """What is in the way of a run in `out`; None stands for a new folder of `directory.runs_root`.

    A run that was stopped there is not: it may be resumed, which `resume.claim` decides.
    """
    if out is None:
        return files.check_writable(directory.runs_root())
    if not out.exists():
        return files.check_writable(out.parent)
    if not out.is_dir():
        return [Problem(f"--out {out}", "exists and is not a folder", "name another")]
    try:
        if is_blank(out):
            return files.check_writable(out)
    except OSError as error:
        return [Problem(f"--out {out}", f"cannot be read: {reason(error)}", "name another")]
    if not directory.is_run(out):
        hint = "name another folder; --force replaces only what tlcli has written"
        return [Problem(f"--out {out}", "exists, is not empty and is not a run", hint)]
    if not force and Run(out).closed:
        hint = "name another folder, or replace the run with --force"
        return [Problem(f"--out {out}", "there is already a run", hint)]
    return files.check_writable(out)


def check_out_folder(out: Path, names: Iterable[str], *, force: bool) -> None:
    """Raise `RunError` where no files of these names may be written into the folder of --out.

    So it is in a run, whose own files they would replace, and, unless `force`, where files are that
    tlcli may not replace on its own.
    """
    if problems := files.check_writable(out):
        raise RunError(problems)
    if directory.is_run(out):
        hint = "name another folder; without --out, files are kept in the run they are about"
        raise RunError(Problem(f"--out {out}", "is a run", hint))
    if problems := own_files.check_folder(out, names, force=force):
        raise RunError(problems)


def result_folder(
    out: Path | None,
    kind: str,
    name: str,
    pictures: Iterable[str],
    records: Iterable[str],
    *,
    force: bool,
) -> Path:
    """The folder for what was measured: `out`, or the folder `name` of this `kind` beside the runs.

    Raises `RunError` where it cannot be written, or holds `pictures` that are not by tlcli; in
    `out` also where it holds `records`, which are tlcli's own beside the runs.
    """
    folder = out or directory.runs_root() / kind / name
    names = [*pictures, *(records if out is not None else ())]
    problems = files.check_writable(folder)
    if problems := problems or own_files.check_folder(folder, names, force=force):
        raise RunError(problems)
    return folder


def is_blank(folder: Path) -> bool:
    """Whether a folder has only files that tlcli leaves when it is killed at the start of a run.

    A recipe without the lock under which tlcli writes it is a user's own file.
    """
    paths = list(folder.iterdir())
    locked = any(path.name in _LOCKS for path in paths)
    return all(path.name in _LOCKS or (locked and is_first(path)) for path in paths)


def is_first(path: Path) -> bool:
    """Whether a path may be a file of a run that has no record yet, or a half written file."""
    named = path.name in (*_FIRST, *_LOCKS) or path.match(TEMPORARY)
    return named and path.is_file() and not path.is_symlink()


def refuse_links(run: Run) -> None:
    """Raise `RunError` where a file or folder that a run changes is a link.

    tlcli makes none there, and what such a link leads to would be changed or removed.
    """
    names = (directory.CHECKPOINTS, *directory.FILES, LOCK_FILE, HOLDER_FILE)
    links = [run.file(name) for name in names if run.file(name).is_symlink()]
    if links:
        hint = "remove the link, or train another run with --fresh"
        raise RunError([Problem(str(path), "is a link", hint) for path in links])


def create_run(name: str, out: Path | None, *, force: bool = False) -> Run:
    """Make the directory of a new run: `out`, or `NAME-1`, `NAME-2`, ... in `directory.runs_root`.

    Raises `RunError` where something is in the way; see `check_output`.
    """
    problems = check_output(out, force=force)
    if problems:
        raise RunError(problems)
    try:
        if out is not None:
            if out.is_dir() and not is_blank(out):
                # The old run stays until the new one is finished, in a folder beside it.
                old = out.resolve()
                new = Path(tempfile.mkdtemp(prefix=_replacement(old), dir=old.parent))
                sync_folder(old.parent)
                return Run(new, replaces=old)
            make_folder(out)
            return Run(out)
        folder = directory.runs_root()
        make_folder(folder)
        number = 1 + max((run_number(path, name) for path in folder.iterdir()), default=0)
        while True:
            with suppress(FileExistsError):  # another process took the number
                path = folder / f"{name}-{number}"
                path.mkdir()
                sync_folder(folder)
                return Run(path)
            number += 1
    except OSError as error:
        raise RunError(
            Problem(str(error.filename or out or directory.runs_root()), reason(error))
        ) from error


def run_number(path: Path, name: str) -> int:
    """Which of the runs of that name a directory is, from 1; 0 for one of another name."""
    stem, _, number = path.name.rpartition("-")
    return int(number) if stem == name and number.isdecimal() else 0


def list_replacements(out: Path) -> list[Path]:
    """The folders of runs that were started to replace the one in `out`."""
    old = out.resolve()
    return [path for path in old.parent.iterdir() if path.name.startswith(_replacement(old))]


def _replacement(old: Path) -> str:
    """How the folders of runs that are to replace an older one begin."""
    return f".{old.name}.new-"


def move_into_place(run: Run) -> Run:
    """A finished run in its place: where it replaces an older one, file by file.

    The folder it was trained in stays whole until all is done, so that after a crash the same can
    be done again; and the outcome comes last, so that what is half replaced is no finished run.
    Only the files of a run are replaced. What was derived from the old model goes with it: an old
    temperature would be wrong for the new one.
    """
    if run.replaces is None:
        return run
    (run.replaces / directory.SUMMARY).unlink(missing_ok=True)
    # A stopped run there must not be resumed as if it were this one.
    shutil.rmtree(run.replaces / directory.CHECKPOINTS, ignore_errors=True)
    for path in (run.replaces / name for name in directory.DERIVED):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name in directory.FILES:
        if name == directory.NEIGHBOURS and not run.file(name).exists():
            # Version 0.1.0, which wrote none, may have finished the run.
            (run.replaces / name).unlink(missing_ok=True)
            continue
        with replacing(run.replaces / name) as temporary:
            shutil.copyfile(run.file(name), temporary)
    return Run(run.replaces)
