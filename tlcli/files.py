"""Files that appear whole: written under a temporary name, flushed to the disk, renamed."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    The file is on the disk before it gets the final name, so a crash leaves the old file or the new
    one, never a part. After a failure the temporary file is removed.
    """
    with named(path):
        handle, name = tempfile.mkstemp(prefix=".", suffix=f".tmp{path.suffix}", dir=path.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with named(path):
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            _sync(temporary, os.O_RDWR)
            temporary.replace(path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Errors of the system name the file that was asked for, not a temporary one and not none.

    Those about files elsewhere, and those of libraries that only look like the system's, stay.
    """
    try:
        yield
    except OSError as error:
        at = path if error.filename is None else Path(str(error.filename))
        elsewhere = at.absolute().parent != path.absolute().parent
        if elsewhere or error.errno is None or type(error) is not type(OSError(error.errno, "")):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def new_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing, to last through a power cut."""
    missing = []
    above = path
    while not above.exists():
        missing.append(above)
        above = above.parent
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole."""
    write_text(path, as_json(value))


def as_json(value: Any) -> str:
    """A value as indented JSON text with a final line end."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_table(path: Path, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV table with a header line, whole."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def existing(path: Path) -> Path:
    """`path`, or the nearest above it that there is."""
    while not path.exists():
        path = path.parent
    return path


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system can."""
    with suppress(OSError):  # some systems do not open folders
        _sync(folder, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
