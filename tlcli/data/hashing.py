"""The content hashes of files: what a photo is told by, whatever its name and place."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from tlcli.errors import DataError, Problem, reason
from tlcli.system import console
from tlcli.system.threads import map_in_order

_CHUNK = 1 << 20


class DigestCache(Protocol):
    """Remembers content hashes of files that have not changed since."""

    def digests(self, paths: Sequence[Path]) -> dict[Path, str]:
        """The hashes of those files that are remembered."""

    def keep(self, digests: Mapping[Path, str]) -> None:
        """Remember the hashes of files that `digests` was asked for."""


def hash_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes. Raises DataError for a file that cannot be read."""
    sha = hashlib.sha256()
    try:
        if not stat.S_ISREG(mode := path.stat().st_mode):  # reading a pipe would wait for ever
            what = "is a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise DataError(unreadable_file(path, what))
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                sha.update(chunk)
    except OSError as error:
        raise DataError(unreadable_file(path, reason(error))) from error
    return sha.hexdigest()


def hash_files(
    paths: Sequence[Path], memory: DigestCache | None = None
) -> tuple[dict[Path, str], dict[Path, Problem]]:
    """The hash of each file, read in threads, and what kept the others from being read."""
    known = memory.digests(paths) if memory else {}
    paths = [path for path in paths if path not in known]
    digests: dict[Path, str] = {}
    unread: dict[Path, Problem] = {}
    workers = min(16, 2 * (os.cpu_count() or 1))
    try:
        with (
            closing(map_in_order(_outcome, paths, workers=workers)) as outcomes,
            console.progress(len(paths), "reading photos", unit="photos") as progress,
        ):
            for path, outcome in zip(paths, outcomes, strict=True):
                if isinstance(outcome, Problem):
                    unread[path] = outcome
                else:
                    digests[path] = outcome
                progress.update(1)
    finally:  # an interrupted command keeps what it has read
        if memory:
            memory.keep(digests)
    return {**known, **digests}, unread


def _outcome(path: Path) -> str | Problem:
    try:
        return hash_file(path)
    except DataError as error:
        return error.problems[0]


def unreadable_file(path: Path, what: str) -> Problem:
    """The problem of a file whose bytes are out of reach."""
    return Problem(str(path), f"cannot be read: {what}", "make it readable, or remove it")
