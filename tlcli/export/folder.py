"""The folder of an export: it appears whole under its name, or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlcli.errors import Problem, RunError, reason
from tlcli.export.records import CARD
from tlcli.system import files


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` at the end of the block; after an error it is removed.

    Raises `RunError` where the disk does not allow it.
    """
    folder = _beside(out)
    try:
        files.make_folder(folder)
        yield folder
        _move_into_place(folder, out)
    except OSError as error:
        raise RunError(Problem(f"--out {out}", f"cannot be written: {reason(error)}")) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_target(out: Path, *, force: bool) -> None:
    """Raise `RunError` where an export may not be written to `out`."""
    if problems := files.check_writable(out.absolute().parent):
        raise RunError(problems)
    if not os.path.lexists(out):
        return
    is_export = (out / CARD).is_file()
    if not is_export or not force:
        hint = "replace it with --force, or name another" if is_export else "name another folder"
        raise RunError(Problem(f"--out {out}", "exists already", hint))


def _beside(out: Path) -> Path:
    """A name for a hidden folder beside `out` that nothing has."""
    return out.absolute().with_name(f".{out.name}-{secrets.token_hex(4)}")


def _move_into_place(folder: Path, out: Path) -> None:
    """Give the folder its name; an earlier export is removed only when the new one is there."""
    if not out.exists():
        folder.rename(out)
        return
    aside = _beside(out)
    out.rename(aside)
    folder.rename(out)
    shutil.rmtree(aside, ignore_errors=True)


def _files_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in _files_of(path))


def hash_of(path: Path) -> str:
    """The hex SHA-256 of a file, or of all files in a folder, in the order of their paths."""
    digest = hashlib.sha256()
    for file in _files_of(path):
        digest.update(file.read_bytes())
    return digest.hexdigest()
