"""Files that are written whole or not at all, and files that are read within limits.

A file is written under a temporary name, flushed to the disk and then renamed. A file is read only
if it is a regular one and not larger than what tlcli itself would have written there.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import re
import secrets
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs

from tlcli.errors import Problem

#: The most bytes that are read of a record, whose lists have an entry for each class; and of a file
#: with a line for each epoch or photo, or a number for each pair of classes.
RECORD_BYTES, TABLE_BYTES = 16_000_000, 64_000_000

#: The most bytes that are read of a user's own table or list: lines for some million photos.
LIST_BYTES = 1_000_000_000


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    The file is on the disk before it gets the final name, so a crash leaves the old file or the new
    one, never a part of it. After a failure the temporary file is removed.
    """
    with errors_about(path):
        temporary = _create_temporary(path)
    try:
        with errors_about(path):
            yield temporary
            _sync(temporary, os.O_RDWR)
            temporary.replace(path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _create_temporary(path: Path) -> Path:
    """Make an empty file beside `path`, with the permissions that the system gives to new files.

    `tempfile` gives its files to their owner alone. The mask that would have to be added to that
    can be asked for only by setting it, in the whole process, while threads make files.
    """
    while True:
        temporary = path.with_name(f".{secrets.token_hex(4)}.tmp{path.suffix}")
        with suppress(FileExistsError):
            os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
            return temporary


@contextmanager
def errors_about(path: Path) -> Iterator[None]:
    """Have errors of the system in the block name `path`, not a temporary file beside it, or none.

    Errors about files in other folders stay as they are, and so do exceptions of libraries that
    only derive from OSError.
    """
    try:
        yield
    except OSError as error:
        named = path if error.filename is None else Path(str(error.filename))
        elsewhere = named.absolute().parent != path.absolute().parent
        # OSError(number) makes the subclass of that number; libraries raise other subclasses.
        if elsewhere or error.errno is None or type(error) is not type(OSError(error.errno, "")):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def make_folder(path: Path) -> None:
    """Make a folder and the missing ones above it, so that they survive a power cut."""
    missing = []
    above = path
    while not above.exists():
        missing.append(above)
        above = above.parent
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole; file names in it that are not UTF-8 keep their bytes."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """A value as indented JSON text with a final line end."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_table(path: Path, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV table with a header line, whole."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def open_regular(path: Path) -> io.FileIO:
    """Open a file to read, unbuffered; raises `OSError` for anything but a regular file.

    Reading a pipe could wait for ever, and reading a device could never end.
    """
    # O_NONBLOCK, since opening a pipe would wait for its writer.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
    except BaseException:
        os.close(handle)
        raise
    return io.FileIO(handle, "rb")


def read_bytes(path: Path, limit: int) -> bytes:
    """A regular file's bytes; raises `OSError`, or `ValueError` for more than `limit` bytes."""
    with io.BufferedReader(open_regular(path)) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"it has {size:,} bytes, more than the {limit:,} that are read")
        return file.read(size)


def read_json(path: Path, limit: int = RECORD_BYTES) -> Any:
    """A JSON file's value; raises `OSError`, or `ValueError` for other or too large content."""
    return parse_json(read_bytes(path, limit))


def read_json_lines(path: Path, limit: int = TABLE_BYTES) -> Iterator[tuple[int, Any]]:
    """The number, from 1, and the value of every line that is not empty; errors as of `read_json`.

    For a line that is not JSON the `ValueError` names its number.
    """
    for number, line in enumerate(read_bytes(path, limit).split(b"\n"), 1):
        if line.strip():
            try:
                value = parse_json(line)
            except ValueError as error:
                raise ValueError(f"line {number} is not JSON: {error}") from error
            yield number, value


def read_lines(path: Path, limit: int = LIST_BYTES) -> list[str]:
    """The lines of a UTF-8 text with line ends of any system; errors as of `read_bytes`."""
    return re.split("\r\n|\r|\n", read_bytes(path, limit).decode("utf-8-sig"))


def open_text(path: Path) -> io.TextIOWrapper:
    """Open a regular file of `write_text` to read, line ends unchanged; raises `OSError`."""
    file = io.BufferedReader(open_regular(path))
    return io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")


def parse_json(text: bytes) -> Any:
    """The value of JSON in UTF-8; raises `ValueError` for damaged text, or what tlcli never writes.

    tlcli never writes numbers that are not finite or do not fit in 64 bits, nor more levels than
    Python's parser can read.
    """
    try:
        return json.loads(
            text.decode(), parse_int=_whole, parse_float=_finite, parse_constant=_finite
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _whole(text: str) -> int:
    # The length first, since Python needs very long to convert a million digits.
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"the number {text[:20]}... does not fit in 64 bits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def disk_bytes(path: Path) -> int:
    """Bytes that a file takes on its disk; 0 for one that another process has just removed.

    An unfinished shard of features is longer than what it holds. Windows does not tell how many
    blocks a file has, and there its length counts.
    """
    with suppress(FileNotFoundError):
        status = path.stat()
        return status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size
    return 0


def nearest_existing(path: Path) -> Path:
    """`path` itself if it exists, or else the nearest folder above it that does."""
    while not path.exists():
        path = path.parent
    return path


def sync_folder(folder: Path) -> None:
    """Have a rename in `folder` survive a power cut, if the system can do that."""
    with suppress(OSError):  # some systems do not open folders
        _sync(folder, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(folder: Path) -> list[Problem]:
    """The problem, if any, with making files in a folder or the nearest existing one above it."""
    folder = nearest_existing(folder)
    if not folder.is_dir():
        return [Problem(str(folder), "is a file; runs need a folder", "name one with --out")]
    if not os.access(folder, os.W_OK | os.X_OK):
        return [Problem(str(folder), "cannot be written to", "name another folder with --out")]
    return []


def is_damaged_database(error: sqlite3.Error) -> bool:
    """Whether an error of SQLite means a damaged file.

    Then it is of the base class itself; locks, full disks and missing rights raise its subclasses.
    """
    return type(error) is sqlite3.DatabaseError


def cache_folder(folder: Path | None = None) -> Path:
    """The folder of all that can be computed again: `folder`, `TLCLI_CACHE`, or the system's."""
    chosen = folder or os.environ.get("TLCLI_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("tlcli"))


def features_folder(cache: Path) -> Path:
    """The feature store's folder in a cache."""
    return cache / "features"
